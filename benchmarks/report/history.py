"""Reports over time: read from a folder, drawn on one page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from segdeploy.errors import DataError
from segdeploy.reports.html import render

from ..results.report import Report, Row, read_report
from ..results.row import RowResult
from .tables import megabytes, milliseconds, percent


@dataclass(frozen=True, kw_only=True)
class Point:
    """One row of one report.

    Attributes:
        time: When the report was finished.
        row: The row.
        result: What was measured of it.
    """

    time: datetime
    row: Row
    result: RowResult


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row over time, on one machine.

    Attributes:
        name: Name of the row, with machine and split where the reports have several.
        points: Its points, the oldest one first.
    """

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A value that is drawn over time.

    Attributes:
        title: What it is.
        value: Returns the value of a point; None where it has none.
        text: Formats the value.
        scale: Factor from the value to the unit of the chart.
        unit: Unit of the chart.
        interval: Returns the 95% confidence interval of the value; None for a value without random
            variation.
    """

    title: str
    value: Callable[[Point], float | None]
    text: Callable[[float], str]
    scale: float
    unit: str
    interval: Callable[[Point], tuple[float, float]] | None = None


METRICS = (
    Metric(
        title="Latency, median",
        value=lambda point: point.result.latency.median,
        text=milliseconds,
        scale=1.0,
        unit="milliseconds",
        interval=lambda point: point.result.latency.interval(50),
    ),
    Metric(
        title="Latency, p95",
        value=lambda point: point.result.latency.percentile(95),
        text=milliseconds,
        scale=1.0,
        unit="milliseconds",
        interval=lambda point: point.result.latency.interval(95),
    ),
    Metric(
        title="mIoU",
        value=lambda point: point.result.accuracy.scores.miou if point.result.accuracy else None,
        text=percent,
        scale=100.0,
        unit="%",
    ),
    Metric(
        title="Peak memory",
        value=lambda point: point.result.peak_memory,
        text=lambda size: megabytes(round(size)),
        scale=1e-6,
        unit="MB",
    ),
)


def read_history(folder: Path) -> tuple[list[Report], list[str]]:
    """Read all reports below a folder.

    Returns:
        The reports, the oldest one first, and for each other JSON file why it is none.

    Raises:
        DataError: There is no report.
    """
    reports, left_out = [], []
    for path in sorted(folder.rglob("*.json")):
        # Neither a folder of that name nor a pipe, which would be waited for.
        if not path.is_file():
            continue
        try:
            reports.append(read_report(path))
        except DataError as error:
            left_out.append(str(error))
    if not reports:
        msg = (
            f"there is no report of this version below {folder}; name a folder of report.json files"
            " that 'segdeploy benchmark' wrote"
        )
        raise DataError(msg)
    return sorted(reports, key=lambda report: report.created), left_out


def lines_of(reports: Sequence[Report]) -> list[Line]:
    """Return the rows of reports over time; rows of another machine or split are another line."""
    conditions = {
        (report.machine.processor, report.machine.cores, report.dataset, report.split)
        for report in reports
    }
    points: dict[str, list[Point]] = {}
    for report in reports:
        suffix = ""
        if len(conditions) > 1:
            machine = f"{report.machine.cores} cores of {report.machine.processor}"
            suffix = f", {machine}, {report.dataset} {report.split}"
        for row, result in report.measured:
            point = Point(time=report.time, row=row, result=result)
            points.setdefault(f"{row.name}{suffix}", []).append(point)
    return [Line(name=name, points=tuple(found)) for name, found in points.items()]


def to_html(reports: Sequence[Report], left_out: Sequence[str]) -> str:
    """Return the page of reports, the oldest one first.

    Args:
        reports: What was read.
        left_out: Why other files were left out.
    """
    # It needs matplotlib, and only this function does.
    from .plots import series_color

    lines = lines_of(reports)
    period = f"{reports[0].created[:10]} to {reports[-1].created[:10]}"
    return render(
        "history.html.j2",
        title=f"{len(reports)} reports, {len(lines)} rows",
        facts=[period, *([f"{len(left_out)} files left out"] if left_out else [])],
        legend=[
            {"name": line.name, "color": series_color(index), "reference": False}
            for index, line in enumerate(lines)
        ],
        charts=[
            {"title": metric.title, "svg": draw(metric, lines)}
            for metric in METRICS
            if has_values(metric, lines)
        ],
        columns=[metric.title for metric in METRICS],
        changes=[(line.name, [change(metric, line) for metric in METRICS]) for line in lines],
    )


def has_values(metric: Metric, lines: Sequence[Line]) -> bool:
    """Return whether a line has the value."""
    return any(metric.value(point) is not None for line in lines for point in line.points)


def change(metric: Metric, line: Line) -> str:
    """Return a line's first and last value as text, once if they are the same."""
    values = [value for point in line.points if (value := metric.value(point)) is not None]
    if not values:
        return "–"
    return " → ".join(dict.fromkeys(metric.text(value) for value in (values[0], values[-1])))


def draw(metric: Metric, lines: Sequence[Line]) -> str:
    """Return the chart of one value of all lines over time, with its intervals, as SVG.

    The axis of a value with intervals, which may be small against it, starts at zero.
    """
    from .plots import FONT, SCATTER_HEIGHT, SOFT, STYLE, WIDTH, placeholder, series_color, to_svg

    # After the import above, which says what to install if matplotlib is missing.
    from matplotlib import rc_context  # isort: skip
    from matplotlib.figure import Figure  # isort: skip

    with rc_context({**STYLE, "date.converter": "concise"}):
        figure = Figure(figsize=(WIDTH, SCATTER_HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        for index, line in enumerate(lines):
            known = [
                (point, value)
                for point in line.points
                if (value := metric.value(point)) is not None
            ]
            times = np.array(
                [point.time.astimezone(UTC).replace(tzinfo=None) for point, _ in known],
                dtype="datetime64[s]",
            )
            values = [metric.scale * value for _, value in known]
            color = placeholder(series_color(index))
            axes.plot(times, values, "o-", markersize=5, linewidth=1.5, color=color)
            if metric.interval:
                bounds = [metric.interval(point) for point, _ in known]
                lows, highs = ([pair[side] for pair in bounds] for side in (0, 1))
                axes.fill_between(times, lows, highs, color=color, alpha=0.15, linewidth=0)
        if metric.interval:
            axes.set_ylim(bottom=0)
        axes.margins(x=0.08)
        axes.set_title(metric.unit, loc="left", fontsize=FONT, color=SOFT)
        name = metric.title.lower().replace(", ", "-").replace(" ", "-")
        return to_svg(figure, name, f"{metric.title} over time")
