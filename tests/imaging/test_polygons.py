"""Outlines and masks are the same to the pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segdeploy.imaging.polygons import (
    CROSSINGS,
    Polygon,
    Ring,
    circle_ring,
    fill_ring,
    polygons,
)

masks = arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.sampled_from([0, 1, 2, 255]),
)


def fill_all(found: list[Polygon], shape: tuple[int, ...]) -> np.ndarray:
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
    np.testing.assert_array_equal(fill_all(polygons(mask, 3), mask.shape), mask)


@settings(deadline=None, max_examples=200)
@given(masks)
def test_single_rings_are_the_mask(mask: np.ndarray) -> None:
    """COCO's polygons have no holes; the paths to them enclose nothing."""
    again = np.full(mask.shape, 255, np.uint8)
    for polygon in polygons(mask, 3):
        fill_ring(again, polygon.one_ring().astype(float), polygon.index)

    np.testing.assert_array_equal(again, mask)


def test_smooth_regions_of_an_image() -> None:
    """Larger shapes too, with long diagonals and curves."""
    y, x = np.mgrid[:211, :307]
    mask = (np.hypot(x - 150, y - 100) / 23 + np.sin(x / 31)).astype(np.uint8) % 3

    np.testing.assert_array_equal(fill_all(polygons(mask, 3), mask.shape), mask)


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
def test_values_that_are_no_class_have_no_region(value: int) -> None:
    """Unlabeled pixels belong to no region."""
    assert polygons(np.full((4, 4), value, np.uint8), 3) == []


def fill(corners: object, height: int = 40, width: int = 50) -> np.ndarray:
    """Fill an outline with ones."""
    mask = np.zeros((height, width), np.uint8)
    fill_ring(mask, np.array(corners, float), 1)
    return mask


def enclosed(ring: Ring, height: int, width: int) -> np.ndarray:
    """Count the crossings of a ray from each pixel's center; odd is inside."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    inside = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
        crosses = (y0 <= y) != (y1 <= y)
        at = x0 + (y - y0) / np.where(crosses, y1 - y0, 1) * (x1 - x0)
        inside ^= crosses & (x < at)
    return inside


def test_rectangle_between_pixels_covers_what_is_between() -> None:
    """Ten by ten is a hundred."""
    mask = fill([(10, 10), (20, 10), (20, 20), (10, 20)])

    assert mask.sum() == 100
    assert mask[10:20, 10:20].all()


def test_rectangle_that_leaves_the_image_is_cut() -> None:
    """Annotators draw over the edge."""
    assert fill([(-5, -5), (4, -5), (4, 3), (-5, 3)]).sum() == 12
    assert fill([(45, 38), (90, 38), (90, 70), (45, 70)]).sum() == 10
    assert not fill([(60, 0), (70, 0), (70, 9)]).any()
    assert not fill([(0, -9), (9, -9), (9, -1)]).any()


@given(corners=st.lists(st.tuples(st.floats(-10, 60), st.floats(-10, 50)), min_size=3, max_size=9))
def test_any_outline_is_right_to_the_pixel(corners: list[tuple[float, float]]) -> None:
    """Stars that cross themselves included, by the even-odd rule."""
    ring = np.array(corners)

    np.testing.assert_array_equal(fill(ring).astype(bool), enclosed(ring, 40, 50))


def test_circle_covers_what_is_nearer_than_its_radius() -> None:
    """It is drawn with corners a pixel apart, so that a few pixels at its edge may fall out."""
    y, x = np.mgrid[0:40, 0:50] + 0.5

    differing = (np.hypot(x - 25, y - 20) < 15) != fill(circle_ring((25, 20), (40, 20))).astype(
        bool
    )

    assert differing.sum() <= 4


@settings(deadline=None, max_examples=400)
@given(masks)
def test_borders_are_valid_for_linters_and_gis(mask: np.ndarray) -> None:
    """As RFC 7946 asks: outlines counterclockwise, holes clockwise, none visits a corner twice."""
    for polygon in polygons(mask, 3):
        for ring, sign in ((polygon.outline, 1), *((hole, -1) for hole in polygon.holes)):
            x, y = ring.T
            assert sign * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0
            assert len({tuple(corner) for corner in ring.tolist()}) == len(ring)


def test_pixels_that_touch_at_a_corner_are_two_regions() -> None:
    """One border around both would touch itself there."""
    first, second = polygons(np.array([[0, 255], [255, 0]], np.uint8), 1)

    assert (first.area, second.area) == (1, 1)


def test_holes_that_touch_at_a_corner_are_two() -> None:
    """And a hole may touch the outline at a corner, but not divide the region."""
    mask = np.zeros((5, 5), np.uint8)
    mask[[1, 2], [1, 2]] = 255
    mask[[3, 4], [3, 4]] = 255

    (region,) = polygons(mask, 1)

    assert len(region.holes) == 3
    assert region.area == 21


def test_an_outline_that_crosses_many_rows_is_right_to_the_pixel() -> None:
    """It is filled some rows at a time."""
    random = np.random.default_rng(0)
    ring = np.stack([random.uniform(0, 30, 1600), np.tile([-1, 800], 800)], axis=1)
    assert CROSSINGS < 1600 * 800

    np.testing.assert_array_equal(fill(ring, 800, 30).astype(bool), enclosed(ring, 800, 30))
