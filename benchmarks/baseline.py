"""Whether an older report can hold a measurement at all: told before anything is measured, as far as it can be."""

from collections.abc import Collection

from segdeploy import datasets
from segdeploy.errors import ConfigError
from segdeploy.machine import cores

from .comparison import Plan, ways_of
from .report import Report
from .row import chosen


def check_plan(baseline: Report, plan: Plan, *, failed: Collection[str] = ()) -> None:
    """Refuse to measure what the baseline cannot hold.

    Args:
        baseline: The older report.
        plan: What will be measured.
        failed: Names of rows that have failed already, since their files could not be made.

    Raises:
        ConfigError: The baseline is of other pictures, other threads or batches, or has rows that are not measured now.
        DataError: The data set cannot be used.
    """
    dataset = datasets.load(plan.dataset, plan.data, plan.split)
    names = tuple(dataset.names[index] for index in chosen(len(dataset), plan.pictures))
    check_pictures(baseline, (plan.dataset, plan.split, names))
    ways = ways_of(plan)
    check_rows(baseline, [*ways, *failed])
    for row, figures in baseline.measured:
        if row.name in ways:
            way, then = ways[row.name], figures.setting
            check_alike(row.name, (then.threads, then.batch), (way.threads or cores(), way.batch))


def check_pictures(baseline: Report, now: tuple[str, str, tuple[str, ...]]) -> None:
    """Refuse a baseline of other pictures.

    Args:
        baseline: The older report.
        now: Name of the data set, its split, and the names of the pictures.

    Raises:
        ConfigError: They differ.
    """
    then = baseline.dataset, baseline.split, baseline.pictures
    if then != now:
        msg = (
            f"the baseline was measured on {len(then[2])} pictures of {then[0]} {then[1]} and this report on {len(now[2])} of {now[0]} "
            f"{now[1]}; measure both on the same pictures"
        )
        raise ConfigError(msg)


def check_rows(baseline: Report, names: Collection[str]) -> None:
    """Refuse a baseline with a row that is gone: nobody would see that it is held to nothing any more.

    Raises:
        ConfigError: Some of its rows are not among these names, or it holds none.
    """
    gone = [row.name for row, _ in baseline.measured if row.name not in names]
    if gone or not baseline.measured:
        msg = f"the baseline has {', '.join(gone) or 'no row'}, and this report {', '.join(names)}; measure the same files in the same ways"
        raise ConfigError(msg)


def check_alike(name: str, then: tuple[object, ...], now: tuple[object, ...]) -> None:
    """Refuse to compare a row with one that ran otherwise.

    Raises:
        ConfigError: It had other threads, another batch or another input.
    """
    if then != now:
        msg = f"{name} ran with other threads, batch or input in the baseline ({then}, now {now}); measure both alike"
        raise ConfigError(msg)
