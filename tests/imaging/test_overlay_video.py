"""What is drawn of a frame is what was asked for."""

import numpy as np

from segdeploy.card import LabelClass
from segdeploy.imaging.overlay import COLOR, CUTOUT, MASK, OVERLAY, SIDE, Drawing, Painter

CLASSES = (LabelClass(name="road", color=(200, 100, 0)), LabelClass(name="car", color=(0, 0, 255)))
IMAGE = np.full((4, 6, 3), (10, 20, 30), np.uint8)
ROADS = np.array([[0, 0, 0, 1, 1, 255]] * 4, np.uint8)


def test_the_overlay_is_the_painters() -> None:
    """There are not two ways to paint."""
    drawn = Drawing(CLASSES, opacity=0.3).draw(IMAGE, ROADS)

    assert list(drawn) == [OVERLAY]
    np.testing.assert_array_equal(drawn[OVERLAY], Painter(CLASSES, opacity=0.3).paint(IMAGE, ROADS))


def test_sides_are_the_picture_and_its_overlay() -> None:
    """Beside each other, twice as wide."""
    drawn = Drawing(CLASSES, (SIDE,), legend=False).draw(IMAGE, ROADS)

    assert drawn[SIDE].shape == (4, 12, 3)
    np.testing.assert_array_equal(drawn[SIDE][:, :6], IMAGE)
    np.testing.assert_array_equal(drawn[SIDE][:, 6:], drawn[OVERLAY])


def test_only_some_classes_are_kept() -> None:
    """All others count as not labeled; the numbers of those that are kept stay."""
    assert Drawing(CLASSES, (MASK,), only=[1]).select(ROADS)[0].tolist() == [
        255,
        255,
        255,
        1,
        1,
        255,
    ]
    assert Drawing(CLASSES, (MASK,)).select(ROADS) is ROADS


def test_a_cutout_is_transparent_or_before_a_background() -> None:
    """By hand: the car is in the fourth and fifth column."""
    lone = Drawing(CLASSES, (CUTOUT,), only=[1])
    before = Drawing(
        CLASSES, (CUTOUT,), only=[1], background=np.full((1, 1, 3), (0, 255, 0), np.uint8)
    )

    clear, green = (one.draw(IMAGE, one.select(ROADS))[CUTOUT] for one in (lone, before))

    assert clear[0].tolist() == [[10, 20, 30, 0]] * 3 + [[10, 20, 30, 255]] * 2 + [[10, 20, 30, 0]]
    assert green[0].tolist() == [[0, 255, 0]] * 3 + [[10, 20, 30]] * 2 + [[0, 255, 0]]
    assert CUTOUT in before.films
    assert CUTOUT not in lone.films


def test_masks_need_no_drawing() -> None:
    """Nor do records."""
    assert not Drawing(CLASSES, (MASK, COLOR)).draws
    assert Drawing(CLASSES, (MASK, SIDE)).draws
