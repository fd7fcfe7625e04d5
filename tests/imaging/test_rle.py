"""Run lengths are exactly the mask, in COCO's characters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segdeploy.imaging.rle import decode_counts, encode_counts, fill_runs, find_runs

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


def test_characters_are_those_of_coco() -> None:
    """By hand, as below: 40 takes two characters, a change of -10 its sign bit."""
    assert encode_counts([6, 4, 40, 5, 30]) == "64X11F"


@settings(deadline=None, max_examples=200)
@given(masks)
def test_what_is_encoded_is_decoded(mask: np.ndarray) -> None:
    """As the reader of COCO's datasets decodes it."""
    runs = find_runs(mask)
    again = np.full(mask.shape, 3, np.uint8)

    for value in (0, 1, 7, 255):
        fill_runs(again, decode_counts(encode_counts(runs.lengths(value))), value)

    np.testing.assert_array_equal(again, mask)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@settings(deadline=None)
@given(masks)
def test_pycocotools_agrees(mask: np.ndarray) -> None:
    """The characters are the same, and so is the mask that it decodes from them."""
    coco = pytest.importorskip("pycocotools.mask")
    inside = np.asfortranarray(mask == 1, dtype=np.uint8)

    text = encode_counts(find_runs(mask).lengths(1))

    assert text == coco.encode(inside)["counts"].decode()
    np.testing.assert_array_equal(coco.decode({"size": list(mask.shape), "counts": text}), inside)


def test_runs_are_filled_down_the_columns() -> None:
    """COCO's order: two pixels outside, three inside, one outside, in columns of two."""
    mask = np.zeros((2, 3), np.uint8)

    fill_runs(mask, [2, 3, 1], 7)

    assert mask.tolist() == [[0, 7, 7], [0, 7, 0]]


def test_characters_are_decoded() -> None:
    """Worked out by hand: 6 and 4 are characters from '0'.

    40 takes two characters; later ones are changes against the last but one.
    """
    # 6 -> '6'; 4 -> '4'; 40 = 8 + 32 -> bits 8 | 32, then 1: 'X1'; then 5 - 4 = 1 -> '1'; then 30 -
    # 40 = -10 -> 22, with its sign bit: 'F'.
    assert decode_counts("64X11F") == [6, 4, 40, 5, 30]


@pytest.mark.parametrize("text", ["/", "p", "oooooooooooooo1"])
def test_other_text_is_refused(text: str) -> None:
    """Characters outside the 64, and truncated numbers."""
    with pytest.raises(ValueError, match="packed run lengths"):
        decode_counts(text)


@pytest.mark.parametrize("lengths", [[3, 2], [8, -2], []])
def test_runs_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    """They belong to another image."""
    with pytest.raises(ValueError, match=r"of 6|a run length is -2"):
        fill_runs(np.zeros((2, 3), np.uint8), lengths, 1)
