"""Labels at the size of the image are those of torch's interpolation and argmax."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segdeploy.imaging.upsample import (
    best_class,
    make_axis,
    upsampled_mask,
    upsampled_mask_by_class,
)

pytestmark = pytest.mark.usefixtures("one_thread")

side = st.integers(1, 24)
big_side = st.integers(1, 150)


def upsampled_by_torch(planes, height, width):
    """The upsampled planes themselves, (K, height, width)."""
    tensor = torch.from_numpy(planes)[None]
    return torch.nn.functional.interpolate(
        tensor, (height, width), mode="bilinear", align_corners=False
    )[0].numpy()


def assert_same(labels, values):
    """Each label is the best class, or within float32's rounding of it."""
    assert labels.dtype == np.uint8
    assert labels.shape == values.shape[1:]
    assert labels.max() < len(values)
    chosen = np.take_along_axis(values, labels[None].astype(np.intp), axis=0)[0]
    assert (values.max(0) - chosen).max() <= 1e-5 * max(float(np.abs(values).max()), 1e-30)


def draw_planes(kind, classes, height, width, seed):
    """Planes as networks return them, and unusual ones."""
    rng = np.random.default_rng(seed)
    if kind == "constant":
        planes = np.broadcast_to(rng.standard_normal((classes, 1, 1)), (classes, height, width))
    elif kind == "equal":
        planes = np.broadcast_to(rng.standard_normal((1, height, width)), (classes, height, width))
    elif kind == "few values":
        planes = rng.integers(-1, 2, (classes, height, width))
    elif kind == "far from zero":
        planes = rng.standard_normal((classes, height, width)) + 1000
    elif kind == "smooth":
        y, x = np.mgrid[:height, :width] / 9
        turns = rng.uniform(0, 6.3, (3, classes, 1, 1))
        planes = np.sin(y * turns[0] + turns[1]) + np.cos(x + turns[2])
    else:
        planes = rng.standard_normal((classes, height, width)) * 10.0 ** rng.integers(-20, 20)
    return np.ascontiguousarray(planes, dtype=np.float32)


kinds = st.sampled_from(["noise", "constant", "equal", "few values", "far from zero", "smooth"])


@pytest.mark.slow
@settings(deadline=None, max_examples=400)
@given(
    kinds,
    st.integers(1, 150) | st.integers(1, 5),
    side,
    side,
    big_side,
    big_side,
    st.integers(0, 9),
)
def test_labels_are_those_of_torch(kind, classes, h, w, height, width, seed):
    """Whatever the classes, sizes and ratios.

    Larger and smaller sizes, integer ratios and others, single rows, ties.
    """
    planes = draw_planes(kind, classes, h, w, seed)

    labels = upsampled_mask(planes, height, width=width, covered=(h, w))

    assert_same(labels, upsampled_by_torch(planes, height, width))


@settings(deadline=None, max_examples=150)
@given(kinds, st.integers(1, 30), side, side, big_side, big_side, st.integers(0, 9))
def test_labels_by_class_are_those_of_torch(kind, classes, h, w, height, width, seed):
    """The path for noise returns the same labels, though OpenCV's positions are float64."""
    planes = draw_planes(kind, classes, h, w, seed)

    labels = upsampled_mask_by_class(planes, height, width=width, covered=(h, w))

    assert_same(labels, upsampled_by_torch(planes, height, width))


@pytest.mark.parametrize("classes", [2, 19])
@pytest.mark.parametrize(
    ("h", "w", "height", "width"),
    [(32, 64, 256, 512), (33, 61, 270, 480), (64, 64, 96, 100), (8, 8, 512, 512), (90, 90, 31, 47)],
)
@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_no_label_differs_at_usual_sizes(kind, classes, h, w, height, width):
    """No label differs except where two upsampled logits are equal within float32's rounding of
    them and of the pixel's position.
    """
    planes = draw_planes(kind, classes, h, w, 3)
    values = upsampled_by_torch(planes, height, width)
    first, second = -np.sort(-values, axis=0)[:2]
    rounding = np.finfo(np.float32).eps * np.abs(values).max()

    labels = upsampled_mask(planes, height, width=width, covered=(h, w))
    by_class = upsampled_mask_by_class(planes, height, width=width, covered=(h, w))

    for found, tie in ((labels, 4 if kind == "smooth" else max(h, w)), (by_class, max(h, w))):
        decided = first - second > tie * rounding
        np.testing.assert_array_equal(found[decided], values.argmax(0)[decided])
        assert decided.mean() > 0.999


