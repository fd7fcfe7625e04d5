"""The report's images: inline SVG whose colors the page decides, so that they fit light and dark."""

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
    raise MissingExtraError("matplotlib", "report") from error  # noqa: EM101 - a name, not a message

SERIES = 8
"""How many colors the page has for rows, the reference's gray among them; further rows begin
again."""

INK, SOFT, LINE = "#010101", "#020202", "#030303"
VARIABLES = {INK: "currentColor", SOFT: "var(--soft)", LINE: "var(--line)"} | {
    f"#0401{n:02}": f"var(--series-{n})" for n in range(SERIES)
}
"""Colors that stand in while matplotlib draws, and what the page puts in their place."""

WIDTH = 5.0
"""Inches, each 72 units of the SVG; a phone shows a unit as a little less than a pixel."""

FONT = 10.5
"""Size of all text, in units."""

SCATTER_HEIGHT = 3.0
"""Inches, as WIDTH."""

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

LONGEST = 30

SMALLEST = 0.5
"""Points of IoU that a drawing of differences shows at least: less is no difference that anybody
would see."""


def color_numbers(report: Report) -> Mapping[str, int]:
    """Return the number of each row's color, by the row's name.

    The reference has 0, which is gray, and nothing else has.
    """
    others = [row.name for row in report.rows if row.name != report.reference]
    numbers = {name: 1 + index % (SERIES - 1) for index, name in enumerate(others)}
    return {row.name: numbers.get(row.name, 0) for row in report.rows}


def stand_ins(report: Report) -> Mapping[str, str]:
    """Return the color that stands in for each row's, by the row's name."""
    return {name: f"#0401{number:02}" for name, number in color_numbers(report).items()}


def label(name: str) -> str:
    """Shorten a name that an image has no place for."""
    return name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"


def scatter(report: Report) -> str:
    """Draw speed against accuracy: further left is faster, further up is better.

    A line joins what nothing beats in both.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, SCATTER_HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        found = points_of(report)
        front = pareto(found)
        axes.step(
            [x for _, x, _ in front],
            [y for *_, y in front],
            where="post",
            color=SOFT,
            linewidth=1,
            linestyle=(0, (4, 3)),
        )
        for place, (name, x, y) in enumerate(found):
            axes.plot([x], [y], "o", markersize=9, color=stand_ins(report)[name], clip_on=False)
            _annotate(axes, label(name), x, y, above=place % 2 == 0, last=place == len(found) - 1)
        rates = [y for *_, y in found]
        middle, half = (max(rates) + min(rates)) / 2, max(1.0, max(rates) - min(rates))
        axes.set_ylim(middle - half, middle + half)
        axes.set_xlim(0, 1.12 * max(x for _, x, _ in found))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("milliseconds an image, median")
        axes.set_title("mIoU, %", loc="left", fontsize=FONT, color=SOFT)
        return to_svg(figure, "scatter", "Speed against accuracy of each artifact")


def points_of(report: Report) -> list[tuple[str, float, float]]:
    """Return name, milliseconds an image and mIoU in percent of the rows whose accuracy is known, the fastest first."""
    known = [
        (row.name, figures, figures.accuracy)
        for row, figures in report.measured
        if figures.accuracy is not None
    ]
    return sorted(
        ((name, figures.image_time(50), 100 * found.scores.miou) for name, figures, found in known),
        key=lambda one: one[1],
    )


def pareto(found: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Keep the points than which no other is both faster and better, the fastest first."""
    front: list[tuple[str, float, float]] = []
    for name, x, y in sorted(found, key=lambda one: (one[1], -one[2])):
        if not front or y > front[-1][2]:
            front.append((name, x, y))
    return front


def _annotate(axes: Axes, text: str, x: float, y: float, *, above: bool, last: bool) -> None:
    """Write a name beside its point, to the side that has place."""
    away = 9 if above else -9
    axes.annotate(
        text,
        (x, y),
        xytext=(6 if last else -6, away),
        textcoords="offset points",
        va="bottom" if above else "top",
        ha="right" if last else "left",
    )


def distribution_height(rows: int) -> float:
    """Return the height of the latencies' drawing, in inches."""
    return 0.75 + 0.62 * rows


def distribution(report: Report) -> str:
    """Draw every timed run of each row, the half in the middle as a box, and the median as a line."""
    found = report.measured
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, distribution_height(len(found))), layout="constrained")
        axes = figure.add_subplot()
        for place, (row, figures) in enumerate(found):
            color = stand_ins(report)[row.name]
            runs = [run / figures.setting.batch for run in figures.latency.runs]
            # The golden ratio's multiples spread over [0, 1] without clumps, and the same every
            # time.
            heights = [place + 0.36 * (number * 0.618034 % 1 - 0.5) for number in range(len(runs))]
            axes.plot(runs, heights, "o", markersize=3, color=color, alpha=0.35, markeredgewidth=0)
            left, middle, right = (figures.image_time(share) for share in (25, 50, 75))
            axes.barh(place, right - left, left=left, height=0.46, color=color, alpha=0.25)
            axes.plot([middle, middle], [place - 0.23, place + 0.23], color=color, linewidth=2)
            axes.text(
                0.0,
                place - 0.34,
                f"{label(row.name)}  {milliseconds(middle)}",
                transform=axes.get_yaxis_transform(),
                va="bottom",
            )
        axes.set_ylim(len(found) - 0.6, -0.72)
        axes.set_yticks([])
        axes.set_xlim(left=0)
        axes.set_xlabel("milliseconds an image, each run a dot")
        return to_svg(figure, "distribution", "Distribution of the latency of each artifact")


