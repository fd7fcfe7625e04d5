"""Charts of a report: inline SVG that takes its colors from the page, for light and dark themes."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from segdeploy.errors import MissingExtraError
from segdeploy.video.profiler import THREADS

from ..results.report import Report, Row
from ..results.row import Accuracy
from .tables import milliseconds

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise MissingExtraError("matplotlib", "report") from error  # noqa: EM101 - a name

SERIES = 8
"""Number of colors that the page has for rows, with the reference's gray; then they repeat."""

INK, SOFT, LINE = "#010101", "#020202", "#030303"
VARIABLES = {INK: "currentColor", SOFT: "var(--soft)", LINE: "var(--line)"} | {
    f"#0401{number:02}": f"var(--series-{number})" for number in range(SERIES)
}
"""Placeholder colors that matplotlib draws with, and the page's colors that replace them."""

WIDTH = 5.0
"""Width of a chart in inches of 72 SVG units; on a phone a unit is a little less than a pixel."""

FONT = 10.5
"""Size of all text, in SVG units."""

SCATTER_HEIGHT = 3.0
"""Height of the scatter plot, in inches."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": FONT,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}

LONGEST_NAME = 30

MIN_DIFFERENCE = 0.5
"""Least range of a chart of differences, in points of IoU: smaller ones are not visible."""


def color_numbers(report: Report) -> Mapping[str, int]:
    """Return the number of each row's color by the row's name; only the reference has 0, gray."""
    others = [row.name for row in report.rows if row.name != report.reference]
    numbers = {name: series_color(index) for index, name in enumerate(others)}
    return {row.name: numbers.get(row.name, 0) for row in report.rows}


def series_color(index: int) -> int:
    """Return the number of the color of a row that is not the reference."""
    return 1 + index % (SERIES - 1)


def placeholder(number: int) -> str:
    """Return the placeholder of a color, as a hexadecimal color."""
    return f"#0401{number:02}"


def row_colors(report: Report) -> Mapping[str, str]:
    """Return the placeholder of each row's color by the row's name."""
    return {name: placeholder(number) for name, number in color_numbers(report).items()}


def label(name: str) -> str:
    """Return a name, shortened if it is too long for a chart."""
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


def scatter(report: Report) -> str:
    """Draw time against mIoU, with a line along the Pareto front."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, SCATTER_HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        points = points_of(report)
        front = pareto(points)
        axes.step(
            [x for _, x, _ in front],
            [y for *_, y in front],
            where="post",
            color=SOFT,
            linewidth=1,
            linestyle=(0, (4, 3)),
        )
        for index, (name, x, y) in enumerate(points):
            axes.plot([x], [y], "o", markersize=9, color=row_colors(report)[name], clip_on=False)
            _annotate(axes, label(name), x, y, above=index % 2 == 0, last=index == len(points) - 1)
        scores = [y for *_, y in points]
        middle, half = (max(scores) + min(scores)) / 2, max(1.0, max(scores) - min(scores))
        axes.set_ylim(middle - half, middle + half)
        axes.set_xlim(0, 1.12 * max(x for _, x, _ in points))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("median time of an image, ms")
        axes.set_title("mIoU, %", loc="left", fontsize=FONT, color=SOFT)
        return to_svg(figure, "scatter", "Speed against accuracy of each artifact")


def points_of(report: Report) -> list[tuple[str, float, float]]:
    """Return name, median time and mIoU of each scored row, the fastest first.

    The time is in milliseconds an image, the mIoU in percent.
    """
    points = [
        (row.name, result.image_time(50), 100 * result.accuracy.scores.miou)
        for row, result in report.measured
        if result.accuracy is not None
    ]
    return sorted(points, key=lambda point: point[1])


