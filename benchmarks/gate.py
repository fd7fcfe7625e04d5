"""Regression gate: limits on how much worse than a baseline report a row may be."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from segdeploy import datasets
from segdeploy.errors import ConfigError, GateError
from segdeploy.system.machine import Machine, cores

from .measure.worker import image_indices
from .plan import Plan, variants_of
from .report.tables import megabytes, milliseconds, percent
from .results.latency import SEED, Latency
from .results.report import Report, Row
from .results.row import Accuracy, RowResult

CONFIDENCE = 99.5
"""Percent of the bootstrap samples in which a time must be over its limit: so few limits on many
rows fail by chance."""

State = Literal["passed", "failed", "unsure"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A value of a row that can be limited.

    Attributes:
        worse: "+" if more is worse, "-" if less is.
        value: Returns the value of a row, in milliseconds, bytes, or as a share in [0, 1]; None
            where the row has none.
        unit: The value's unit of a limit of 1 without "%": a point, a megabyte, a millisecond.
        text: Formats the value.
        times: Returns the latency whose percentile the value is, and the percentile; None for a
            value without random variation.
    """

    worse: Literal["+", "-"]
    value: Callable[[Row, RowResult], float | None]
    unit: float
    text: Callable[[float], str]
    times: Callable[[RowResult], tuple[Latency, float]] | None = None


def _percentile(number: float) -> Metric:
    return Metric(
        worse="+",
        value=lambda _, result: result.latency.percentile(number),
        unit=1.0,
        text=milliseconds,
        times=lambda result: (result.latency, number),
    )


def _score(score: Callable[[Accuracy], float | None]) -> Metric:
    return Metric(
        worse="-",
        value=lambda _, result: score(result.accuracy) if result.accuracy else None,
        unit=0.01,
        text=percent,
    )


def _size(value: Callable[[Row, RowResult], float | None]) -> Metric:
    return Metric(worse="+", value=value, unit=1e6, text=lambda size: megabytes(round(size)))


METRICS: Mapping[str, Metric] = {
    **{f"p{number}": _percentile(number) for number in (50, 90, 95, 99)},
    "cold_start": Metric(
        worse="+",
        value=lambda _, result: result.cold_start.median,
        unit=1.0,
        text=milliseconds,
        times=lambda result: (result.cold_start, 50),
    ),
    "memory": _size(lambda _, result: result.peak_memory),
    "size": _size(lambda row, _: row.size),
    "miou": _score(lambda accuracy: accuracy.scores.miou),
    "boundary_iou": _score(lambda accuracy: accuracy.boundary_iou),
    "pixel_accuracy": _score(lambda accuracy: accuracy.scores.pixel_accuracy),
    "dice": _score(lambda accuracy: accuracy.scores.dice),
    "labels": _score(lambda accuracy: accuracy.labels.overall if accuracy.labels else None),
}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How much worse a metric may become.

    Attributes:
        metric: Name of the metric.
        allowed: The allowed change, without its sign.
        relative: Whether the change is a percentage of the old value; otherwise it is in points,
            milliseconds or megabytes.
    """

    metric: str
    allowed: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a limit such as "p95=+15%" or "miou=-0.3".

        Raises:
            ConfigError: It is not a limit, or it limits how much better the metric may become.
        """
        parts = re.fullmatch(r"(\w+)=([+-])(\d+(?:\.\d+)?)(%?)", text.strip())
        if parts is None or parts[1] not in METRICS:
            msg = (
                f"{text!r} is not a limit; write for example p95=+15% or miou=-0.3, with one of"
                f" {', '.join(METRICS)}"
            )
            raise ConfigError(msg)
        worse = METRICS[parts[1]].worse
        if parts[2] != worse:
            msg = (
                f"{text!r} limits how much better {parts[1]} becomes; write"
                f" {parts[1]}={worse}{parts[3]}{parts[4]}"
            )
            raise ConfigError(msg)
        return cls(metric=parts[1], allowed=float(parts[3]), relative=bool(parts[4]))

    def __str__(self) -> str:
        return f"{METRICS[self.metric].worse}{self.allowed:g}{'%' if self.relative else ''}"


def parse_limits(text: str) -> tuple[Limit, ...]:
    """Parse limits separated by commas.

    Raises:
        ConfigError: One of them is not a limit.
    """
    return tuple(Limit.parse(part) for part in text.split(","))


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Result of one limit on one row.

    Attributes:
        state: Whether the limit was kept; "unsure" if it was not but chance may be the reason, or
            if the baseline has no such value.
        sentence: The new value, the old one and what was allowed, as far as they exist.
    """

    state: State
    sentence: str


def check_limits(baseline: Report, machine: Machine, limits: Sequence[Limit]) -> None:
    """Refuse limits on values that a baseline lacks, or on times of another machine.

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
    # Older baselines have no features.
    comparable = machine if baseline.machine.features else replace(machine, features=())
    then, now = ((found.kind, found.cores) for found in (baseline.machine, comparable))
    timed = [limit.metric for limit in limits if METRICS[limit.metric].times]
    if timed and then != now:
        msg = (
            f"{', '.join(timed)} cannot be compared: the baseline was measured on {then[1]} cores"
            f" of {then[0]}, and this machine has {now[1]} of {now[0]}; measure the baseline here,"
            " or limit accuracy and size only"
        )
        raise ConfigError(msg)


