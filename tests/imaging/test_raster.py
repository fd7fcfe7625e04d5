"""Outlines cover the pixels whose centres they enclose, neither more nor fewer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdeploy.imaging.polygons import Ring, circle, fill_ring
from segdeploy.imaging.rle import fill_runs, run_lengths


def filled(corners: object, height: int = 40, width: int = 50) -> np.ndarray:
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
    mask = filled([(10, 10), (20, 10), (20, 20), (10, 20)])

    assert mask.sum() == 100
    assert mask[10:20, 10:20].all()


def test_rectangle_that_leaves_the_picture_is_cut() -> None:
    """Annotators draw over the edge."""
    assert filled([(-5, -5), (4, -5), (4, 3), (-5, 3)]).sum() == 12
    assert filled([(45, 38), (90, 38), (90, 70), (45, 70)]).sum() == 10
    assert not filled([(60, 0), (70, 0), (70, 9)]).any()
    assert not filled([(0, -9), (9, -9), (9, -1)]).any()


@given(corners=st.lists(st.tuples(st.floats(-10, 60), st.floats(-10, 50)), min_size=3, max_size=9))
def test_any_outline_is_right_to_the_pixel(corners: list[tuple[float, float]]) -> None:
    """Stars that cross themselves included, by the even-odd rule."""
    ring = np.array(corners)

    np.testing.assert_array_equal(filled(ring).astype(bool), enclosed(ring, 40, 50))


def test_circle_covers_what_is_nearer_than_its_radius() -> None:
    """It is drawn with corners a pixel apart, so that a few pixels at its edge may fall out."""
    y, x = np.mgrid[0:40, 0:50] + 0.5

    missing = (np.hypot(x - 25, y - 20) < 15) != filled(circle((25, 20), (40, 20))).astype(bool)

    assert missing.sum() <= 4


def test_runs_go_down_the_columns() -> None:
    """COCO's order: two pixels outside, three inside, one outside, in columns of two."""
    mask = np.zeros((2, 3), np.uint8)

    fill_runs(mask, [2, 3, 1], 7)

    assert mask.tolist() == [[0, 7, 7], [0, 7, 0]]


def test_packed_runs_are_unpacked() -> None:
    """Worked out by hand: 6 and 4 are letters from '0'.

    40 takes two letters; later ones are changes against the last but one.
    """
    # 6 -> '6'; 4 -> '4'; 40 = 8 + 32 -> bits 8 | 32, then 1: 'X1'; then 5 - 4 = 1 -> '1'; then 30 -
    # 40 = -10 -> 22, with its sign bit: 'F'.
    assert run_lengths("64X11F") == [6, 4, 40, 5, 30]


@pytest.mark.parametrize("text", ["/", "p", "oooooooooooooo1"])
def test_foreign_text_is_no_run_lengths(text: str) -> None:
    """Letters outside the 64, and numbers without end."""
    with pytest.raises(ValueError, match="packed run lengths"):
        run_lengths(text)


@pytest.mark.parametrize("lengths", [[3, 2], [8, -2], []])
def test_runs_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    """They are of another image."""
    with pytest.raises(ValueError, match=r"of 6|a run length is -2"):
        fill_runs(np.zeros((2, 3), np.uint8), lengths, 1)
