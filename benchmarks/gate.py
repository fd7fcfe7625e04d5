"""Regression gate against a baseline report."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from segdeploy import datasets
from segdeploy.errors import ConfigError, GateError
from segdeploy.system.machine import Machine, cores

from .measure.worker import chosen
from .plan import Plan, ways_of
from .report.tables import megabytes, milliseconds, percent
from .results.latency import SEED, Latency
from .results.report import Report, Row
from .results.row import Accuracy, Figures


def check_plan(baseline: Report, plan: Plan, *, failed: Collection[str] = ()) -> None:
    """Refuse to measure what the baseline cannot hold.

    Args:
        baseline: The older report.
        plan: What will be measured.
        failed: Names of rows that have failed already, since their files could not be made.

    Raises:
        ConfigError: The baseline is of other images, other threads or batches, or has rows that
            are not measured now.
        DataError: The dataset cannot be used.
    """
    dataset = datasets.load(plan.dataset, plan.data, plan.split)
    names = tuple(dataset.names[index] for index in chosen(len(dataset), plan.images))
    check_images(baseline, (plan.dataset, plan.split, names))
    ways = ways_of(plan)
    check_rows(baseline, [*ways, *failed])
    for row, figures in baseline.measured:
        if row.name in ways:
            way, then = ways[row.name], figures.setting
            check_alike(row.name, (then.threads, then.batch), (way.threads or cores(), way.batch))


def check_images(baseline: Report, now: tuple[str, str, tuple[str, ...]]) -> None:
    """Refuse a baseline of other images.

    Args:
        baseline: The older report.
        now: Name of the dataset, its split, and the names of the images.

    Raises:
        ConfigError: They differ.
    """
    then = baseline.dataset, baseline.split, baseline.images
    if then != now:
        msg = (
            f"the baseline was measured on {len(then[2])} images of {then[0]} {then[1]} and this"
            f" report on {len(now[2])} of {now[0]} {now[1]}; measure both on the same images"
        )
        raise ConfigError(msg)


def check_rows(baseline: Report, names: Collection[str]) -> None:
    """Refuse a baseline with a row that is gone.

    Nobody would see that it is held to nothing any more.

    Raises:
        ConfigError: Some of its rows are not among these names, or it holds none.
    """
    gone = [row.name for row, _ in baseline.measured if row.name not in names]
    if gone or not baseline.measured:
        msg = (
            f"the baseline has {', '.join(gone) or 'no row'}, and this report {', '.join(names)};"
            " measure the same files in the same ways"
        )
        raise ConfigError(msg)


def check_alike(name: str, then: tuple[object, ...], now: tuple[object, ...]) -> None:
    """Refuse to compare a row with one that ran otherwise.

    Raises:
        ConfigError: It had other threads, another batch or another input.
    """
    if then != now:
        msg = (
            f"{name} ran with other threads, batch or input in the baseline ({then}, now {now});"
            " measure both alike"
        )
        raise ConfigError(msg)


CONFIDENCE = 99.5
"""Percent of the bootstrapped samples in which a time must be over its limit: of many limits on
many rows, chance alone fails few."""

State = Literal["passed", "failed", "unsure"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure that can be held to a limit.

    Attributes:
        worse: "+" where more is worse, "-" where less is.
        value: Gives the figure of a row, in milliseconds, bytes, or as a share in [0, 1]; None
            where it has none.
        unit: What one of a limit without "%" is, in the figure's own unit: a point, a megabyte, a
            millisecond.
        write: Writes the figure.
        times: Gives the times that the figure is a percentile of, and which; None of a figure
            without chance in it.
    """

    worse: Literal["+", "-"]
    value: Callable[[Row, Figures], float | None]
    unit: float
    write: Callable[[float], str]
    times: Callable[[Figures], tuple[Latency, float]] | None = None


