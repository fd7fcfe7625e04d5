"""How long a thing takes: every run is kept, and the figures follow from the runs."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

Clock = Callable[[], float]
"""Gives seconds that never go back."""

SPREAD_BOUND = 0.15
"""Half of the runs should lie within this share of the median; wider apart, small differences mean nothing."""

DRIFT_BOUND = 0.10
"""Rounds minutes apart should agree within this share of the median; else the machine changed while it was measured."""


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
        """Give the time that `share` percent of the runs stay under; between two runs it is interpolated."""
        return float(np.percentile(self.runs, share))

    @property
    def median(self) -> float:
        """Half of the runs take no longer."""
        return self.percentile(50)

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

    def to_dict(self) -> dict[str, Any]:
        """Give figures and runs as values that JSON knows."""
        figures = {name: round(self.percentile(share), 4) for name, share in (("median", 50), ("p90", 90), ("p95", 95), ("p99", 99))}
        return {"unit": "ms", **figures, "rounds": [list(round_) for round_ in self.rounds]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the runs of what `to_dict` gave; the figures follow from them."""
        return cls(rounds=tuple(tuple(float(run) for run in round_) for round_ in values["rounds"]))

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Put the rounds of several measurements of one thing behind each other."""
        return cls(rounds=tuple(round_ for part in parts for round_ in part.rounds))


def measure(act: Callable[[int], object], *, runs: int, warm_up: int, clock: Clock = time.perf_counter) -> Latency:
    """Time an act again and again, as one round.

    What the act does is timed from its call to its return, to a tenth of a microsecond, and nothing else is.

    Args:
        act: Takes the number of the run, so that runs can take turns with different pictures.
        runs: How many runs are timed.
        warm_up: How many come before them that are not: the first ones fill caches and choose algorithms.
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
