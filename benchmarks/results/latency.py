"""How long a thing takes: every run is kept, and the figures follow from the runs."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Clock = Callable[[], float]
"""Gives seconds that never go back."""

SPREAD_BOUND = 0.15
"""Half of the runs should lie within this share of the median; wider apart, small differences mean
nothing."""

DRIFT_BOUND = 0.10
"""Rounds minutes apart should agree within this share of the median; else the machine changed while
it was measured."""

STABLE = 0.05
"""Width of the median's interval, as a share of the median, from which on further rounds would tell
little more."""

SHARES = (50, 90, 95, 99)
"""The percentiles that are reported."""

RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Times of a repeated act, in milliseconds.

    Attributes:
        rounds: Each round's runs, in the order in which they were measured.
    """

    rounds: tuple[tuple[float, ...], ...]

    @property
    def runs(self) -> tuple[float, ...]:
        """All runs of all rounds."""
        return tuple(run for round_ in self.rounds for run in round_)

    def percentile(self, share: float) -> float:
        """Return the time that `share` percent of the runs stay under.

        Between two runs it is interpolated.
        """
        return float(np.percentile(self.runs, share))

    @property
    def median(self) -> float:
        """Half of the runs take no longer."""
        return self.percentile(50)

    @property
    def rate(self) -> float:
        """Acts a second, the slow ones counted with the others."""
        return 1000 * len(self.runs) / sum(self.runs)

    def resampled(self, share: float, *, seed: int = SEED) -> npt.NDArray[np.float64]:
        """Return the percentile of each of 2000 samples that might as well have been measured.

        `interval` says how they are drawn.
        """
        samples, counts = _resamples(self.rounds, seed)
        place = share / 100 * (counts - 1)
        lower, upper = (
            np.take_along_axis(samples, edge(place).astype(int)[:, None], 1)[:, 0]
            for edge in (np.floor, np.ceil)
        )
        return np.asarray(lower + (upper - lower) * (place % 1), dtype=np.float64)

    def interval(self, share: float) -> tuple[float, float]:
        """Return bounds that hold the true percentile with 95% confidence.

        It is the percentile bootstrap (Efron and Tibshirani 1993, An Introduction to the Bootstrap,
        section 13.3) in two stages (Davison and Hinkley 1997, Bootstrap Methods, section 3.8):
        rounds are drawn with replacement, then each one's runs, since the runs of one process are
        more alike than those of two.
        """
        low, high = np.percentile(self.resampled(share), (2.5, 97.5))
        return float(low), float(high)

    @property
    def width(self) -> float:
        """Width of the median's interval, as a share of the median."""
        low, high = self.interval(50)
        return (high - low) / self.median

    @property
    def spread(self) -> float:
        """Distance from the first to the third quartile, as a share of the median."""
        return (self.percentile(75) - self.percentile(25)) / self.median

    @property
    def drift(self) -> float:
        """Distance between the slowest and the fastest round's median, as a share of the median."""
        medians = [float(np.median(round_)) for round_ in self.rounds]
        return (max(medians) - min(medians)) / self.median

    @property
    def noise(self) -> str:
        """Say what makes the figures doubtful; "" where nothing does."""
        if self.spread > SPREAD_BOUND:
            return f"half of its runs lie {self.spread:.0%} of the median apart"
        if self.drift > DRIFT_BOUND:
            return f"its rounds differ by {self.drift:.0%}"
        return ""

    def summary(self) -> dict[str, Any]:
        """Return the percentiles and their intervals as values that JSON knows."""
        named = {"median" if share == 50 else f"p{share}": share for share in SHARES}
        figures = {name: round(self.percentile(share), 4) for name, share in named.items()}
        intervals = {
            name: [round(bound, 4) for bound in self.interval(share)]
            for name, share in named.items()
        }
        return {"unit": "ms", **figures, "intervals": intervals}

    def to_dict(self) -> dict[str, Any]:
        """Return every run as values that JSON knows."""
        return {"unit": "ms", "rounds": [list(round_) for round_ in self.rounds]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the runs of what `to_dict` gave; the figures follow from them."""
        return cls(rounds=tuple(tuple(float(run) for run in round_) for round_ in values["rounds"]))

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Put the rounds of several measurements of one thing behind each other."""
        return cls(rounds=tuple(round_ for part in parts for round_ in part.rounds))


# A report asks for several percentiles of each row, and is written in three forms.
@lru_cache(maxsize=256)
def _resamples(
    rounds: tuple[tuple[float, ...], ...], seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Draw samples, a row each, sorted, and infinite behind so many runs as each sample has."""
    random = np.random.default_rng(seed)
    lengths = np.array([len(round_) for round_ in rounds])
    runs = np.full((len(rounds), lengths.max()), np.inf)
    for place, round_ in enumerate(rounds):
        runs[place, : len(round_)] = round_
    drawn = random.integers(len(rounds), size=(RESAMPLES, len(rounds)))
    places = (random.random((*drawn.shape, runs.shape[1])) * lengths[drawn][..., None]).astype(int)
    samples = runs[drawn[..., None], places]
    samples[np.arange(runs.shape[1]) >= lengths[drawn][..., None]] = np.inf
    return np.sort(samples.reshape(RESAMPLES, -1), axis=1), lengths[drawn].sum(1)


def measure(
    act: Callable[[int], object], *, runs: int, warm_up: int, clock: Clock = time.perf_counter
) -> Latency:
    """Time an act again and again, as one round.

    What the act does is timed from its call to its return, to a tenth of a microsecond, and nothing
    else is.

    Args:
        act: Takes the number of the run, so that runs can take turns with different images.
        runs: How many runs are timed.
        warm_up: How many come before them that are not: the first ones fill caches and choose
            algorithms.
        clock: Gives seconds.
    """
    for number in range(warm_up):
        act(number)
    times = []
    for number in range(runs):
        start = clock()
        act(number)
        times.append(round(1000 * (clock() - start), 4))
    return Latency(rounds=(tuple(times),))