def pareto(points: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Return the points than which no other is both faster and better, the fastest first."""
    front: list[tuple[str, float, float]] = []
    for name, x, y in sorted(points, key=lambda point: (point[1], -point[2])):
        if not front or y > front[-1][2]:
            front.append((name, x, y))
    return front


def _annotate(axes: Axes, text: str, x: float, y: float, *, above: bool, last: bool) -> None:
    """Write a name beside its point, on the side that has room."""
    offset = 9 if above else -9
    axes.annotate(
        text,
        (x, y),
        xytext=(6 if last else -6, offset),
        textcoords="offset points",
        va="bottom" if above else "top",
        ha="right" if last else "left",
    )


def distribution_height(rows: int) -> float:
    """Return the height of the latency chart, in inches."""
    return 0.75 + 0.62 * rows


def distribution(report: Report) -> str:
    """Draw every timed run of each row, the quartiles as a box, and the median as a line."""
    rows = report.measured
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, distribution_height(len(rows))), layout="constrained")
        axes = figure.add_subplot()
        for place, (row, result) in enumerate(rows):
            color = row_colors(report)[row.name]
            runs = [run / result.setting.batch for run in result.latency.runs]
            # Multiples of the golden ratio fill [0, 1] evenly, and are the same every time.
            heights = [place + 0.36 * (number * 0.618034 % 1 - 0.5) for number in range(len(runs))]
            axes.plot(runs, heights, "o", markersize=3, color=color, alpha=0.35, markeredgewidth=0)
            left, middle, right = (result.image_time(share) for share in (25, 50, 75))
            axes.barh(place, right - left, left=left, height=0.46, color=color, alpha=0.25)
            axes.plot([middle, middle], [place - 0.23, place + 0.23], color=color, linewidth=2)
            axes.text(
                0.0,
                place - 0.34,
                f"{label(row.name)}  {milliseconds(middle)}",
                transform=axes.get_yaxis_transform(),
                va="bottom",
            )
        axes.set_ylim(len(rows) - 0.6, -0.72)
        axes.set_yticks([])
        axes.set_xlim(left=0)
        axes.set_xlabel("time of an image in each run, ms")
        return to_svg(figure, "distribution", "Distribution of the latency of each artifact")


def class_bars(report: Report) -> str:
    """Draw the intersection over union of each class, a bar for each row."""
    rows = [
        (row.name, [100 * (value or 0.0) for value in accuracy.scores.iou])
        for row, accuracy in with_accuracy(report)
    ]
    # As high as the two charts beside it, unless the bars become too thick.
    beside = SCATTER_HEIGHT + distribution_height(len(report.measured)) + 1.6
    texts = ("intersection over union, %", "Intersection over union of each class")
    return bars_of_classes(report, rows, scale=(0, 100), texts=texts, beside=beside)


def class_differences(report: Report) -> str:
    """Draw the difference of each class's IoU to the reference's, in points."""
    reference = None if report.reference_result is None else report.reference_result.accuracy
    assert reference is not None, "only drawn with a scored reference"
    rows = [
        (
            row.name,
            [
                100 * ((own or 0.0) - (other or 0.0))
                for own, other in zip(accuracy.scores.iou, reference.scores.iou, strict=True)
            ],
        )
        for row, accuracy in with_accuracy(report)
        if row.name != report.reference
    ]
    largest = max(MIN_DIFFERENCE, *(1.1 * abs(value) for _, values in rows for value in values))
    texts = (
        "IoU minus the reference's, points",
        "Difference of each class to the reference",
    )
    return bars_of_classes(report, rows, scale=(-largest, largest), texts=texts)


def with_accuracy(report: Report) -> list[tuple[Row, Accuracy]]:
    """Return the rows whose masks were scored."""
    return [
        (row, result.accuracy) for row, result in report.measured if result.accuracy is not None
    ]


def bars_of_classes(
    report: Report,
    rows: Sequence[tuple[str, Sequence[float]]],
    *,
    scale: tuple[float, float],
    texts: tuple[str, str],
    beside: float = 0.0,
) -> str:
    """Draw a value of each class, a bar for each row.

    Args:
        report: The report, for the names of the classes.
        rows: Name of each row, and its values.
        scale: Limits of the axis.
        texts: Label of the axis, and description for screen readers.
        beside: Height of the charts beside it, in inches.
    """
    count, step = len(report.classes), len(rows) + 1.2
    with rc_context(STYLE):
        figure = Figure(
            figsize=(
                WIDTH,
                max(min(beside, 0.6 * count), 0.6 + 0.22 * count, 0.5 + 0.065 * step * count),
            ),
            layout="constrained",
        )
        axes = figure.add_subplot()
        for lane, (name, values) in enumerate(rows):
            axes.barh(
                [step * number + lane for number in range(count)],
                values,
                height=0.8,
                color=row_colors(report)[name],
            )
        centers = [step * number + (len(rows) - 1) / 2 for number in range(count)]
        axes.set_yticks(centers, [label(name) for name in report.classes], color=INK)
        axes.set_ylim(centers[-1] + step / 2, -step / 2 + (len(rows) - 1) / 2)
        axes.set_xlim(*scale)
        axes.axvline(0, color=SOFT, linewidth=1)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(texts[0])
        return to_svg(figure, texts[1].split()[0].lower(), texts[1])


def stage_bars(report: Report) -> str:
    """Draw the stages of a frame as a stacked bar, and its wall time as a line."""
    rows = [
        (row, result.video.times) for row, result in report.measured if result.video is not None
    ]
    names = [stage for thread in THREADS for stage in thread]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.25 + 0.62 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for place, (row, times) in enumerate(rows):
            left = 0.0
            for number, stage in enumerate(names):
                width = 1000 * times.stages[stage].p50
                axes.barh(
                    place,
                    width,
                    left=left,
                    height=0.42,
                    color=placeholder(1 + number),
                    label=stage if not place else None,
                )
                left += width
            wall = 1000 / times.rate
            axes.plot([wall, wall], [place - 0.27, place + 0.27], color=INK, linewidth=2)
            text = f"{label(row.name)}  {times.rate:.1f} fps, slowest stage: {times.slowest}"
            axes.text(0.0, place - 0.34, text, transform=axes.get_yaxis_transform(), va="bottom")
        axes.set_ylim(len(rows) - 0.6, -0.72)
        axes.set_yticks([])
        axes.set_xlim(left=0)
        axes.set_xlabel("time of a frame, ms; the line is the wall time")
        figure.legend(
            loc="outside lower center",
            ncols=len(names),
            frameon=False,
            handlelength=0.8,
            columnspacing=1.2,
            handletextpad=0.5,
        )
        return to_svg(figure, "stages", "Stages of a video's frames")


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Return a figure as an SVG element for a page.

    Args:
        figure: The chart.
        name: Prefix of every id, so that ids stay unique among several charts of a page.
        description: Description for screen readers.
    """
    written = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The page's own font is shown, so a missing glyph in matplotlib's does not matter.
        warnings.simplefilter("ignore")
        figure.savefig(
            written, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    root = ET.fromstring(written.getvalue())  # noqa: S314 - written two lines above
    _clean(root, name)
    size = root.attrib.pop("viewBox").split()[2:]
    root.attrib = {"viewBox": f"0 0 {' '.join(size)}", "role": "img", "aria-label": description}
    text = ET.tostring(root, encoding="unicode")
    for drawn, color in VARIABLES.items():
        text = text.replace(drawn, color)
    return text


def _clean(root: ET.Element, name: str) -> None:
    """Remove what a page does not need (metadata, namespaces, fonts), and prefix the ids."""
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag.endswith("}metadata")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _cleaned(key, value, name)
            for key, value in element.attrib.items()
        }


def _cleaned(key: str, value: str, name: str) -> str:
    """Return an attribute's value with prefixed ids and without fonts other than their size."""
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href"):
        return value.replace("#", f"#{name}-")
    if key == "style":
        value = re.sub(r"font:[^;]*?([\d.]+px)[^;]*", r"font-size: \1", value)
        value = re.sub(r"font-family:[^;]*;?\s*", "", value)
    return value.replace("url(#", f"url(#{name}-")