def class_bars(report: Report) -> str:
    """Draw the intersection over union of each class, a bar for each row.

    A class that never occurs has none.
    """
    rows = [
        (row.name, [100 * (value or 0.0) for value in found.scores.iou])
        for row, found in judged(report)
    ]
    # As high as the two drawings beside it, where that makes no bar clumsy.
    beside = SCATTER_HEIGHT + distribution_height(len(report.measured)) + 1.6
    texts = ("intersection over union, %", "Intersection over union of each class")
    return bars_of_classes(report, rows, scale=(0, 100), texts=texts, beside=beside)


def class_differences(report: Report) -> str:
    """Draw by how many points each row finds each class better or worse than the reference."""
    base = None if report.base is None else report.base.accuracy
    assert base is not None, "without a reference nobody draws differences"
    rows = [
        (
            row.name,
            [
                100 * ((own or 0.0) - (other or 0.0))
                for own, other in zip(found.scores.iou, base.scores.iou, strict=True)
            ],
        )
        for row, found in judged(report)
        if row.name != report.reference
    ]
    largest = max(SMALLEST, *(1.1 * abs(value) for _, values in rows for value in values))
    texts = (
        "points more (or less) than the reference",
        "Difference of each class to the reference",
    )
    return bars_of_classes(report, rows, scale=(-largest, largest), texts=texts)


def judged(report: Report) -> list[tuple[Row, Accuracy]]:
    """Return the rows whose accuracy is known."""
    return [
        (row, figures.accuracy) for row, figures in report.measured if figures.accuracy is not None
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
        report: It has the classes' names.
        rows: Name of each row, and its values.
        scale: Where the axis begins and ends.
        texts: What stands under the axis, and what a reader who cannot see it is told.
        beside: Height of what stands beside it, in inches.
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
                color=stand_ins(report)[name],
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
    """Draw where a frame's time goes.

    Its stages behind each other, and how often the clock on the wall sees a frame finished.
    """
    found = [
        (row, figures.video.times) for row, figures in report.measured if figures.video is not None
    ]
    names = [stage for thread in THREADS for stage in thread]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.25 + 0.62 * len(found)), layout="constrained")
        axes = figure.add_subplot()
        for place, (row, times) in enumerate(found):
            left = 0.0
            for number, stage in enumerate(names):
                width = 1000 * times.stages[stage].p50
                axes.barh(
                    place,
                    width,
                    left=left,
                    height=0.42,
                    color=f"#0401{1 + number:02}",
                    label=stage if not place else None,
                )
                left += width
            wall = 1000 / times.rate
            axes.plot([wall, wall], [place - 0.27, place + 0.27], color=INK, linewidth=2)
            text = (
                f"{label(row.name)}  {times.rate:.1f} frames a second, held back by {times.slowest}"
            )
            axes.text(0.0, place - 0.34, text, transform=axes.get_yaxis_transform(), va="bottom")
        axes.set_ylim(len(found) - 0.6, -0.72)
        axes.set_yticks([])
        axes.set_xlim(left=0)
        axes.set_xlabel("milliseconds a frame; the line is the clock on the wall")
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
    """Turn a figure into an SVG element for a page.

    Args:
        figure: The drawing.
        name: Begins every id, so that ids stay unique among several drawings of a page.
        description: What a reader who cannot see it is told.
    """
    written = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The page's own font is used; that matplotlib's lacks a letter does not matter.
        warnings.simplefilter("ignore")
        figure.savefig(
            written, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    root = ET.fromstring(written.getvalue())  # noqa: S314 - written two lines above
    _clean(root, name)
    size = root.attrib.pop("viewBox").split()[2:]
    root.attrib = {"viewBox": f"0 0 {' '.join(size)}", "role": "img", "aria-label": description}
    text = ET.tostring(root, encoding="unicode")
    for stand_in, color in VARIABLES.items():
        text = text.replace(stand_in, color)
    return text


def _clean(root: ET.Element, name: str) -> None:
    """Drop what a page does not need (metadata, namespaces, fonts), and make the ids its own."""
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag.endswith("}metadata")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _own(key, value, name) for key, value in element.attrib.items()
        }


def _own(key: str, value: str, name: str) -> str:
    """Make the value of one attribute the page's.

    Ids begin with the drawing's name, fonts keep their size alone.
    """
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href"):
        return value.replace("#", f"#{name}-")
    if key == "style":
        value = re.sub(r"font:[^;]*?([\d.]+px)[^;]*", r"font-size: \1", value)
    return value.replace("url(#", f"url(#{name}-")
