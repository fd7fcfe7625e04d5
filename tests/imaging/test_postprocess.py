"""Images are fitted into the network's input, and outputs become masks of the image's own size."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segdeploy.card import InputSpec
from segdeploy.errors import ModelError
from segdeploy.imaging.postprocess import (
    largest_probability,
    output_to_confidence,
    output_to_mask,
    softmax_confidence,
    to_mask,
    to_mask_and_confidence,
)
from segdeploy.imaging.preprocess import fitted_size, resize, resize_mask, to_batch

pytestmark = pytest.mark.usefixtures("one_thread")


def spec(height, width, fit="stretch"):
    return InputSpec(height=height, width=width, mean=(0.5, 0.25, 0.0), std=(1, 1, 1), fit=fit)


def test_a_batch_is_red_green_blue():
    """The one place where the order changes."""
    image = np.full((4, 4, 3), (1, 2, 3), np.uint8)

    batch = to_batch([image, image], spec(4, 4))

    assert batch.shape == (2, 4, 4, 3)
    assert (batch == (3, 2, 1)).all()


def test_a_padded_image_keeps_its_aspect_ratio():
    """4 x 8 into 6 x 6: 3 x 6 at the top left, and the mean color, 127.5, 63.75 and 0, below."""
    image = np.full((4, 8, 3), 200, np.uint8)

    batch = to_batch([image], spec(6, 6, "pad"))

    assert (batch[0, :3] == 200).all()
    assert (batch[0, 3:] == (128, 64, 0)).all()


def test_images_of_different_sizes_share_a_batch():
    """A folder holds images of all sizes."""
    images = [np.full((4 + n, 9 - n, 3), n, np.uint8) for n in range(3)]

    batch = to_batch(images, spec(5, 7))

    assert [sorted(set(one.ravel().tolist())) for one in batch] == [[0], [1], [2]]


def test_a_batch_shares_no_memory_with_an_image():
    """A change of the batch must not change the image."""
    image = np.zeros((4, 4, 3), np.uint8)

    to_batch([image], spec(4, 4))[:] = 9

    assert not image.any()


def test_halves_are_means():
    """By hand: each pixel of the half is the mean of four."""
    image = np.repeat(np.array([[0, 10, 20, 30], [4, 14, 24, 34]], np.uint8)[..., None], 3, axis=2)

    assert resize(image, 1, width=2)[..., 0].tolist() == [[7, 27]]


def test_fine_stripes_become_gray():
    """Bilinear alone would skip pixels and turn stripes of 1 pixel into broad ones."""
    image = np.zeros((360, 480, 3), np.uint8)
    image[:, ::2] = 200

    for height, width in ((90, 120), (100, 130), (45, 60)):
        assert np.ptp(resize(image, height, width=width)[2:-2, 2:-2].astype(int)) <= 60


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.integers(1, 70))
def test_a_resized_image_is_not_shifted(height, width, rows, columns):
    """A slope stays the same slope, seen from half-pixel centers.

    Nothing is shifted, at odd sizes and at even ones.
    """
    slope = (np.arange(width) + 0.5) / width * 250
    image = np.repeat(
        np.broadcast_to(slope.round().astype(np.uint8), (height, width))[..., None], 3, axis=2
    )

    small = resize(np.ascontiguousarray(image), rows, width=columns)

    assert small.shape == (rows, columns, 3)
    expected = ((np.arange(columns) + 0.5) / columns * 250).clip(slope[0], slope[-1])
    assert np.abs(small[0, :, 0] - expected).max() <= 2.5 + 126 / width


def test_a_resized_mask_holds_no_new_class():
    """Between class 1 and class 3 lies no class 2; pixel centers decide."""
    mask = np.array([[1, 3, 255]], np.uint8)

    assert resize_mask(mask, 1, width=6).tolist() == [[1, 1, 3, 3, 255, 255]]
    assert resize_mask(mask, 1, width=1).tolist() == [[3]]


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_fitted_image_lies_within_the_input(height, width):
    """However long and thin; one side fills the input."""
    rows, columns = fitted_size(spec(60, 90, "pad"), height, width=width)

    assert 1 <= rows <= 60
    assert 1 <= columns <= 90
    assert rows == 60 or columns == 90


def sampled_by_torch(logits, given_spec, height, width):
    """Return the logits where each pixel's center went, (K, height, width)."""
    rows, columns = fitted_size(given_spec, height, width=width)
    y = (2 * (np.arange(height) + 0.5) * rows / height / given_spec.height - 1)[:, None]
    x = (2 * (np.arange(width) + 0.5) * columns / width / given_spec.width - 1)[None, :]
    grid = torch.from_numpy(np.stack(np.broadcast_arrays(x, y), axis=-1)[None])
    return torch.nn.functional.grid_sample(
        torch.from_numpy(logits).double(), grid, padding_mode="border", align_corners=False
    )[0].numpy()


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 120),
    st.integers(1, 120),
    st.sampled_from([1, 4, 8]),
    st.integers(2, 8),
    st.integers(0, 9),
)
@example(12, 1, 4, 2, 0)
def test_padding_is_undone_exactly(height, width, stride, classes, seed):
    """The labels are those of the logits sampled where each pixel's center went, and none is taken
    from the padding's share.
    """
    given_spec = spec(48, 64, "pad")
    logits = (
        np.random.default_rng(seed)
        .standard_normal((1, classes, 48 // stride, 64 // stride))
        .astype(np.float32)
    )
    values = sampled_by_torch(logits, given_spec, height, width)

    mask = output_to_mask(logits, given_spec, height=height, width=width)

    chosen = np.take_along_axis(values, mask[None].astype(np.intp), axis=0)[0]
    assert mask.shape == (height, width)
    assert (values.max(0) - chosen).max() <= 1e-4


@pytest.mark.parametrize("width", [1, 2, 3, 12, 13])
@pytest.mark.parametrize("height", [1, 2, 3, 12, 13])
def test_images_of_a_few_pixels_are_undone_exactly(height, width):
    """OpenCV does not write into every array of one row or one column, and these have the size of
    the logits, less, or more.
    """
    for stride, classes, (rows, columns) in product(
        (1, 4), (2, 3), ((12, 12), (12, 4), (4, 12), (8, 16))
    ):
        given_spec = spec(rows, columns, "pad")
        logits = (
            np.random.default_rng(stride)
            .standard_normal((1, classes, rows // stride, columns // stride))
            .astype(np.float32)
        )
        values = sampled_by_torch(logits, given_spec, height, width)
        share = 1 / np.exp(values - values.max(0)).sum(0)

        mask = output_to_mask(logits, given_spec, height=height, width=width)
        confidence = output_to_confidence(
            logits, given_spec, kind="logits", height=height, width=width
        )

        chosen = np.take_along_axis(values, mask[None].astype(np.intp), axis=0)[0]
        assert mask.shape == confidence.shape == (height, width)
        assert (values.max(0) - chosen).max() <= 1e-4
        assert np.abs(confidence - 255 * share).max() <= 0.6


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_preprocessing_and_postprocessing_are_inverse(fit):
    """A network that returns the image's own red and blue finds the red half red, in every fit."""
    image = np.zeros((45, 80, 3), np.uint8)
    image[:, :40, 2] = 255
    image[:, 40:, 0] = 255
    given_spec = spec(32, 32, fit)
    batch = to_batch([image], given_spec)
    logits = batch[..., [0, 2]].transpose(0, 3, 1, 2).astype(np.float32)

    mask = output_to_mask(logits, given_spec, height=45, width=80)

    assert not mask[:, :39].any()
    assert mask[:, 41:].all()


def test_more_classes_than_a_mask_can_hold_are_refused():
    """The index of class 255 means "not labeled", and that of class 256 does not fit a pixel."""
    assert to_mask(np.zeros((1, 255, 2, 2), np.float32), 2, 2).max() == 0
    with pytest.raises(ModelError, match="returned 256 classes, and a mask holds at most 255"):
        to_mask(np.zeros((1, 256, 2, 2), np.float32), 4, 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_of_nan_or_infinity_is_refused(value):
    """A network whose values overflow must not look like one that predicts class 0."""
    logits = np.zeros((1, 3, 4, 4), np.float32)
    logits[0, 1, 2, 3] = value

    with pytest.raises(ModelError, match="NaN or infinity"):
        to_mask(logits, 8, 8)
    with pytest.raises(ModelError, match="NaN or infinity"):
        output_to_mask(logits, spec(8, 8), height=8, width=8)


@pytest.mark.filterwarnings("ignore:overflow")
def test_huge_numbers_are_accepted():
    """Their sum overflows, they do not."""
    logits = np.full((1, 2, 2, 2), 3e38, np.float32)
    logits[0, 0] = 0

    assert to_mask(logits, 4, 4).all()


def test_classes_are_repeated_up_to_the_image():
    """Nothing can be interpolated between classes: 2x3 of them become blocks of 2x2."""
    classes = np.array([[[0, 1, 2], [3, 4, 5]]], np.uint8)

    mask = output_to_mask(classes, spec(2, 3), height=4, width=6)

    assert mask.tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2


def test_classes_in_the_padding_are_cut_off():
    """A wide image of 2x8 takes the upper row of an input of 2x4."""
    classes = np.array([[[1, 2, 3, 4], [9, 9, 9, 9]]], np.uint8)

    mask = output_to_mask(classes, spec(2, 4, "pad"), height=2, width=8)

    assert mask.tolist() == [[1, 1, 2, 2, 3, 3, 4, 4]] * 2


def test_confidence_comes_with_its_mask():
    """By hand: 2 against 0 is 1 / (1 + e^-2) = 0.8808, 224.6 of 255.

    Half-way between the two halves both are equal.
    """
    logits = np.zeros((1, 2, 1, 2), np.float32)
    logits[0, 0, 0, 0] = logits[0, 1, 0, 1] = 2

    mask, confidence = to_mask_and_confidence(logits, 2, 9)

    assert mask[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert confidence[0, [0, 4, 8]].tolist() in ([225, 127, 225], [225, 128, 225])


@pytest.mark.parametrize(("kind", "expected"), [("logits", 186), ("probabilities", 255)])
def test_confidence_follows_the_output_of_the_card(kind, expected):
    """By hand: as logits 1 against 0 is 1 / (1 + e^-1) = 0.731, 186.4 of 255.

    As a probability it is 1.
    """
    output = np.zeros((1, 2, 4, 4), np.float32)
    output[0, 1, :2] = 1
    given_spec = spec(4, 4, "pad")

    assert (
        output_to_confidence(output, given_spec, kind=kind, height=2, width=8) == expected
    ).all()


def test_classes_alone_have_no_confidence():
    """The file returns nothing else; the sentence says what helps."""
    with pytest.raises(ModelError, match="--output logits"):
        output_to_confidence(
            np.zeros((1, 4, 4), np.uint8), spec(4, 4), kind="classes", height=4, width=4
        )


side = st.integers(1, 16)
big_side = st.integers(1, 90)


def by_torch(planes, height, width):
    """255 times the largest softmax of the upsampled logits, in double precision."""
    tensor = torch.from_numpy(planes)[None]
    wide = torch.nn.functional.interpolate(
        tensor, (height, width), mode="bilinear", align_corners=False
    )
    return 255 * wide.double().softmax(1).amax(1)[0].numpy()


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 150) | st.integers(1, 5),
    side,
    side,
    big_side,
    big_side,
    st.sampled_from([0.0, 1.0, 9.0, 300.0]),
    st.integers(0, 9),
)
def test_confidence_is_that_of_softmax(classes, h, w, height, width, spread, seed):
    """Whatever the classes, sizes and ratios.

    Rounded to the nearest number, from equal logits to logits of hundreds.
    """
    planes = (spread * np.random.default_rng(seed).standard_normal((classes, h, w))).astype(
        np.float32
    )

    confidence = softmax_confidence(planes, height, width=width, covered=(h, w))

    assert confidence.dtype == np.uint8
    # Positions and logits are rounded at 2^-24, and logits of hundreds make steep edges of it.
    assert np.abs(
        confidence - by_torch(planes, height, width)
    ).max() <= 0.51 + 255 * 2**-20 * spread * max(h, w)


def test_classes_that_are_far_behind_still_count():
    """By hand: 1 of 150 leads by 5.

    E^5 / (e^5 + 149) is 148.41 / 297.41, and 255 times this is 127.2.
    """
    planes = np.zeros((150, 2, 2), np.float32)
    planes[7] = 5

    assert (softmax_confidence(planes, 5, width=7, covered=(2, 2)) == 127).all()


def test_a_class_counts_only_where_it_is():
    """By hand: of two classes, one is 4 above only in the lower half: 255 / (1 + e^-4) = 250.4.

    Above both are equal: 127.5.
    """
    planes = np.zeros((3, 8, 8), np.float32)
    planes[2] = -50
    planes[1, 4:] = 4

    confidence = softmax_confidence(planes, 64, width=64, covered=(8, 8))

    assert set(np.unique(confidence[:28])) <= {127, 128}
    assert (confidence[36:] == 250).all()


def test_probabilities_are_upsampled_as_they_are():
    """By hand: 1 and 0 beside 0 and 1.

    A quarter of the way the larger one is 0.75, and 191.25 is 191.
    """
    planes = np.array([[[1, 0]], [[0, 1]]], np.float32)

    assert largest_probability(planes, 1, width=4, covered=(1, 2)).tolist() == [
        [255, 191, 191, 255]
    ]


@pytest.mark.parametrize("covered", [(3.5, 6.0), (5.0, 2.25)])
def test_padding_is_left_out(covered):
    """What lies beyond the image does not count: there the network is certain, and in the image it
    is not.
    """
    planes = np.zeros((2, 8, 8), np.float32)
    planes[0, int(covered[0]) + 1 :] = 99
    planes[0, :, int(covered[1]) + 1 :] = 99

    confidence = softmax_confidence(planes, 40, width=40, covered=covered)

    assert np.abs(confidence[:36, :30].astype(int) - 127.5).max() <= 0.5
