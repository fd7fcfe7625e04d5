"""A report as one HTML file: needs no network, fits light and dark themes, and phones."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from segdeploy.reports.html import render

from ..measure.accuracy import Pair
from ..results.report import Report
from .plots import (
    class_bars,
    class_differences,
    color_numbers,
    distribution,
    scatter,
    stage_bars,
    with_accuracy,
)
from .tables import (
    ACCURACY,
    ARTIFACTS,
    SPEED,
    TIMED,
    VIDEO,
    Column,
    agreement,
    filled,
    finding,
    headline,
    measured_on,
    megabytes,
    milliseconds,
    percent,
    points,
    times,
    video_hint,
)

Row = dict[str, Any]
"""Name, color and whether it is the reference, as the template shows a row."""


def to_html(report: Report, pairs: Sequence[Pair] = ()) -> str:
    """Return a report as a page.

    Args:
        report: What was measured.
        pairs: Images that differ most, each with a slider.
    """
    facts = (
        f"{len(report.images)} images of {report.dataset} {report.split}",
        report.machine.processor,
        f"{report.machine.cores} cores",
        report.created[:10],
    )
    return render(
        "benchmark.html.j2",
        title=f"Benchmark of {', '.join(row.name for row in report.rows)}",
        finding=finding(report),
        facts=facts,
        failures=[f"{row.name} failed: {row.error}" for row in report.failed],
        warnings=report.warnings,
        tiles=tiles(report),
        legend=list(rows_by_name(report).values()) if report.measured else [],
        charts=charts(report) if report.measured else [],
        pairs=[slider(pair) for pair in pairs] if report.measured else [],
        measurements=measurements(report),
        external=report.external,
        artifacts=tables(
            report, ("Artifacts", "What each file contains, and what ran it.", ARTIFACTS)
        ),
        environment=measured_on(report),
        timed=TIMED,
    )


def rows_by_name(report: Report) -> dict[str, Row]:
    """Return what the template shows of each measured row, by its name."""
    colors = color_numbers(report)
    return {
        row.name: {
            "name": row.name,
            "color": colors[row.name],
            "reference": row.name == report.reference,
        }
        for row, _ in report.measured
    }


def tiles(report: Report) -> list[dict[str, str]]:
    """Return the four values that matter most; none if all failed."""
    best = headline(report)
    if best is None:
        return []
    row, result = best
    ratio, difference = report.speedup(result), report.miou_difference(result)
    accuracy, is_reference = result.accuracy, row.name == report.reference
    within = f"95% within {milliseconds(result.image_time(95))}"
    shown = [("an image", milliseconds(result.image_time(50)), within)]
    if ratio and not is_reference:
        shown.insert(0, ("speedup", times(*ratio), f"{report.reference} is 1×"))
    if accuracy and accuracy.labels and difference is not None and not is_reference:
        near = f"{agreement(accuracy.labels.near)} near boundaries"
        shown.append(("label agreement", agreement(accuracy.labels.overall), near))
        shown.append(("mIoU", percent(accuracy.scores.miou), f"{points(difference)} points"))
    elif accuracy:
        pixels = f"pixel accuracy {percent(accuracy.scores.pixel_accuracy)}"
        shown.append(("mIoU", percent(accuracy.scores.miou), pixels))
    shown.append(("cold start", milliseconds(result.cold_start.median), "to the first mask"))
    shown.append(("peak memory", megabytes(result.peak_memory), f"file {megabytes(row.size)}"))
    return [{"over": over, "value": value, "under": under} for over, value, under in shown[:4]]


def charts(report: Report) -> list[dict[str, str]]:
    """Return the charts that have something to show, with titles and hints."""
    scored = with_accuracy(report)
    drawn = []
    if scored:
        front = "Further left is faster, further up is better; the dashed line is the Pareto front."
        drawn.append(("Speed and accuracy", front, scatter(report)))
    latency = "The line is the median, the box the quartiles."
    drawn.append(("Latency", latency, distribution(report)))
    if report.video and any(result.video for _, result in report.measured):
        stages = "The median time of each stage of a frame."
        drawn.append(("Stages of the video", stages, stage_bars(report)))
    if report.reference_result is not None and any(
        row.name != report.reference for row, _ in scored
    ):
        against = f"Compared with {report.reference}."
        drawn.append(("Difference of each class", against, class_differences(report)))
    if scored:
        drawn.append(("Classes", "IoU of each class.", class_bars(report)))
    return [{"title": title, "hint": hint, "svg": svg} for title, hint, svg in drawn]


def slider(pair: Pair) -> dict[str, str]:
    """Return what the template shows of an image with two masks."""
    return {
        "row": pair.row,
        "image": pair.image,
        "against": pair.against,
        "same": agreement(pair.same),
        "left": b64encode(pair.left).decode(),
        "right": b64encode(pair.right).decode(),
    }


def measurements(report: Report) -> list[dict[str, Any]]:
    """Return the tables of speed, accuracy and video."""
    speed = "From decoded images to their masks. Percentiles over all timed runs."
    video = [("Video", video_hint(report), VIDEO)] if report.video else []
    return tables(
        report, ("Speed", speed, SPEED), ("Accuracy", _accuracy_hint(report), ACCURACY), *video
    )


def tables(report: Report, *sections: tuple[str, str, Sequence[Column]]) -> list[dict[str, Any]]:
    """Return tables by title, hint and columns, with a line for each row that did not fail.

    Columns without a value are left out, and tables without a column.
    """
    rows = rows_by_name(report)
    shown = [(title, hint, filled(report, columns)) for title, hint, columns in sections]
    return [
        {
            "title": title,
            "hint": hint,
            "columns": [column.title for column in columns],
            "rows": [
                (rows[row.name], [column.cell(report, row, result) for column in columns])
                for row, result in report.measured
            ],
        }
        for title, hint, columns in shown
        if columns
    ]


def _accuracy_hint(report: Report) -> str:
    size = (
        "Scored at the images' own size. Boundary IoU counts the pixels within 2% of the diagonal"
        " from a boundary."
    )
    if report.reference is None:
        return f"{size} No checkpoint was named, so there is no reference to compare labels with."
    return (
        f"{size} The label agreement and the mIoU difference in points are with"
        f" {report.reference}; near boundaries means within 3 pixels."
    )
