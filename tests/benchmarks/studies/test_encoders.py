"""The frontier of encoder settings, and the measures that it is made of."""

from math import log

import cv2
import numpy as np
import pytest

from segdeploy.benchmarks.studies.encoders import (
    REFERENCE,
    Cost,
    Encoded,
    compare,
    encode,
    frontier,
    knee,
    mean_costs,
    ssim,
    to_frames,
    to_table,
)


def cost(milliseconds: float, size: float) -> Cost:
    return Cost(milliseconds=milliseconds, size=size, loss=0.0, equal_size=size)


def test_knee_is_the_setting_farthest_below_the_line() -> None:
    """From (1, 8) to (8, 1) the line is one of equal products; (2, 2) lies farthest below it, and
    (4, 3) is slower and larger than that, so it is not on the frontier.
    """
    costs = {
        "fast": cost(1, 8),
        "small": cost(8, 1),
        "good": cost(2, 2),
        "worse": cost(4, 3),
        "later": cost(5, 1.5),
    }

    assert frontier(costs) == ["fast", "good", "later", "small"]
    assert knee(costs) == "good"
    assert "| good | 2.0 | 2.00 | -0.0 dB | 2.00 | knee |" in to_table(costs)


def test_sizes_are_compared_at_equal_similarity() -> None:
    """A setting of the same size that is 3 dB worse needs twice the bytes, if 3 dB cost as much."""

    def clips(loss: float) -> list[Encoded]:
        return [
            Encoded(milliseconds=5.0, kilobytes=size, similarity=quality - loss)
            for size, quality in ((20.0, 23.0), (10.0, 20.0), (5.0, 17.0))
        ]

    costs = compare({REFERENCE: clips(0.0), "blurred": clips(3.0)})

    assert costs[REFERENCE].equal_size == pytest.approx(1.0)
    assert costs["blurred"].size == pytest.approx(1.0)
    assert costs["blurred"].loss == pytest.approx(3.0)
    assert costs["blurred"].equal_size == pytest.approx(2.0)


def test_clips_count_alike_whatever_their_size() -> None:
    """Half on one clip and twice on another is the same."""
    mean = mean_costs([{"x": cost(1, 0.5)}, {"x": cost(100, 2.0)}])

    assert log(mean["x"].milliseconds) == pytest.approx(log(10))
    assert mean["x"].equal_size == pytest.approx(1.0)


def test_similarity_of_a_constant_shift() -> None:
    """Two planes of 100 and 110: (2 * 100 * 110 + C1) / (100^2 + 110^2 + C1), C1 = 2.55^2."""
    one = np.full((16, 16), 100, np.float32)

    assert ssim(one, one) == pytest.approx(1.0)
    assert ssim(one, one + 10) == pytest.approx((22000 + 6.5025) / (22100 + 6.5025), abs=1e-4)


def test_a_worse_quality_is_smaller_and_less_similar() -> None:
    """What is measured is the encoder's work on these frames."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)
    frames = to_frames(np.roll(smooth, 2 * shift, 1) for shift in range(7))

    good, bad = (encode(frames, {"preset": "ultrafast"}, crf=crf) for crf in (15, 40))

    assert bad.kilobytes < good.kilobytes
    assert bad.similarity < good.similarity
