"""Overlays, color masks, cutouts and the legend show what the mask holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.overlay import (
    COLOR,
    CUTOUT,
    MASK,
    OVERLAY,
    SIDE,
    Painter,
    Renderer,
    colorize,
    draw_legend,
    side_by_side,
)

CLASSES = (LabelClass(name="road", color=(200, 100, 0)), LabelClass(name="car", color=(0, 0, 255)))


def test_a_class_has_its_color():
    """The card's colors are red-green-blue, an image's are blue-green-red; 255 is unlabeled."""
    mask = np.array([[0, 1, 255]], np.uint8)

    assert colorize(mask, CLASSES).tolist() == [[[0, 100, 200], [255, 0, 0], [0, 0, 0]]]


@pytest.mark.parametrize(
    ("opacity", "expected"),
    [(0, [10, 20, 30]), (0.25, [8, 40, 72]), (0.5, [5, 60, 115]), (1, [0, 100, 200])],
)
def test_opacity_is_the_share_of_the_color(opacity, expected):
    """By hand: 0.25 x (0, 100, 200) + 0.75 x (10, 20, 30) = (7.5, 40, 72.5).

    Halves go to the even number.
    """
    image = np.full((2, 2, 3), (10, 20, 30), np.uint8)

    painted = Painter(CLASSES, opacity=opacity, legend=False).paint(
        image, np.zeros((2, 2), np.uint8)
    )

    assert (painted == expected).all()


def test_the_image_stays_as_it_was():
    """The same frame may also be written as it is."""
    image = np.full((60, 90, 3), 77, np.uint8)
    mask = np.zeros((60, 90), np.uint8)

    Painter(CLASSES).paint(image, mask)

    assert (image == 77).all()
    assert not mask.any()


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_impossible_opacity_is_refused(opacity):
    """A share lies within 0 and 1."""
    with pytest.raises(ConfigError, match="it must be within 0 and 1"):
        Painter(CLASSES, opacity=opacity)


def test_a_mask_of_another_size_is_refused():
    """It would be painted in the wrong place."""
    with pytest.raises(DataError, match="both must have one size"):
        Painter(CLASSES).paint(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))


def test_the_legend_is_in_the_corner_only():
    """The rest of the image is what it is without a legend."""
    image = np.full((200, 300, 3), 120, np.uint8)
    mask = np.ones((200, 300), np.uint8)

    painted, bare = (
        Painter(CLASSES).paint(image, mask),
        Painter(CLASSES, legend=False).paint(image, mask),
    )

    legend = draw_legend(CLASSES[1:], 200, width=300)
    rows, columns = legend.shape[:2]
    np.testing.assert_array_equal(painted[:rows, :columns], legend)
    np.testing.assert_array_equal(painted[rows:], bare[rows:])
    np.testing.assert_array_equal(painted[:, columns:], bare[:, columns:])


def test_every_class_has_a_swatch_and_a_name():
    """Its exact color is in the legend, and so is bright text."""
    legend = draw_legend(CLASSES, 480, width=640)

    pixels = {tuple(pixel) for pixel in legend.reshape(-1, 3).tolist()}
    assert {(0, 100, 200), (255, 0, 0)} <= pixels
    assert legend.max(axis=2).max() >= 200


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(1, 900), st.integers(1, 150))
def test_the_legend_fits_into_any_image(height, width, count):
    """From a thumbnail to a poster, from one class to 150."""
    classes = [LabelClass(name=f"class {index}", color=(index, 0, 0)) for index in range(count)]
    image = np.zeros((height, width, 3), np.uint8)

    legend = draw_legend(classes, height, width=width)

    assert legend.shape[0] <= height
    assert legend.shape[1] <= width
    assert 8 * legend.shape[0] * legend.shape[1] <= height * width
    assert Painter(classes).paint(image, image[..., 0]).shape == image.shape


def test_the_legend_lists_the_classes_that_occur():
    """Names of what is not there are noise; unlabeled pixels have no name."""
    image, mask = np.zeros((400, 600, 3), np.uint8), np.full((400, 600), 255, np.uint8)
    mask[300:, 400:] = 1

    painted = Painter(CLASSES, opacity=0).paint(image, mask)

    colors = {tuple(pixel) for pixel in painted[:60, :100].reshape(-1, 3).tolist()}
    assert CLASSES[1].color[::-1] in colors
    assert CLASSES[0].color[::-1] not in colors
    assert not Painter(CLASSES, opacity=0).paint(image, np.full_like(mask, 255)).any()


def test_a_dark_class_has_an_edge_in_the_legend():
    """Black beside the dark panel cannot be seen."""
    legend = draw_legend([LabelClass(name="asphalt", color=(24, 24, 24))], 480, width=640)

    column = legend[legend.shape[0] // 2, :20, 0]
    assert (column == 235).any()


@pytest.mark.parametrize(
    ("names", "painted"),
    [
        (("background", "car"), False),
        (("Background", "car", "person"), False),
        (("other", "crack"), False),
        (("road", "car"), True),
        (("other", "road", "car"), True),
        (("background",), True),
    ],
)
def test_the_background_is_not_tinted(names, painted):
    """It is what no class is; every overlay of 0 and 255 was of one color all over."""
    classes = [LabelClass(name=name, color=(250, 0, 0)) for name in names]
    image = np.full((4, 4, 3), 100, np.uint8)
    mask = np.zeros((4, 4), np.uint8)

    assert (Painter(classes, legend=False).paint(image, mask) != image).any() == painted
    assert (Painter(classes, legend=False, only=[0]).paint(image, mask) != image).any()


def test_a_painter_takes_images_of_changing_sizes():
    """A folder holds images of all sizes."""
    painter = Painter(CLASSES)

    for height, width in ((100, 200), (50, 60), (100, 200)):
        assert painter.paint(
            np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
        ).shape == (height, width, 3)


def test_images_are_placed_side_by_side():
    """The second is resized to the height of the first and keeps its aspect ratio.

    20 x 40 becomes 10 x 20.
    """
    both = side_by_side(np.zeros((10, 5, 3), np.uint8), np.full((20, 40, 3), 9, np.uint8))

    assert both.shape == (10, 25, 3)
    assert not both[:, :5].any()
    assert (both[:, 5:] == 9).all()


def test_only_some_classes_are_painted():
    """Elsewhere the image is as it was, also in unlabeled pixels.

    The legend has the painted ones alone.
    """
    image = np.full((90, 200, 3), 100, np.uint8)
    mask = np.repeat(np.array([[0, 1, 255]], np.uint8), 90, axis=0).repeat([60, 70, 70], axis=1)

    painted = Painter(CLASSES, legend=False, only=[1]).paint(image, mask)

    assert (painted[:, :60] == 100).all()
    # Half of 100 and half of blue, (255, 0, 0).
    assert (painted[:, 60:130] == (178, 50, 50)).all()
    assert (painted[:, 130:] == 100).all()
    both = Painter(CLASSES).paint(image, mask)
    one = Painter(CLASSES, only=[1]).paint(image, mask)
    assert (both[:, :60] == CLASSES[0].color[::-1]).all(axis=2).any()
    assert not (one[:, :60] == CLASSES[0].color[::-1]).all(axis=2).any()


def test_contours_have_the_full_color():
    """One pixel on either side of the edge; none is drawn where a class is hidden."""
    image = np.zeros((5, 8, 3), np.uint8)
    mask = np.zeros((5, 8), np.uint8)
    mask[:, 4:] = 1

    painted = Painter(CLASSES, opacity=0, legend=False, contours=True).paint(image, mask)
    alone = Painter(CLASSES, opacity=0, legend=False, contours=True, only=[1]).paint(image, mask)

    assert painted[2].tolist() == [[0, 0, 0]] * 3 + [[0, 100, 200], [255, 0, 0]] + [[0, 0, 0]] * 3
    assert alone[2].tolist() == [[0, 0, 0]] * 4 + [[255, 0, 0]] + [[0, 0, 0]] * 3


@given(st.integers(0, 255), st.integers(0, 255))
def test_halves_are_to_the_nearest(light, color):
    """The fast blend at an opacity of 0.5 is off by at most the half that is rounded."""
    classes = [LabelClass(name="gray", color=(color,) * 3)]

    painted = Painter(classes, legend=False).paint(
        np.full((1, 1, 3), light, np.uint8), np.zeros((1, 1), np.uint8)
    )

    assert abs(int(painted[0, 0, 0]) - (light + color) / 2) <= 0.5


IMAGE = np.full((4, 6, 3), (10, 20, 30), np.uint8)
ROADS = np.array([[0, 0, 0, 1, 1, 255]] * 4, np.uint8)


def test_the_renderers_overlay_is_the_painters() -> None:
    """There is one implementation of the overlay."""
    drawn = Renderer(CLASSES, opacity=0.3).draw(IMAGE, ROADS)

    assert list(drawn) == [OVERLAY]
    np.testing.assert_array_equal(drawn[OVERLAY], Painter(CLASSES, opacity=0.3).paint(IMAGE, ROADS))


def test_sides_are_the_image_and_its_overlay() -> None:
    """Beside each other, twice as wide."""
    drawn = Renderer(CLASSES, (SIDE,), legend=False).draw(IMAGE, ROADS)

    assert drawn[SIDE].shape == (4, 12, 3)
    np.testing.assert_array_equal(drawn[SIDE][:, :6], IMAGE)
    np.testing.assert_array_equal(drawn[SIDE][:, 6:], drawn[OVERLAY])


def test_only_some_classes_are_kept() -> None:
    """All others become unlabeled; the kept ones keep their index."""
    selected = Renderer(CLASSES, (MASK,), only=[1]).select(ROADS)

    assert selected[0].tolist() == [255, 255, 255, 1, 1, 255]
    assert Renderer(CLASSES, (MASK,)).select(ROADS) is ROADS


def test_a_cutout_is_transparent_or_in_front_of_a_background() -> None:
    """By hand: the car is in the fourth and fifth column."""
    transparent = Renderer(CLASSES, (CUTOUT,), only=[1])
    opaque = Renderer(
        CLASSES, (CUTOUT,), only=[1], background=np.full((1, 1, 3), (0, 255, 0), np.uint8)
    )

    clear, green = (
        renderer.draw(IMAGE, renderer.select(ROADS))[CUTOUT] for renderer in (transparent, opaque)
    )

    assert clear[0].tolist() == [[10, 20, 30, 0]] * 3 + [[10, 20, 30, 255]] * 2 + [[10, 20, 30, 0]]
    assert green[0].tolist() == [[0, 255, 0]] * 3 + [[10, 20, 30]] * 2 + [[0, 255, 0]]
    assert CUTOUT in opaque.video_kinds
    assert CUTOUT not in transparent.video_kinds


def test_masks_need_no_drawing() -> None:
    """Nor do annotations."""
    assert not Renderer(CLASSES, (MASK, COLOR)).draws
    assert Renderer(CLASSES, (MASK, SIDE)).draws
