"""Reports over time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from segdeploy.errors import DataError
from segdeploy.reports.html import card, header, page, table

from ..results.report import Report, Row, read_report
from ..results.row import Figures
from .plots import FONT, SCATTER_HEIGHT, SERIES, SOFT, STYLE, WIDTH, to_svg
from .tables import megabytes, milliseconds, percent


@dataclass(frozen=True, kw_only=True)
class Point:
    """One row of one report.

    Attributes:
        time: When the report was finished.
        row: The row.
        figures: Its figures.
    """

    time: datetime
    row: Row
    figures: Figures


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row over time, on one machine.

    Attributes:
        name: Name of the row, and of the machine where reports are of several.
        points: Its points, the oldest one first.
    """

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure that is drawn over time.

    Attributes:
        title: What it is.
        value: Gives it; None where a row has none.
        write: Writes it.
        scale: What it is multiplied with to be drawn.
        unit: Unit of what is drawn.
        interval: Gives bounds that hold the true value with 95% confidence; None where there is no
            chance in it.
    """

    title: str
    value: Callable[[Point], float | None]
    write: Callable[[float], str]
    scale: float
    unit: str
    interval: Callable[[Point], tuple[float, float]] | None = None


MEASURES = (
    Measure(
        title="Latency, median",
        value=lambda point: point.figures.latency.median,
        write=milliseconds,
        scale=1.0,
        unit="milliseconds",
        interval=lambda point: point.figures.latency.interval(50),
    ),
    Measure(
        title="Latency, p95",
        value=lambda point: point.figures.latency.percentile(95),
        write=milliseconds,
        scale=1.0,
        unit="milliseconds",
        interval=lambda point: point.figures.latency.interval(95),
    ),
    Measure(
        title="mIoU",
        value=lambda point: point.figures.accuracy.scores.miou if point.figures.accuracy else None,
        write=percent,
        scale=100.0,
        unit="%",
    ),
    Measure(
        title="Peak memory",
        value=lambda point: point.figures.peak_memory,
        write=lambda size: megabytes(round(size)),
        scale=1e-6,
        unit="MB",
    ),
)


def read_history(folder: Path) -> tuple[list[Report], list[str]]:
    """Read all reports below a folder, the oldest one first, and say which files were left out, and why.

    Raises:
        DataError: There is no report.
    """
    reports, left_out = [], []
    for path in sorted(folder.rglob("*.json")):
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
    """Put the rows of one name, one machine and one split together."""
    places = {
        (report.machine.processor, report.machine.cores, report.dataset, report.split)
        for report in reports
    }
    found: dict[str, list[Point]] = {}
    for report in reports:
        machine = (
            f", {report.machine.cores} cores of {report.machine.processor}, {report.dataset}"
            f" {report.split}"
        )
        for row, figures in report.measured:
            point = Point(time=datetime.fromisoformat(report.created), row=row, figures=figures)
            found.setdefault(f"{row.name}{machine if len(places) > 1 else ''}", []).append(point)
    return [Line(name=name, points=tuple(points)) for name, points in found.items()]


def to_page(reports: Sequence[Report], left_out: Sequence[str]) -> str:
    """Write the page."""
    # Help and every other way of the command need no drawing.

    lines = lines_of(reports)
    first, last = reports[0].created[:10], reports[-1].created[:10]
    facts = [f"{first} to {last}", *([f"{len(left_out)} files left out"] if left_out else [])]
    legend = "\n".join(
        '<li><span class="dot" style="background:'
        f' var(--series-{color_of(number)})"></span>{escape(line.name)}</li>'
        for number, line in enumerate(lines)
    )
    drawn = "".join(
        card(measure.title, "", draw(measure, lines))
        for measure in MEASURES
        if has_values(measure, lines)
    )
    cells = ((escape(line.name), [change(measure, line) for measure in MEASURES]) for line in lines)
    parts = [
        header("History", f"{len(reports)} reports, {len(lines)} rows", facts),
        f'<ul class="legend">\n{legend}\n</ul>',
        f'<div class="charts">\n{drawn}\n</div>',
        card(
            "From the first report to the last",
            "",
            table("row", [measure.title for measure in MEASURES], cells),
        ),
    ]
    return page("History of benchmarks", parts)


def has_values(measure: Measure, lines: Sequence[Line]) -> bool:
    """Return whether there is anything to draw."""
    return any(measure.value(point) is not None for line in lines for point in line.points)


def change(measure: Measure, line: Line) -> str:
    """Write a line's first and last figure."""
    values = [value for point in line.points if (value := measure.value(point)) is not None]
    return (
        " → ".join(dict.fromkeys(measure.write(value) for value in (values[0], values[-1])))
        if values
        else "–"
    )


def color_of(number: int) -> int:
    """Return the number of the color of a line."""
    return 1 + number % (SERIES - 1)


def draw(measure: Measure, lines: Sequence[Line]) -> str:
    """Draw one figure of all lines over time, with its intervals, from zero where that hides nothing."""
    with rc_context({**STYLE, "date.converter": "concise"}):
        figure = Figure(figsize=(WIDTH, SCATTER_HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        for number, line in enumerate(lines):
            found = [
                (point, value)
                for point in line.points
                if (value := measure.value(point)) is not None
            ]
            times = np.array(
                [point.time.astimezone(UTC).replace(tzinfo=None) for point, _ in found],
                dtype="datetime64[s]",
            )
            color = f"#0401{color_of(number):02}"
            axes.plot(
                times,
                [measure.scale * value for _, value in found],
                "o-",
                markersize=5,
                linewidth=1.5,
                color=color,
            )
            if measure.interval:
                bounds = [measure.interval(point) for point, _ in found]
                lows, highs = ([pair[side] for pair in bounds] for side in (0, 1))
                axes.fill_between(times, lows, highs, color=color, alpha=0.15, linewidth=0)
        if measure.interval:
            axes.set_ylim(bottom=0)
        axes.margins(x=0.08)
        axes.set_title(measure.unit, loc="left", fontsize=FONT, color=SOFT)
        return to_svg(
            figure,
            measure.title.lower().replace(", ", "-").replace(" ", "-"),
            f"{measure.title} over time",
        )
