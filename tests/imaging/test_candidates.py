"""Classes that cannot be best anywhere are left out, and no other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdeploy.imaging.candidates import possible_classes
from segdeploy.imaging.upsample import best_class, upsampled_mask, upsampled_mask_by_class
from tests.imaging.test_upsample import assert_same, draw_planes, kinds, upsampled_by_torch

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_class_that_wins_between_two_others_is_kept() -> None:
    """Halfway from (10, -10) to (-10, 10) both have 0; a third with 1 everywhere is best there, a
    fourth with -11 is nowhere.
    """
    planes = np.array([[[10, -10]], [[-10, 10]], [[1, 1]], [[-11, -11]]], np.float32)

    possible = possible_classes(planes, best_class(planes))

    assert possible.tolist() == [0, 1, 2]


def test_one_class_everywhere_is_the_only_one() -> None:
    """Though others come near it at single logits."""
    planes = np.zeros((3, 20, 30), np.float32)
    planes[1] = 5
    planes[2, 7, 9] = 4.9

    assert possible_classes(planes, best_class(planes)).tolist() == [1]


def test_a_class_that_is_large_beyond_the_border_of_a_tile_is_kept() -> None:
    """Between logits 7 and 8 of a row lies a cell of the first tile, whose far corner is in the
    second: there the third class is 1 and the others cross at 0.
    """
    planes = np.full((3, 1, 12), -10, np.float32)
    planes[0, 0, :8], planes[1, 0, 8:] = 10, 10
    planes[2, 0, 8:] = 9

    assert possible_classes(planes, best_class(planes)).tolist() == [0, 1, 2]


@settings(max_examples=25, deadline=None)
@given(kinds, st.integers(32, 60), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_labels_of_many_classes_are_those_of_torch(
    kind: str, classes: int, height: int, width: int, seed: int
) -> None:
    """Of coarse logits, where the search is made."""
    planes = draw_planes(kind, classes, height, width, seed)
    planes[classes // 2 :] -= np.float32(3)

    labels = upsampled_mask(planes, 24 * height, width=24 * width, covered=(height, width))

    assert_same(labels, upsampled_by_torch(planes, 24 * height, 24 * width))


def test_absent_classes_change_no_label() -> None:
    """A street with three classes of sixty, whose numbers are kept."""
    random = np.random.default_rng(0)
    planes = random.normal(-5, 0.5, (60, 8, 12)).astype(np.float32)
    planes[41, :4] += 10
    planes[7, 4:] += 10
    planes[59, :, 9:] += 11

    labels = upsampled_mask(planes, 320, width=480, covered=(8, 12))

    assert set(np.unique(labels)) == {7, 41, 59}
    by_class = upsampled_mask_by_class(planes, 320, width=480, covered=(8, 12))
    assert np.mean(labels != by_class) < 1e-3
