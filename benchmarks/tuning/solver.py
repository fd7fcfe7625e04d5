"""The search: short trials of every file, successive halving of settings, interleaved finalists.

It knows neither files nor processes, and is tested with tables of costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol

from segdeploy.errors import SegdeployError

from ..measure.rounds import in_turns
from .space import Budget, Configuration, Space, Trial

SHORT = 1
"""Units of work of the first trials; what a unit is, the bench decides."""

KEPT = 1 / 3
"""Share of the configurations that each rung of the halving keeps (Karnin et al. 2013, Almost
optimal exploration in multi-armed bandits, keep a half: trials here vary less than they differ)."""

FINALISTS = 4
"""Configurations that are measured in interleaved rounds."""

MARGIN = 1.3
"""How much faster than another file one must be in a short trial to leave it out."""

DOUBT = 0.9
"""Share of a bound that a short trial may miss it by: noise is about that large."""


class Bench(Protocol):
    """What measures; each method may take seconds."""

    def measure(self, configuration: Configuration, units: int) -> Trial:
        """Measure a configuration on so many units of work.

        Raises:
            SegdeployError: It cannot be run.
        """
        ...

    def loss(self, configuration: Configuration) -> float:
        """Return the points that its masks lose against the reference.

        Raises:
            SegdeployError: It cannot be run.
        """
        ...

    def size(self, file: str) -> int:
        """Return the bytes of a file."""
        ...

    def left(self) -> float:
        """Return the share of the time that is left, in [0, 1]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration and what was measured of it.

    Attributes:
        configuration: The configuration.
        trials: Its trials of the most units, in the order of the rounds.
        units: Units of each of them.
        loss: Points lost; None where it was not measured.
        size: Bytes of its file.
        error: Why it failed; "" if it did not.
    """

    configuration: Configuration
    trials: tuple[Trial, ...] = ()
    units: int = 0
    loss: float | None = None
    size: int = 0
    error: str = ""

    def middle(self, value: Callable[[Trial], float]) -> float:
        """Return the median of a value over the trials."""
        return median(map(value, self.trials))

    @property
    def fps(self) -> float:
        """Median frames per second."""
        return self.middle(lambda trial: trial.fps)

    @property
    def fps_range(self) -> tuple[float, float]:
        """Least and most frames per second of the trials."""
        rates = [trial.fps for trial in self.trials]
        return min(rates), max(rates)

    @property
    def latency(self) -> float:
        """Median of the trials' 95th percentiles, in milliseconds."""
        return self.middle(lambda trial: trial.latency)

    @property
    def memory(self) -> float:
        """Most bytes of a trial."""
        return max(trial.memory for trial in self.trials)

    def excess(self, budget: Budget, *, doubt: float = 1.0) -> dict[str, float]:
        """Return by how much each bound is missed, as a share of it; kept bounds are left out.

        Args:
            budget: The bounds.
            doubt: Share of a bound of speed that is enough.
        """
        values = {
            "fps": (budget.fps or 0) * doubt / self.fps,
            "latency": self.latency * doubt / (budget.latency or float("inf")),
            "memory": self.memory / (budget.memory or float("inf")),
            "size": self.size / (budget.size or float("inf")),
        }
        missed = {name: ratio - 1 for name, ratio in values.items() if ratio > 1}
        if self.loss is not None and self.loss > budget.loss:
            missed["loss"] = (self.loss - budget.loss) / max(budget.loss, 1.0)
        return missed

    def rank(self, budget: Budget, *, doubt: float = 1.0) -> tuple[float, float, float]:
        """Return what orders candidates, the best first.

        That is how far the budget is missed; then, where a speed is asked for, what is lost; then
        the time.
        """
        loss = self.loss or 0.0
        time = self.latency if budget.latency else 1 / self.fps
        missed = sum(self.excess(budget, doubt=doubt).values())
        return missed, max(0.0, loss) if budget.is_about_speed else 0.0, time

    def dominates(self, other: "Candidate", budget: Budget, *, margin: float = 1.0) -> bool:
        """Return whether it is faster by a margin, loses no more, and is no larger where asked."""
        own, others = (one.latency if budget.latency else 1 / one.fps for one in (self, other))
        is_small = not budget.size or self.size <= other.size
        is_lean = not budget.memory or self.memory <= other.memory
        loses_less = (self.loss or 0.0) <= (other.loss or 0.0)
        return own * margin < others and loses_less and is_small and is_lean


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What the search found.

    Attributes:
        candidates: All that were measured, the best first.
        finalists: Those that were measured in interleaved rounds, the best first.
        choice: The best of them that keeps the budget; None where none does.
        reason: Why it was chosen, or what comes closest, as a sentence.
    """

    candidates: tuple[Candidate, ...]
    finalists: tuple[Candidate, ...]
    choice: Candidate | None
    reason: str

    @property
    def frontier(self) -> list[Candidate]:
        """Candidates that no other one beats in both fps and loss, the fastest first."""
        whole = [one for one in self.candidates if one.trials and one.loss is not None]
        return sorted(
            (
                one
                for one in whole
                if not any(
                    other.fps >= one.fps
                    and (other.loss or 0) <= (one.loss or 0)
                    and (other.fps, other.loss) != (one.fps, one.loss)
                    for other in whole
                )
            ),
            key=lambda one: -one.fps,
        )


@dataclass
class Search:
    """One search; `solve` runs it.

    Attributes:
        space: Settings that may be tried.
        budget: What has to be kept.
        bench: What measures.
        rounds: Rounds of the finalists.
        on_step: Called with a name before each measurement.
    """

    space: Space
    budget: Budget
    bench: Bench
    rounds: int = 5
    on_step: Callable[[str], None] = lambda _: None
    found: dict[Configuration, Candidate] = field(default_factory=dict)

    def solve(self, files: Sequence[str]) -> Solution:
        """Return the best configuration of some files; the first one is tried in any case.

        Raises:
            SegdeployError: None of them can be run.
        """
        plain = [self._tried(self.space.plain(file)) for file in files]
        if not any(one.trials for one in plain):
            raise SegdeployError(plain[0].error)
        kept = self._contenders([self._judged(one) for one in plain if one.trials])
        settings = [one for file in kept for one in self.space.of(file)]
        finalists = self._halve(settings)
        return self._decide([self._judged(one) for one in finalists])

    def _tried(self, configuration: Configuration, units: int = SHORT) -> Candidate:
        """Return a candidate with one trial of so many units, if it had none of as many."""
        known = self.found.get(configuration, Candidate(configuration=configuration))
        if known.error or known.units >= units:
            return known
        self.on_step(configuration.name)
        try:
            trial = self.bench.measure(configuration, units)
            size = self.bench.size(configuration.file)
            known = replace(known, trials=(trial,), units=units, size=size)
        except SegdeployError as error:
            known = replace(known, error=str(error))
        return self._keep(known)

    def _judged(self, candidate: Candidate) -> Candidate:
        """Return a candidate with its loss, which is that of its file and of carried outputs."""
        if candidate.loss is not None or candidate.error:
            return candidate
        configuration = candidate.configuration
        alike = (configuration.file, configuration.every)
        known = {
            (one.configuration.file, one.configuration.every): one.loss
            for one in self.found.values()
            if one.loss is not None
        }
        try:
            self.on_step(f"masks of {configuration.file}")
            loss = known[alike] if alike in known else self.bench.loss(configuration)
            candidate = replace(candidate, loss=loss)
        except SegdeployError as error:
            candidate = replace(candidate, error=str(error))
        return self._keep(candidate)

    def _keep(self, candidate: Candidate) -> Candidate:
        """Remember what is known of a configuration, and return it."""
        self.found[candidate.configuration] = candidate
        return candidate

    def _contenders(self, plain: Sequence[Candidate]) -> list[str]:
        """Return the files that are worth more trials, those that keep the bound of loss first."""
        usable = [one for one in plain if not one.error]
        kept = [
            one
            for one in usable
            if not any(other.dominates(one, self.budget, margin=MARGIN) for other in usable)
        ]
        accurate = [one for one in kept if (one.loss or 0.0) <= self.budget.loss] or kept[:1]
        accurate.sort(key=lambda one: one.rank(self.budget, doubt=DOUBT))
        return [one.configuration.file for one in accurate]

    def _halve(self, configurations: Sequence[Configuration]) -> list[Candidate]:
        """Return the finalists: each rung tries what is left for longer, and keeps the best."""
        left, units = list(configurations), SHORT
        while True:
            tried: list[Candidate] = []
            for configuration in left:
                # What was tried ranks by what is known of it where the time is used up.
                if self.bench.left() <= 0.3 and tried:
                    break
                candidate = self._tried(configuration, units)
                if not candidate.error:
                    tried.append(self._judged(candidate))
            tried = [one for one in tried if not one.error]
            tried.sort(key=lambda one: one.rank(self.budget, doubt=DOUBT))
            if len(tried) <= FINALISTS or self.bench.left() <= 0.3:
                return tried[:FINALISTS]
            left = [one.configuration for one in tried[: max(FINALISTS, round(KEPT * len(tried)))]]
            units *= 2

    def _decide(self, finalists: Sequence[Candidate]) -> Solution:
        """Measure the finalists in turns, and choose the best one."""
        by_name = {one.configuration.name: one for one in finalists if not one.error}
        most = max((one.units for one in by_name.values()), default=SHORT)
        rounds: dict[str, list[Trial]] = {name: [] for name in by_name}
        for name in in_turns(list(by_name), self.rounds):
            if name not in rounds or (self.bench.left() <= 0.05 and all(rounds.values())):
                continue
            self.on_step(f"{name}, finals")
            try:
                rounds[name].append(self.bench.measure(by_name[name].configuration, most))
            except SegdeployError as error:
                del rounds[name]
                self._keep(replace(by_name[name], error=str(error)))
        final = [
            self._keep(replace(by_name[name], trials=tuple(trials), units=most))
            for name, trials in rounds.items()
        ]
        final.sort(key=lambda one: one.rank(self.budget))
        every = sorted(
            (one for one in self.found.values() if one.trials and not one.error),
            key=lambda one: one.rank(self.budget),
        )
        failed = [one for one in self.found.values() if one.error]
        choice, reason = choose(final, self.budget)
        return Solution(
            candidates=(*every, *failed), finalists=tuple(final), choice=choice, reason=reason
        )


def choose(finalists: Sequence[Candidate], budget: Budget) -> tuple[Candidate | None, str]:
    """Return the best finalist that keeps the budget, and a sentence on why.

    Args:
        finalists: Candidates, the best first.
        budget: The bounds.
    """
    kept = [one for one in finalists if not one.excess(budget)]
    if not kept:
        if not finalists:
            return None, "no configuration could be measured"
        nearest = finalists[0]
        return (
            None,
            f"no configuration keeps the budget; {nearest.configuration.name} comes closest",
        )
    best = kept[0]
    low, _ = best.fps_range
    # A difference within the ranges of the rounds is none: then the more accurate one is better.
    equals = [one for one in kept if one.fps_range[1] >= low]
    choice = min(equals, key=lambda one: (max(0.0, one.loss or 0.0), one is not best))
    if choice is not best:
        return choice, (
            f"as fast as {best.configuration.name} within what the rounds vary, and loses less"
        )
    if budget.is_about_speed:
        return best, "loses least of those that are fast enough"
    return best, "the fastest that keeps the budget"
