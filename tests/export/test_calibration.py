"""Calibration images, and the ranges of activations on them."""

import numpy as np
import pytest

from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.errors import ConfigError
from segdeploy.export.calibration import (
    MAX_SAMPLES,
    RangeCollector,
    open_calibration_images,
    subsample,
)
from tests.helpers.cards import make_card

CARD = make_card(4, 4)


@pytest.mark.slow
def test_calibration_is_spread_over_the_training_split() -> None:
    """64 of the 400 scenes, and none of the validation split."""
    calibration = open_calibration_images(CARD, dataset="streets", data=None, count=64)

    assert calibration.source == "streets train"
    assert calibration.indices == tuple(evenly_spaced(400, 64))
    assert calibration[0].shape == (1, 4, 4, 3)
    assert np.array_equal(calibration.sample(1)[0], calibration[32])


def test_calibration_of_a_network_of_unknown_training_needs_a_name() -> None:
    """Random numbers would calibrate nothing, and no other images are known."""
    with pytest.raises(ConfigError, match="name one with --dataset"):
        open_calibration_images(CARD, dataset=None, data=None, count=64)


def test_subsample_keeps_small_arrays_and_steps_by_odd_numbers() -> None:
    """An even step would see only every other channel or column."""
    assert len(subsample(np.zeros(MAX_SAMPLES // 2, np.float32))) == MAX_SAMPLES // 2
    assert np.diff(subsample(np.arange(4 * MAX_SAMPLES, dtype=np.float32))[:2]) == [5]


def test_extremes_are_those_of_all_numbers_and_percentiles_leave_out_the_rarest() -> None:
    """One outlier among a million stretches the extremes, and does not affect the others."""
    values = np.random.default_rng(0).uniform(0, 1, 10**6).astype(np.float32)
    values[1] = 50
    collector = RangeCollector()

    collector.collect({"x": [values]})
    collector.collect({"x": [values[:1] - 3]})
    ranges = {name: found["x"].range_value for name, found in collector.ranges().items()}

    assert ranges["minmax"] == (values[0] - 3, 50)
    assert float(ranges["percentile"][1]) < 5
    assert float(ranges["entropy"][1]) < 50


def test_layers_that_weight_decay_has_killed_have_a_range() -> None:
    """They return 1e-43, and a histogram cannot divide such a range into bins."""
    collector = RangeCollector()

    collector.collect({"dead": [np.array([[0, 1e-43, 3e-43]], np.float32)]})

    assert set(collector.ranges()) == {"minmax", "percentile", "entropy"}
