"""Outlines say exactly what the mask says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segdeploy.imaging.polygons import Polygon, fill_ring, polygons

masks = arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.sampled_from([0, 1, 2, 255]),
)


def filled(found: list[Polygon], shape: tuple[int, ...]) -> np.ndarray:
    """Fill every region anew; pixels that none covers are 255."""
    mask = np.full(shape, 255, np.uint8)
    for polygon in found:
        region = np.zeros(shape, np.uint8)
        fill_ring(region, polygon.outline.astype(float), 1)
        for hole in polygon.holes:
            fill_ring(region, hole.astype(float), 0)
        assert (mask[region == 1] == 255).all(), "no two regions share a pixel"
        assert polygon.area == region.sum()
        mask[region == 1] = polygon.index
    return mask


@settings(deadline=None, max_examples=400)
@given(masks)
def test_filled_outlines_are_the_mask(mask: np.ndarray) -> None:
    """Single pixels, diagonals, islands in holes, regions at the border: to the pixel."""
    np.testing.assert_array_equal(filled(polygons(mask, 3), mask.shape), mask)


@settings(deadline=None, max_examples=200)
@given(masks)
def test_single_rings_are_the_mask(mask: np.ndarray) -> None:
    """COCO's polygons know no holes; the ways to them enclose nothing."""
    again = np.full(mask.shape, 255, np.uint8)
    for polygon in polygons(mask, 3):
        fill_ring(again, polygon.one_ring().astype(float), polygon.index)

    np.testing.assert_array_equal(again, mask)


def test_smooth_regions_of_a_picture() -> None:
    """Larger shapes too, with long diagonals and curves."""
    y, x = np.mgrid[:211, :307]
    mask = (np.hypot(x - 150, y - 100) / 23 + np.sin(x / 31)).astype(np.uint8) % 3

    np.testing.assert_array_equal(filled(polygons(mask, 3), mask.shape), mask)


def test_a_square_has_four_corners_and_its_hole_four() -> None:
    """By hand: three by three pixels from (1, 2), without the one in the middle."""
    mask = np.full((7, 7), 255, np.uint8)
    mask[2:5, 1:4] = 0
    mask[3, 2] = 255

    (ring,) = polygons(mask, 1)

    assert {tuple(corner) for corner in ring.outline.tolist()} == {(1, 2), (4, 2), (4, 5), (1, 5)}
    assert {tuple(corner) for corner in ring.holes[0].tolist()} == {(2, 3), (3, 3), (3, 4), (2, 4)}
    assert (len(ring.outline), len(ring.holes), ring.area) == (4, 1, 8)


@pytest.mark.parametrize("value", [3, 255])
def test_what_is_no_class_has_no_region(value: int) -> None:
    """Nothing is told of pixels that are not labeled."""
    assert polygons(np.full((4, 4), value, np.uint8), 3) == []