def check_plan(baseline: Report, plan: Plan, *, failed: Collection[str] = ()) -> None:
    """Refuse to measure what cannot be compared with the baseline.

    Args:
        baseline: The older report.
        plan: What will be measured.
        failed: Names of rows that have failed already, because their export failed.

    Raises:
        ConfigError: The baseline is of other images, threads or batches, or has rows that will not
            be measured.
        DataError: The dataset cannot be used.
    """
    dataset = datasets.load(plan.dataset, plan.data, plan.split)
    names = tuple(dataset.names[index] for index in image_indices(len(dataset), plan.images))
    check_images(baseline, (plan.dataset, plan.split, names))
    variants = variants_of(plan)
    check_rows(baseline, [*variants, *failed])
    for row, result in baseline.measured:
        if row.name in variants:
            variant, then = variants[row.name], result.setting
            now = (variant.threads or cores(), variant.batch)
            check_same_setting(row.name, (then.threads, then.batch), now)


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
    """Refuse a baseline with a row that is missing now: it would silently have no limit any more.

    Raises:
        ConfigError: Some of its rows are not among these names, or it has no row.
    """
    missing = [row.name for row, _ in baseline.measured if row.name not in names]
    if missing or not baseline.measured:
        msg = (
            f"the baseline has {', '.join(missing) or 'no row'}, and this report"
            f" {', '.join(names)}; measure the same files with the same options"
        )
        raise ConfigError(msg)


def check_same_setting(name: str, then: tuple[object, ...], now: tuple[object, ...]) -> None:
    """Refuse to compare a row with one of another setting.

    Raises:
        ConfigError: It had other threads, another batch or another input size.
    """
    if then != now:
        msg = (
            f"{name} ran with other threads, batch or input in the baseline ({then}, now {now});"
            " measure both with the same"
        )
        raise ConfigError(msg)


def gate(report: Report, baseline: Report, limits: Sequence[Limit]) -> tuple[CheckResult, ...]:
    """Check every limit on every row that did not fail.

    Raises:
        ConfigError: They were not measured on the same images with the same options, or the
            baseline has rows that the report has not.
    """
    check_images(baseline, (report.dataset, report.split, report.images))
    check_rows(baseline, [row.name for row in report.rows])
    old = {row.name: (row, result) for row, result in baseline.measured}
    for row, result in report.measured:
        if row.name in old:
            then, now = (
                (found.setting.threads, found.setting.batch, found.setting.input)
                for found in (old[row.name][1], result)
            )
            check_same_setting(row.name, then, now)
    new = [
        CheckResult(state="unsure", sentence=f"{row.name} is not in the baseline")
        for row, _ in report.measured
        if row.name not in old
    ]
    checked = [
        check_limit(limit, pair, old[pair[0].name])
        for pair in report.measured
        if pair[0].name in old
        for limit in limits
    ]
    return (*new, *checked)


def check_limit(
    limit: Limit, new: tuple[Row, RowResult], old: tuple[Row, RowResult]
) -> CheckResult:
    """Check one limit on one row."""
    metric, name = METRICS[limit.metric], f"{new[0].name}: {limit.metric}"
    now, before = metric.value(*new), metric.value(*old)
    if before is None:
        return CheckResult(state="unsure", sentence=f"{name} was not measured in the baseline")
    if now is None:
        return CheckResult(
            state="failed", sentence=f"{name} was {metric.text(before)} and was not measured now"
        )
    change = (
        100 * (now - before) / before if limit.relative and before else (now - before) / metric.unit
    )
    sign = 1 if metric.worse == "+" else -1
    sentence = (
        f"{name} is {metric.text(now)} and was {metric.text(before)},"
        f" {change:+.3g}{'%' * limit.relative}; {limit} is allowed"
    )
    # Rounding of floating-point numbers is not a loss.
    if sign * change <= limit.allowed + 1e-9:
        return CheckResult(state="passed", sentence=sentence)
    if metric.times is None or is_surely_slower(
        metric.times(new[1]), metric.times(old[1])[0], ratio=allowed_ratio(limit, before)
    ):
        return CheckResult(state="failed", sentence=sentence)
    return CheckResult(
        state="unsure", sentence=f"{sentence}, but it may be chance; measure more rounds"
    )


def allowed_ratio(limit: Limit, before: float) -> float:
    """Return the largest allowed ratio of the new time to the old one."""
    allowed = (
        limit.allowed / 100
        if limit.relative
        else limit.allowed * METRICS[limit.metric].unit / before
    )
    return 1 + allowed


def is_surely_slower(new: tuple[Latency, float], old: Latency, *, ratio: float) -> bool:
    """Return whether the new times exceed the old ones by more than a ratio, beyond chance.

    Few runs decide a high percentile, so a shift of all times shows in the median first: either of
    the two may show it.

    Args:
        new: The new times, and the percentile that is limited.
        old: The old times.
        ratio: Largest allowed ratio of the new time to the old one.
    """
    times, limited = new
    # Different seeds: the two are drawn independently, as they were measured.
    samples = [
        times.resampled(number, seed=SEED + 1) / old.resampled(number, seed=SEED)
        for number in {limited, 50.0}
    ]
    return any(float(np.percentile(sample, 100 - CONFIDENCE)) > ratio for sample in samples)


def check_gate(results: Sequence[CheckResult]) -> None:
    """Fail if a limit was exceeded.

    Raises:
        GateError: It says which, and by how much.
    """
    failed = [result.sentence for result in results if result.state == "failed"]
    if failed:
        msg = f"worse than the baseline: {'; '.join(failed)}"
        raise GateError(msg)
