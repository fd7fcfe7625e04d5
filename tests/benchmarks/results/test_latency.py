"""Measurement of latency: a fake clock, and percentiles worked out by hand."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median

import pytest

from segdeploy.benchmarks.results.latency import Latency, measure
from segdeploy.errors import DataError
from segdeploy.system.schema import convert


def clock_of(seconds: Sequence[float]) -> Callable[[], float]:
    """A clock under which each run takes the given seconds."""
    now = 0.0
    ticks = []
    for length in seconds:
        ticks += [now, now + length]
        now += length + 1.0
    left = iter(ticks)
    return lambda: next(left)


def one_round(*runs: float) -> Latency:
    return Latency(rounds=(runs,))


def test_only_the_calls_are_timed() -> None:
    """Time between two runs is not counted."""
    latency = measure(lambda run: None, runs=4, warm_up=0, clock=clock_of([0.1, 0.2, 0.3, 0.4]))

    assert latency.runs == (100.0, 200.0, 300.0, 400.0)
    assert latency.median == 250.0


def test_warm_up_runs_are_done_and_not_timed() -> None:
    """The first runs fill caches; the clock has ticks for the timed ones only."""
    done: list[int] = []

    latency = measure(done.append, runs=2, warm_up=3, clock=clock_of([0.5, 0.7]))

    assert done == [0, 1, 2, 0, 1]
    assert latency.runs == (500.0, 700.0)


@pytest.mark.parametrize(
    ("share", "milliseconds"),
    [(0, 10.0), (25, 20.0), (50, 30.0), (90, 46.0), (95, 48.0), (99, 49.6), (100, 50.0)],
)
def test_percentile_is_interpolated_between_runs(share: float, milliseconds: float) -> None:
    """Of five runs 10, 20 ... 50 the one at 90% lies at position 0.9 x 4 = 3.6, six tenths of the
    way from 40 to 50.
    """
    assert one_round(50.0, 10.0, 40.0, 20.0, 30.0).percentile(share) == pytest.approx(milliseconds)


def test_spread_is_the_quartiles_distance_over_the_median() -> None:
    """The quartiles of 10, 20 ... 50 are 20 and 40: (40 - 20) / 30."""
    assert one_round(10.0, 20.0, 30.0, 40.0, 50.0).spread == pytest.approx(2 / 3)


def test_drift_is_the_distance_of_the_rounds_medians() -> None:
    """Medians 100, 110 and 90 with 100 for all: 20%."""
    assert Latency(rounds=((99.0, 100.0, 101.0), (110.0,) * 3, (90.0,) * 3)).drift == pytest.approx(
        0.2
    )


@pytest.mark.parametrize(
    ("latency", "noise"),
    [
        (one_round(100.0, 101.0, 102.0), ""),
        (one_round(10.0, 20.0, 30.0, 40.0, 50.0), "its interquartile range is 67% of the median"),
        # Half of all runs lie at 100 and 110: quartiles 100 and 111, median 105.
        (Latency(rounds=((100.0, 100.0), (110.0, 114.0))), "its rounds differ by 11%"),
        (one_round(100.0), ""),
    ],
)
def test_noise_is_named(latency: Latency, noise: str) -> None:
    """A value that may be chance is marked."""
    assert latency.noise == noise


def test_survives_json() -> None:
    """Old reports are read again to be compared with."""
    latency = Latency(rounds=((1.25, 2.5), (3.0,)))

    values = json.loads(json.dumps(latency.to_dict()))

    assert convert(values, Latency, refuse=DataError) == latency
    assert values["unit"] == "ms"


def test_rounds_of_parts_are_concatenated() -> None:
    """Each process of a row gives one round."""
    assert Latency.joined([one_round(1.0), one_round(2.0, 3.0)]).rounds == ((1.0,), (2.0, 3.0))


@pytest.mark.parametrize(
    ("runs", "interval"),
    [
        # The median of three draws is the smallest where two or three of them are: 7 of 27 times,
        # more often than 2.5%.
        ((10.0, 20.0, 30.0), (10.0, 30.0)),
        # Of seven draws four or more are the smallest 1.0% of the time, and four or more among the
        # two smallest 11%.
        ((10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0), (20.0, 60.0)),
        ((40.0, 40.0, 40.0), (40.0, 40.0)),
        ((40.0,), (40.0, 40.0)),
    ],
)
def test_interval_of_the_median_is_the_bootstraps(
    runs: tuple[float, ...], interval: tuple[float, float]
) -> None:
    """Samples are drawn from the runs with replacement.

    2.5% of their medians lie beyond each bound.
    """
    assert one_round(*runs).interval(50) == interval


def test_interval_is_of_rounds_first() -> None:
    """Twenty runs each of 10 and of 20 ms are two observations, not forty.

    Half of all samples hold one round only.
    """
    latency = Latency(rounds=((10.0,) * 20, (20.0,) * 20))

    assert latency.interval(50) == (10.0, 20.0)
    assert latency.width == pytest.approx(10 / 15)


def test_interval_of_rounds_of_different_lengths_reads_each_whole() -> None:
    """A round of one run among longer ones counts as one run."""
    latency = Latency(rounds=((10.0,), (20.0, 20.0, 20.0)))

    assert set(latency.resampled(50)) <= {10.0, 20.0}
    # A quarter of the samples hold the first round twice, another the second, and in the others
    # three of four runs are 20.
    assert (latency.resampled(50) == 10.0).mean() == pytest.approx(0.25, abs=0.03)


def test_interval_is_the_same_every_time() -> None:
    """The bootstrap is seeded: a report that is read again has the same intervals."""
    values = (10.0, 11.0, 15.0, 12.0)

    assert one_round(*values).interval(95) == one_round(*values).interval(95)
    assert (
        one_round(*values).resampled(50, seed=1) != one_round(*values).resampled(50, seed=2)
    ).any()


def test_rate_counts_the_slow_runs_too() -> None:
    """Four runs in 400 ms are ten a second, whatever their median."""
    assert one_round(50.0, 50.0, 50.0, 250.0).rate == pytest.approx(10.0)


def test_summary_holds_percentiles_and_their_intervals() -> None:
    """Another program need not compute the bootstrap."""
    summary = one_round(10.0, 20.0, 30.0).summary()

    assert (summary["median"], summary["intervals"]["median"]) == (20.0, [10.0, 30.0])
    assert set(summary["intervals"]) == {"median", "p90", "p95", "p99"}


WORK = """
import cv2, numpy as np
from segdeploy.benchmarks.results.latency import measure
cv2.setNumThreads(1)
image = np.random.default_rng(0).integers(0, 256, (360, 640, 3), dtype=np.uint8)
blur = lambda run: cv2.GaussianBlur(image, (0, 0), 5)
measure(blur, runs=0, warm_up=3)
print("begun", flush=True)
latency = measure(blur, runs=30, warm_up=0)
print(sum(latency.runs) / 1000, flush=True)
"""
"""Real work, measured from inside, with a printed line before and after it."""


def share_of_outside_time() -> float:
    """Return the time that a process measured itself as a share of the time measured here."""
    with subprocess.Popen(
        [sys.executable, "-c", WORK], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        start = time.perf_counter()
        reported = float(process.stdout.readline())
        return reported / (time.perf_counter() - start)


@pytest.mark.slow
def test_agrees_with_the_time_measured_outside() -> None:
    """Within 5% of what another process measures, by the median of pairs.

    Whatever else runs delays both by the same.
    """
    assert median(share_of_outside_time() for _ in range(5)) == pytest.approx(1.0, abs=0.05)