def _percentile(share: float) -> Metric:
    return Metric(
        worse="+",
        value=lambda _, figures: figures.latency.percentile(share),
        unit=1.0,
        write=milliseconds,
        times=lambda figures: (figures.latency, share),
    )


def _score(score: Callable[[Accuracy], float | None]) -> Metric:
    return Metric(
        worse="-",
        value=lambda _, found: score(found.accuracy) if found.accuracy else None,
        unit=0.01,
        write=percent,
    )


def _size(value: Callable[[Row, Figures], float | None]) -> Metric:
    return Metric(worse="+", value=value, unit=1e6, write=lambda size: megabytes(round(size)))


METRICS: Mapping[str, Metric] = {
    **{f"p{share}": _percentile(share) for share in (50, 90, 95, 99)},
    "cold_start": Metric(
        worse="+",
        value=lambda _, figures: figures.cold_start.median,
        unit=1.0,
        write=milliseconds,
        times=lambda figures: (figures.cold_start, 50),
    ),
    "memory": _size(lambda _, figures: figures.peak_memory),
    "size": _size(lambda row, _: row.size),
    "miou": _score(lambda found: found.scores.miou),
    "boundary_iou": _score(lambda found: found.boundary_iou),
    "pixel_accuracy": _score(lambda found: found.scores.pixel_accuracy),
    "dice": _score(lambda found: found.scores.dice),
    "labels": _score(lambda found: found.labels.overall if found.labels else None),
}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """By how much a figure may get worse.

    Attributes:
        metric: Name of the figure.
        allowed: By how much, without its sign.
        relative: Whether that is percent of the old figure; else points, milliseconds or megabytes.
    """

    metric: str
    allowed: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a limit as in "p95=+15%" or "miou=-0.3".

        Raises:
            ConfigError: It is none, or would allow a figure to get better only so far.
        """
        found = re.fullmatch(r"(\w+)=([+-])(\d+(?:\.\d+)?)(%?)", text.strip())
        if found is None or found[1] not in METRICS:
            msg = (
                f"{text!r} is no limit; write for example p95=+15% or miou=-0.3, of"
                f" {', '.join(METRICS)}"
            )
            raise ConfigError(msg)
        worse = METRICS[found[1]].worse
        if found[2] != worse:
            msg = (
                f"{text!r} limits how much better {found[1]} gets; write"
                f" {found[1]}={worse}{found[3]}{found[4]}"
            )
            raise ConfigError(msg)
        return cls(metric=found[1], allowed=float(found[3]), relative=bool(found[4]))

    def __str__(self) -> str:
        return f"{METRICS[self.metric].worse}{self.allowed:g}{'%' if self.relative else ''}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one limit on one row.

    Attributes:
        state: Whether it was kept; "unsure" where it was not, but chance may have done it, or where
            the baseline tells nothing.
        sentence: The old figure, the new one and what was allowed, as far as there are such.
    """

    state: State
    sentence: str


def parse_limits(text: str) -> tuple[Limit, ...]:
    """Read limits with commas between.

    Raises:
        ConfigError: One of them is none.
    """
    return tuple(Limit.parse(part) for part in text.split(","))


def check_limits(baseline: Report, machine: Machine, limits: Sequence[Limit]) -> None:
    """Refuse limits to what a baseline cannot tell.

    A figure that it does not have, or times of another machine.

    Raises:
        ConfigError: There is such a limit.
    """
    for limit in limits:
        if all(METRICS[limit.metric].value(*pair) is None for pair in baseline.measured):
            msg = (
                f"{limit.metric} cannot be compared: no row of the baseline has it; measure the"
                f" baseline again, or leave out {limit}"
            )
            raise ConfigError(msg)
    # Older baselines tell no features.
    known = machine if baseline.machine.features else replace(machine, features=())
    then, now = ((one.kind, one.cores) for one in (baseline.machine, known))
    timed = [limit.metric for limit in limits if METRICS[limit.metric].times]
    if timed and then != now:
        msg = (
            f"{', '.join(timed)} cannot be compared: the baseline was measured on {then[1]} cores"
            f" of {then[0]}, and this machine has {now[1]} of {now[0]}; measure the baseline here,"
            " or limit accuracy and size only"
        )
        raise ConfigError(msg)


