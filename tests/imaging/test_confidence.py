"""The probability of the best class is softmax's, at every pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segdeploy.imaging.postprocess import largest_probability, softmax_confidence

side = st.integers(1, 16)
big_side = st.integers(1, 90)


def by_torch(planes, height, width):
    """255 times the largest of the softmax of the enlarged logits, in double precision."""
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
    # Places and logits are rounded at 2^-24, and logits of hundreds make steep edges of it.
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


def test_probabilities_are_enlarged_as_they_are():
    """By hand: 1 and 0 beside 0 and 1.

    A quarter of the way the larger one is 0.75, and 191.25 is 191.
    """
    planes = np.array([[[1, 0]], [[0, 1]]], np.float32)

    assert largest_probability(planes, 1, width=4, covered=(1, 2)).tolist() == [
        [255, 191, 191, 255]
    ]


@pytest.mark.parametrize("covered", [(3.5, 6.0), (5.0, 2.25)])
def test_padding_is_left_out(covered):
    """What lies beyond the image has no say.

    There the network is sure, and in the image it is not.
    """
    planes = np.zeros((2, 8, 8), np.float32)
    planes[0, int(covered[0]) + 1 :] = 99
    planes[0, :, int(covered[1]) + 1 :] = 99

    confidence = softmax_confidence(planes, 40, width=40, covered=covered)

    assert np.abs(confidence[:36, :30].astype(int) - 127.5).max() <= 0.5
