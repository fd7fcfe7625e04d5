"""Smoothed outputs flicker less, and flicker is measured."""

import numpy as np
import pytest

from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.errors import ConfigError
from segdeploy.video.smoothing import SMOOTHERS, Flicker, Hysteresis, MovingAverage, make_smoother


def card(output: str) -> ModelCard:
    classes = tuple(LabelClass(name=name, color=(0, 0, 0)) for name in "ab")
    return ModelCard(
        architecture="x",
        classes=classes,
        input=InputSpec(height=1, width=1, mean=(0, 0, 0), std=(1, 1, 1)),
        output=output,
    )


def output_of(*logits: float) -> np.ndarray:
    """One pixel with its logits."""
    return np.array(logits, np.float32)[None, :, None, None]


def test_average_moves_halfway() -> None:
    """By hand: 8, then 0 twice, is 8, 4, 2."""
    average = MovingAverage()

    assert [
        float(average.smooth(output_of(value, 0.0))[0, 0, 0, 0]) for value in (8.0, 0.0, 0.0)
    ] == [
        8,
        4,
        2,
    ]


def test_returned_average_is_not_changed_later() -> None:
    """The caller owns the returned array."""
    average = MovingAverage()
    first = average.smooth(output_of(8.0, 0.0))
    average.smooth(output_of(0.0, 0.0))

    assert first[0, 0, 0, 0] == 8


def test_class_is_kept_until_another_leads_clearly() -> None:
    """By hand: class 0 leads; 1 leads by 0.9, which is not enough, and by 1.1, which is.

    Then 0 leads by 0.9, which is not.
    """
    hysteresis = Hysteresis("logits")

    leads = [(1.0, 0.0), (0.0, 0.9), (0.0, 1.1), (0.9, 0.0)]
    assert [int(hysteresis.smooth(output_of(*logits)).argmax(1)[0, 0, 0]) for logits in leads] == [
        0,
        0,
        1,
        1,
    ]


def test_probabilities_are_compared_by_their_ratio() -> None:
    """A margin of 1 between logits is a factor of e = 2.72 between probabilities."""
    hysteresis = Hysteresis("probabilities")

    shares = [(0.9, 0.1), (0.3, 0.7), (0.2, 0.8)]
    assert [int(hysteresis.smooth(output_of(*share)).argmax(1)[0, 0, 0]) for share in shares] == [
        0,
        0,
        1,
    ]


@pytest.mark.parametrize("name", SMOOTHERS)
def test_another_size_starts_again(name: str) -> None:
    """A stream may change its size; nothing of the old size is kept."""
    smoother = make_smoother(name, card("logits"))
    smoother.smooth(np.full((1, 2, 3, 3), 9, np.float32))
    new = np.random.default_rng(0).standard_normal((1, 2, 4, 5)).astype(np.float32)

    np.testing.assert_array_equal(smoother.smooth(new), new)


@pytest.mark.parametrize("name", SMOOTHERS)
def test_noise_around_equal_classes_flickers_less(name: str) -> None:
    """Where two classes are nearly equal, noise swaps them again and again."""
    random = np.random.default_rng(0)
    smoother, before, after = make_smoother(name, card("logits")), Flicker(), Flicker()

    for _ in range(30):
        logits = random.normal(0, 0.5, (1, 2, 20, 20)).astype(np.float32)
        before.add(logits.argmax(1)[0].astype(np.uint8))
        after.add(smoother.smooth(logits).argmax(1)[0].astype(np.uint8))

    # Of three independent halves, one in four is there and back.
    assert before.share == pytest.approx(0.25, abs=0.02)
    assert after.share < 0.6 * before.share


def test_flicker_is_a_change_and_back() -> None:
    """By hand: of two pixels and two frames in the middle, one pixel comes back once.

    A change that stays is none.
    """
    flicker = Flicker()
    for values in ([0, 0], [1, 1], [0, 1], [0, 1]):
        flicker.add(np.array([values], np.uint8))

    assert flicker.share == 1 / 4


def test_flicker_of_two_frames_is_none() -> None:
    """Nothing can come back yet, also not after a change of size."""
    flicker = Flicker()
    for shape in ((2, 2), (2, 2), (3, 3), (3, 3)):
        flicker.add(np.zeros(shape, np.uint8))

    assert flicker.share == 0


def test_class_indices_cannot_be_averaged() -> None:
    """The message says what helps."""
    with pytest.raises(ConfigError, match="--output logits"):
        make_smoother("ema", card("classes"))
