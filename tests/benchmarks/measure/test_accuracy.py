"""Boundary IoU, worked out by hand."""

import numpy as np
import pytest

from segdeploy.metrics.segmentation import BoundaryMatrix, band_width, boundary_band

VOID = 255


def test_band_reaches_two_percent_of_the_diagonal() -> None:
    """The diagonal of 30x40 is 50 pixels, that of 1080x1920 2203."""
    assert band_width(np.zeros((30, 40), np.uint8)) == 1
    assert band_width(np.zeros((1080, 1920), np.uint8)) == 44
    assert band_width(np.zeros((2, 2), np.uint8)) == 1


def test_band_lies_along_edges_and_the_border() -> None:
    """A square of 4x4 in the middle of 10x10, one pixel wide.

    Its rim, what touches it outside, and the border.
    """
    mask = np.zeros((10, 10), np.uint8)
    mask[3:7, 3:7] = 1

    found = boundary_band(mask, 1)

    expected = np.zeros((10, 10), bool)
    expected[[0, -1], :] = expected[:, [0, -1]] = True
    expected[2:8, 2:8] = True
    expected[4:6, 4:6] = False
    assert (found == expected).all()


def test_band_is_what_eroding_each_class_by_itself_gives() -> None:
    """The authors erode class by class; with classes all over, the bands are the same."""
    import cv2

    mask = np.random.default_rng(0).integers(0, 4, (6, 8), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
    found = boundary_band(mask, 2)

    for index in range(4):
        own = cv2.copyMakeBorder(
            (mask == index).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,)
        )
        eroded = cv2.erode(own, np.ones((3, 3), np.uint8), iterations=2)[1:-1, 1:-1]
        assert ((mask == index) & found == ((mask == index) & (eroded == 0))).all()


def test_boundary_iou_of_a_square_that_is_moved() -> None:
    """Of 20x20 pixels the band is one wide.

    Two rims of 12 pixels, one column apart, share 6 of their 18.
    """
    labels, answer = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    labels[8:12, 8:12] = 1
    answer[8:12, 9:13] = 1
    counts = BoundaryMatrix(3)

    counts.add(answer, labels)

    # Shared by both rims: rows 8 and 11 from column 9 to 11, which are 6 pixels; in all 12 + 12 -
    # 6.
    assert counts.iou[1] == pytest.approx(6 / 18)
    assert counts.iou[2] is None


def test_perfect_masks_score_one_and_void_is_left_out() -> None:
    """Whatever is answered where nothing is labeled."""
    labels = np.zeros((20, 20), np.uint8)
    labels[5:, :] = 1
    labels[:, 15:] = VOID
    answer = np.where(labels == VOID, 2, labels).astype(np.uint8)
    counts = BoundaryMatrix(3)

    counts.add(answer, labels)

    assert counts.iou == (1.0, 1.0, None)