def test_the_first_of_equal_classes_wins():
    """As in torch's argmax, so that the mask does not depend on the path that was taken."""
    planes = np.zeros((3, 4, 4), np.float32)
    planes[1:, :2] = 1

    labels = upsampled_mask(planes, 8, width=8, covered=(4, 4))

    # Halfway between the second and the third row all are positive for 1 and 2 alike; from the
    # fourth logit on all are 0.
    assert labels[0].tolist() == [1] * 8
    assert labels[-1].tolist() == [0] * 8
    assert 2 not in labels


def test_a_class_wins_between_logits_where_it_is_best_at_none():
    """By hand: 0 falls from 2 to 0, 1 rises from 0 to 2, and 2 is 1.5 throughout.

    Best halfway, where both others are 1.
    """
    planes = np.array([[[2, 0]], [[0, 2]], [[1.5, 1.5]]], np.float32)

    labels = upsampled_mask(planes, 1, width=16, covered=(1, 2))

    # Pixel x lies at (x + 0.5) / 8 - 0.5; 0 is above 1.5 before 0.25, that is to x = 5, and 1 from
    # x = 10 on.
    assert labels.tolist() == [[0] * 6 + [2] * 4 + [1] * 6]


@settings(deadline=None, max_examples=150)
@given(
    kinds,
    st.integers(1, 9),
    st.integers(2, 24),
    st.integers(2, 24),
    big_side,
    big_side,
    st.floats(0.2, 1),
    st.integers(0, 9),
)
@example("noise", 2, 2, 3, 2, 3, 0.875, 0)
def test_a_part_of_the_logits_is_upsampled_as_grid_sample_does(
    kind, classes, h, w, height, width, share, seed
):
    """A padded image covers a part of the logits only, which need not be a whole number of them."""
    planes = draw_planes(kind, classes, h, w, seed)
    covered = (h * share, float(w))
    y = (np.arange(height) + 0.5) * covered[0] / height
    x = (np.arange(width) + 0.5) * covered[1] / width
    grid = np.stack(
        np.broadcast_arrays((2 * x / w - 1)[None, :], (2 * y / h - 1)[:, None]), axis=-1
    )[None]
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(planes).double()[None],
        torch.from_numpy(grid),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )

    assert_same(upsampled_mask(planes, height, width=width, covered=covered), sampled[0].numpy())
    assert_same(
        upsampled_mask_by_class(planes, height, width=width, covered=covered), sampled[0].numpy()
    )


@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_best_class_is_argmax(classes, height, width, seed):
    """The first of equals, as numpy has it."""
    planes = np.random.default_rng(seed).integers(0, 3, (classes, height, width)).astype(np.float32)

    np.testing.assert_array_equal(best_class(planes), planes.argmax(0))


def weights_of(axis):
    """The weight of the farther logit in each pixel."""
    return axis.weights.T.ravel()[axis.pixel_slots].tolist()


def test_pixels_lie_between_logits_by_half_pixel_centers():
    """By hand: 2 logits, 8 pixels.

    Pixel i lies at (i + 0.5) / 4 - 0.5 = -0.375, -0.125, 0.125 ..., 1.375.
    """
    axis = make_axis(2, 2, 8)

    assert axis.cell.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert weights_of(axis) == [0, 0, 0.125, 0.375, 0.625, 0.875, 0, 0]
    assert axis.pick() == slice(2, 10)


def test_cells_are_cut_into_parts():
    """By hand: as above, two parts each.

    Cells 0 and 3 lie beyond the logits, and 1 between the first logit and the point halfway.
    """
    axis = make_axis(2, 2, 8, 2)

    assert axis.cell.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert weights_of(axis) == [0, 0, 0.125, 0.375, 0.625, 0.875, 0, 0]
    assert [side.tolist() for side in axis.logits] == [[0, 0, 0, 1], [0, 1, 1, 1]]
    assert [side.tolist() for side in axis.points] == [[0, 0, 1, 2], [0, 1, 2, 2]]
    assert axis.pick() == slice(0, 8)


@pytest.mark.parametrize("ratio", [(24, 32), (31, 29), (40, 25.5)])
def test_parts_of_cells_change_no_label(ratio: tuple[float, float]):
    """Logits that lie far apart, as in a small output for a large image.

    Classes that contend in a part can win there.
    """
    planes = np.random.default_rng(3).normal(size=(7, 6, 9)).astype(np.float32)
    planes = np.stack([cv2.GaussianBlur(plane, (0, 0), 1.2) for plane in planes])
    height, width = round(6 * ratio[0]), round(9 * ratio[1])

    labels = upsampled_mask(planes, height, width=width, covered=(6, 9))

    np.testing.assert_array_equal(labels, upsampled_by_torch(planes, height, width).argmax(0))