def gate(report: Report, baseline: Report, limits: Sequence[Limit]) -> tuple[Verdict, ...]:
    """Hold every row that did not fail to every limit.

    Raises:
        ConfigError: They were not measured on the same images in the same way, or the baseline
            has rows that the report has not.
    """
    check_images(baseline, (report.dataset, report.split, report.images))
    check_rows(baseline, [row.name for row in report.rows])
    old = {row.name: (row, figures) for row, figures in baseline.measured}
    for row, figures in report.measured:
        if row.name in old:
            then, now = (
                (one.setting.threads, one.setting.batch, one.setting.input)
                for one in (old[row.name][1], figures)
            )
            check_alike(row.name, then, now)
    new = [
        Verdict(state="unsure", sentence=f"{row.name} is not in the baseline")
        for row, _ in report.measured
        if row.name not in old
    ]
    return (
        *new,
        *(
            judge(limit, pair, old[pair[0].name])
            for pair in report.measured
            if pair[0].name in old
            for limit in limits
        ),
    )


def judge(limit: Limit, new: tuple[Row, Figures], old: tuple[Row, Figures]) -> Verdict:
    """Hold one row to one limit."""
    metric, name = METRICS[limit.metric], f"{new[0].name}: {limit.metric}"
    now, before = metric.value(*new), metric.value(*old)
    if before is None:
        return Verdict(state="unsure", sentence=f"{name} was not measured in the baseline")
    if now is None:
        return Verdict(
            state="failed", sentence=f"{name} was {metric.write(before)} and was not measured now"
        )
    change = (
        100 * (now - before) / before if limit.relative and before else (now - before) / metric.unit
    )
    sign = 1 if metric.worse == "+" else -1
    sentence = (
        f"{name} is {metric.write(now)} and was {metric.write(before)},"
        f" {change:+.3g}{'%' * limit.relative}; {limit} is allowed"
    )
    # What a computer's arithmetic adds to a share is no loss.
    if sign * change <= limit.allowed + 1e-9:
        return Verdict(state="passed", sentence=sentence)
    if metric.times is None or surely_slower(
        metric.times(new[1]), metric.times(old[1])[0], most=most_allowed(limit, before)
    ):
        return Verdict(state="failed", sentence=sentence)
    return Verdict(
        state="unsure", sentence=f"{sentence}, but chance may have done it; measure more rounds"
    )


def most_allowed(limit: Limit, before: float) -> float:
    """Return how many times as long as before a time may take."""
    return 1 + (
        limit.allowed / 100
        if limit.relative
        else limit.allowed * METRICS[limit.metric].unit / before
    )


def surely_slower(new: tuple[Latency, float], old: Latency, *, most: float) -> bool:
    """Return whether times are more than so many times as long as they were, beyond chance.

    High percentiles hang on few runs, so that a shift of all times is seen in the median first:
    either may show it.

    Args:
        new: Times, and the percentile that is limited.
        old: The times before.
        most: How many times as long they may be.
    """
    times, share = new
    # Different seeds: the two are drawn independently, as they were measured.
    ratios = [
        times.resampled(one, seed=SEED + 1) / old.resampled(one, seed=SEED) for one in {share, 50.0}
    ]
    return any(float(np.percentile(ratio, 100 - CONFIDENCE)) > most for ratio in ratios)


def check_gate(verdicts: Sequence[Verdict]) -> None:
    """Fail where a limit was not kept.

    Raises:
        GateError: It says which, and by how much.
    """
    failed = [verdict.sentence for verdict in verdicts if verdict.state == "failed"]
    if failed:
        msg = f"worse than the baseline: {'; '.join(failed)}"
        raise GateError(msg)
