"""Latency: every timed run is kept, and percentiles and intervals follow from the runs."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Clock = Callable[[], float]
"""Returns seconds that never decrease."""

SPREAD_BOUND = 0.15
"""Largest interquartile range, as a share of the median, that is not called noise."""

DRIFT_BOUND = 0.10
"""Largest distance of the rounds' medians, as a share of the median, that is not called noise: a
larger one means that the machine changed between the rounds, which are minutes apart."""

STABLE = 0.05
"""Largest width of the median's interval, as a share of the median, that needs no more rounds."""

PERCENTILES = (50, 90, 95, 99)
"""The percentiles that are reported."""

SHORTEST, LONGEST = 1e-4, 1e9
"""Milliseconds: what the clock is rounded to, and eleven days."""

RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Times of repeated runs, in milliseconds.

    Attributes:
        rounds: The runs of each round, in the order in which they were measured.
    """

    rounds: tuple[tuple[float, ...], ...]

    def check(self) -> None:
        """Check that percentiles follow from the times; a ValueError says why not."""
        if not self.rounds or not all(self.rounds):
            msg = "a round has no run"
            raise ValueError(msg)
        for run in self.runs:
            if not 0 < run <= LONGEST:
                msg = f"a run took {run} ms, which must be more than 0 and at most {LONGEST:g}"
                raise ValueError(msg)

    @property
    def runs(self) -> tuple[float, ...]:
        """All runs of all rounds."""
        return tuple(run for round_ in self.rounds for run in round_)

    def percentile(self, percent: float) -> float:
        """Return a percentile of all runs, linearly interpolated between two of them."""
        return float(np.percentile(self.runs, percent))

    @property
    def median(self) -> float:
        """Median of all runs."""
        return self.percentile(50)

    @property
    def rate(self) -> float:
        """Runs per second over the total time, slow runs included."""
        return 1000 * len(self.runs) / sum(self.runs)

    def resampled(self, percent: float, *, seed: int = SEED) -> npt.NDArray[np.float64]:
        """Return the percentile of each of 2000 bootstrap samples, drawn as `interval` says."""
        samples, counts = _resamples(self.rounds, seed)
        position = percent / 100 * (counts - 1)
        lower, upper = (
            np.take_along_axis(samples, edge(position).astype(int)[:, None], 1)[:, 0]
            for edge in (np.floor, np.ceil)
        )
        return np.asarray(lower + (upper - lower) * (position % 1), dtype=np.float64)

    def interval(self, percent: float) -> tuple[float, float]:
        """Return the 95% confidence interval of a percentile.

        It is the percentile bootstrap (Efron and Tibshirani 1993, An Introduction to the Bootstrap,
        section 13.3) in two stages (Davison and Hinkley 1997, Bootstrap Methods, section 3.8):
        rounds are drawn with replacement, then the runs of each drawn round, because runs of one
        process are more alike than runs of two.
        """
        low, high = np.percentile(self.resampled(percent), (2.5, 97.5))
        return float(low), float(high)

    @property
    def width(self) -> float:
        """Width of the median's confidence interval, as a share of the median."""
        low, high = self.interval(50)
        return (high - low) / self.median

    @property
    def spread(self) -> float:
        """Interquartile range, as a share of the median."""
        return (self.percentile(75) - self.percentile(25)) / self.median

    @property
    def drift(self) -> float:
        """Distance of the slowest from the fastest round's median, as a share of the median."""
        medians = [float(np.median(round_)) for round_ in self.rounds]
        return (max(medians) - min(medians)) / self.median

    @property
    def noise(self) -> str:
        """Why the times are noisy, as a part of a sentence; "" if they are not."""
        if self.spread > SPREAD_BOUND:
            return f"its interquartile range is {self.spread:.0%} of the median"
        if self.drift > DRIFT_BOUND:
            return f"its rounds differ by {self.drift:.0%}"
        return ""

    def summary(self) -> dict[str, Any]:
        """Return the percentiles and their intervals as JSON values, in milliseconds."""
        percents = {
            "median" if percent == 50 else f"p{percent}": percent for percent in PERCENTILES
        }
        values = {name: round(self.percentile(percent), 4) for name, percent in percents.items()}
        intervals = {
            name: [round(bound, 4) for bound in self.interval(percent)]
            for name, percent in percents.items()
        }
        return {"unit": "ms", **values, "intervals": intervals}

    def to_dict(self) -> dict[str, Any]:
        """Return every run as JSON values; the percentiles follow from them."""
        return {"unit": "ms", "rounds": [list(round_) for round_ in self.rounds]}

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Return the rounds of several measurements as one latency."""
        return cls(rounds=tuple(round_ for part in parts for round_ in part.rounds))


# A report needs several percentiles of each row and is written in three formats.
@lru_cache(maxsize=256)
def _resamples(
    rounds: tuple[tuple[float, ...], ...], seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return sorted samples, one a row and padded with infinity, and the number of runs in each."""
    random = np.random.default_rng(seed)
    lengths = np.array([len(round_) for round_ in rounds])
    runs = np.full((len(rounds), lengths.max()), np.inf)
    for index, round_ in enumerate(rounds):
        runs[index, : len(round_)] = round_
    drawn = random.integers(len(rounds), size=(RESAMPLES, len(rounds)))
    indices = (random.random((*drawn.shape, runs.shape[1])) * lengths[drawn][..., None]).astype(int)
    samples = runs[drawn[..., None], indices]
    samples[np.arange(runs.shape[1]) >= lengths[drawn][..., None]] = np.inf
    return np.sort(samples.reshape(RESAMPLES, -1), axis=1), lengths[drawn].sum(1)


def measure(
    function: Callable[[int], object], *, runs: int, warm_up: int, clock: Clock = time.perf_counter
) -> Latency:
    """Time repeated calls of a function, as one round.

    Only the calls are timed, each from its start to its return, to a tenth of a microsecond.

    Args:
        function: Takes the number of the run, so that runs can cycle through several inputs.
        runs: Number of timed calls.
        warm_up: Calls before them that are not timed: the first ones fill caches and choose
            algorithms.
        clock: Returns seconds.
    """
    for number in range(warm_up):
        function(number)
    times = []
    for number in range(runs):
        start = clock()
        function(number)
        times.append(max(SHORTEST, round(1000 * (clock() - start), 4)))
    return Latency(rounds=(tuple(times),))
