"""Run lengths say exactly what the mask says, in COCO's own letters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segdeploy.imaging.rle import fill_runs, find_runs, pack, run_lengths

masks = arrays(
    np.uint8,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    elements=st.sampled_from([0, 1, 7, 255]),
)


def test_runs_go_down_the_columns() -> None:
    """By hand: columns 0 1, 1 1, 0 1.

    Class 1 is 1 outside, 3 inside, 1 outside, 1 inside; class 0 begins with none outside.
    """
    runs = find_runs(np.array([[0, 1, 0], [1, 1, 1]], np.uint8))

    assert runs.lengths(1) == [1, 3, 1, 1]
    assert runs.lengths(0) == [0, 1, 3, 1, 1]
    assert runs.lengths(5) == [6]


def test_letters_are_those_of_coco() -> None:
    """By hand, as in the reader's test: 40 takes two letters, a change of -10 its sign bit."""
    assert pack([6, 4, 40, 5, 30]) == "64X11F"


@settings(deadline=None, max_examples=200)
@given(masks)
def test_what_is_packed_is_read_again(mask: np.ndarray) -> None:
    """By the reader of COCO's datasets."""
    runs = find_runs(mask)
    again = np.full(mask.shape, 3, np.uint8)

    for value in (0, 1, 7, 255):
        fill_runs(again, run_lengths(pack(runs.lengths(value))), value)

    np.testing.assert_array_equal(again, mask)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@settings(deadline=None)
@given(masks)
def test_pycocotools_agrees(mask: np.ndarray) -> None:
    """The letters are the same, and so is what they are decoded to."""
    coco = pytest.importorskip("pycocotools.mask")
    inside = np.asfortranarray(mask == 1, dtype=np.uint8)

    packed = pack(find_runs(mask).lengths(1))

    assert packed == coco.encode(inside)["counts"].decode()
    np.testing.assert_array_equal(coco.decode({"size": list(mask.shape), "counts": packed}), inside)
