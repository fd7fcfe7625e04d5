"""Scores as the papers define them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.errors import DataError
from segdeploy.metrics.scores import Scores
from segdeploy.metrics.segmentation import (
    BoundaryMatrix,
    ConfusionMatrix,
    band_width,
    boundary_band,
)
from segdeploy.system.schema import convert


def mask(*rows):
    return np.array(rows, np.uint8)


def test_scores_by_hand():
    """Class 0: 2 hits of 4 in either.

    Class 1: 3 of 5; class 2 never occurs; one pixel is not labeled.
    """
    counts = ConfusionMatrix(3)

    counts.add(mask([0, 0, 1, 1], [1, 1, 0, 1]), labels=mask([0, 0, 0, 1], [1, 1, 1, 255]))

    scores = counts.scores()
    assert scores.iou == (2 / 4, 3 / 5, None)
    assert scores.miou == pytest.approx((2 / 4 + 3 / 5) / 2)
    assert scores.dice == pytest.approx((4 / 6 + 6 / 8) / 2)
    assert scores.pixel_accuracy == pytest.approx(5 / 7)
    assert scores.pixels == 7


def test_a_class_that_is_only_predicted_counts():
    """Otherwise a network could invent a class for free."""
    counts = ConfusionMatrix(2)

    counts.add(mask([0, 1]), labels=mask([0, 0]))

    assert counts.scores().iou == (0.5, 0.0)
    assert counts.scores().miou == 0.25


def test_nothing_counted_is_0():
    """An empty set has no division by zero."""
    counts = ConfusionMatrix(2)
    counts.add(mask([0, 1]), labels=mask([255, 255]))

    assert counts.scores() == Scores(miou=0, pixel_accuracy=0, dice=0, iou=(None, None), pixels=0)


masks = st.integers(1, 6).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(
            st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1) | st.just(255)),
            min_size=1,
            max_size=60,
        ),
    )
)


@given(masks)
def test_scores_are_those_of_their_definition(drawn):
    """Against sets of pixels, class by class."""
    classes, pixels = drawn
    mask, labels = (np.array([column], np.uint8) for column in zip(*pixels, strict=True))
    counts = ConfusionMatrix(classes)
    half = len(pixels) // 2

    for part in (slice(0, half), slice(half, None)):
        counts.add(mask[:, part], labels=labels[:, part])

    labeled = labels != 255
    iou, dice = [], []
    for index in range(classes):
        predicted, labels_of = (mask == index) & labeled, labels == index
        union, both = (predicted | labels_of).sum(), (predicted & labels_of).sum()
        iou.append(both / union if union else None)
        dice.append(2 * both / (predicted.sum() + labels_of.sum()) if union else None)
    scores = counts.scores()
    assert scores.iou == pytest.approx(tuple(iou))
    if labeled.any():
        assert scores.miou == pytest.approx(np.mean([value for value in iou if value is not None]))
        assert scores.dice == pytest.approx(np.mean([value for value in dice if value is not None]))
        assert scores.pixel_accuracy == pytest.approx((mask == labels)[labeled].mean())
    assert convert(json.loads(json.dumps(to_builtins(scores))), Scores, refuse=ValueError) == scores


@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [
        (mask([0, 1]), mask([0, 2]), "the labels hold class 2 and there are classes 0 to 1"),
        (mask([0, 2]), mask([0, 1]), "the predicted mask holds class 2"),
        (mask([0, 255]), mask([0, 1]), "the predicted mask holds class 255"),
        (
            mask([0, 1]),
            mask([0], [1]),
            r"the predicted mask is \(1, 2\) and the labels are \(2, 1\)",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(predicted, labels, message):
    """A class too large would fall into another one's row unnoticed."""
    counts = ConfusionMatrix(2)

    with pytest.raises(DataError, match=message):
        counts.add(predicted, labels=labels)

    assert not counts.counts.any()


def test_a_prediction_at_an_unlabeled_pixel_may_be_anything():
    """Where there is no label nothing is compared."""
    counts = ConfusionMatrix(2)

    counts.add(mask([0, 255]), labels=mask([0, 255]))

    assert counts.scores().pixels == 1


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
    labels, predicted = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    labels[8:12, 8:12] = 1
    predicted[8:12, 9:13] = 1
    counts = BoundaryMatrix(3)

    counts.add(predicted, labels=labels)

    # Shared by both rims: rows 8 and 11 from column 9 to 11, which are 6 pixels; in all 12 + 12 -
    # 6.
    assert counts.iou[1] == pytest.approx(6 / 18)
    assert counts.iou[2] is None


def test_perfect_masks_score_one_and_unlabeled_pixels_are_not_counted() -> None:
    """Whatever is predicted there."""
    labels = np.zeros((20, 20), np.uint8)
    labels[5:, :] = 1
    labels[:, 15:] = IGNORE_INDEX
    predicted = np.where(labels == IGNORE_INDEX, 2, labels).astype(np.uint8)
    counts = BoundaryMatrix(3)

    counts.add(predicted, labels=labels)

    assert counts.iou == (1.0, 1.0, None)
