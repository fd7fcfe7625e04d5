"""A report as one HTML file.

It needs no network, fits light and dark, and can be read on a phone.
"""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from segdeploy.reports.html import card, header, notes, page, table

from ..measure.accuracy import Pair
from ..results.report import Report
from .plots import (
    class_bars,
    class_differences,
    color_numbers,
    distribution,
    judged,
    scatter,
    stage_bars,
)
from .tables import (
    ACCURACY,
    MADE_OF,
    SPEED,
    TIMED,
    VIDEO,
    Column,
    finding,
    headline,
    measured_on,
    megabytes,
    milliseconds,
    percent,
    points,
    same,
    shown,
    times,
    video_hint,
)


def to_html(report: Report, pairs: Sequence[Pair] = ()) -> str:
    """Write a report as a page.

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
    parts = [
        header("Benchmark", finding(report), facts),
        notes("failed", (f"{row.name} failed: {row.error}" for row in report.failed)),
        notes("careful", report.warnings),
        tiles(report),
    ]
    if report.measured:
        parts += [legend(report), charts(report), gallery_section(pairs)]
        parts.append(
            rows(
                "Speed",
                "From decoded images to their masks. Percentiles over all timed runs.",
                report,
                SPEED,
            )
        )
        parts.append(rows("Accuracy", _accuracy_hint(report), report, ACCURACY))
        parts.append(rows("Video", video_hint(report), report, VIDEO) if report.video else "")
    parts += [
        card(
            aside.title,
            aside.hint,
            table("way", aside.columns, ((escape(way), cells) for way, cells in aside.rows)),
        )
        for aside in report.asides
    ]
    if report.measured:
        parts.append(rows("Artifacts", "What each file holds, and what ran it.", report, MADE_OF))
    parts += [environment(report), f'<p class="timed">{escape(TIMED)}</p>']
    return page(f"Benchmark of {', '.join(row.name for row in report.rows)}", parts)


def _accuracy_hint(report: Report) -> str:
    size = (
        "Scored at the images' own size. Boundary IoU looks at the 2% of the diagonal along the"
        " edges."
    )
    if report.reference is None:
        return f"{size} No checkpoint was named, so there is no reference to compare labels with."
    return (
        f"{size} Labels and the difference in points are against {report.reference}; near edges"
        " means within 3 pixels."
    )


def tiles(report: Report) -> str:
    """Write the four figures that matter most; nothing where all failed."""
    best = headline(report)
    if best is None:
        return ""
    row, figures = best
    ratio, difference, accuracy = report.speedup(figures), report.lost(figures), figures.accuracy
    within = f"95% within {milliseconds(figures.image_time(95))}"
    found = [("an image", milliseconds(figures.image_time(50)), within)]
    if ratio and row.name != report.reference:
        found.insert(0, ("speed", times(*ratio), f"{report.reference} is 1×"))
    if accuracy and accuracy.labels and difference is not None and row.name != report.reference:
        found.append(
            (
                "labels the same",
                same(accuracy.labels.overall),
                f"{same(accuracy.labels.near)} near edges",
            )
        )
        found.append(("mIoU", percent(accuracy.scores.miou), f"{points(difference)} points"))
    elif accuracy:
        found.append(
            (
                "mIoU",
                percent(accuracy.scores.miou),
                f"pixel accuracy {percent(accuracy.scores.pixel_accuracy)}",
            )
        )
    found.append(("cold start", milliseconds(figures.cold_start.median), "to the first mask"))
    found.append(("peak memory", megabytes(figures.peak_memory), f"file {megabytes(row.size)}"))
    entries = "\n".join(
        f"<li><span>{escape(over)}</span><b>{escape(value)}</b><span>{escape(under)}</span></li>"
        for over, value, under in found[:4]
    )
    return f'<ul class="tiles">\n{entries}\n</ul>'


def legend(report: Report) -> str:
    """Write the color of each row."""
    entries = "\n".join(f"<li>{_named(report, row.name)}</li>" for row, _ in report.measured)
    return f'<ul class="legend">\n{entries}\n</ul>'


def _named(report: Report, name: str) -> str:
    tag = '<span class="tag">reference</span>' if name == report.reference else ""
    return (
        '<span class="dot" style="background:'
        f' var(--series-{color_numbers(report)[name]})"></span>{escape(name)}{tag}'
    )


def charts(report: Report) -> str:
    """Write the drawings, as far as there is something to draw."""
    found = judged(report)
    front = (
        "Further left is faster, further up is better; nothing beats what lies on the dashed line."
    )
    drawn = [
        (
            "Latency",
            "The line is the median; half of the runs lie in the box.",
            distribution(report),
        )
    ]
    if found:
        drawn.insert(0, ("Speed and accuracy", front, scatter(report)))
    if report.video and any(figures.video for _, figures in report.measured):
        drawn.append(
            (
                "Stages of the video",
                "What a frame costs, by the median of each stage.",
                stage_bars(report),
            )
        )
    if report.base is not None and any(row.name != report.reference for row, _ in found):
        drawn.append(
            (
                "What each class gained or lost",
                f"Against {report.reference}.",
                class_differences(report),
            )
        )
    if found:
        drawn.append(("Classes", "How well each class is found.", class_bars(report)))
    return (
        "<div"
        f' class="charts">\n{"".join(card(title, hint, svg) for title, hint, svg in drawn)}\n</div>'
    )


def gallery_section(pairs: Sequence[Pair]) -> str:
    """Write the images that differ most; nothing where there is none."""
    if not pairs:
        return ""
    hint = "The images on which each differs most. Drag to compare."
    return card(
        "Worst images",
        hint,
        f'<div class="gallery">\n{"".join(slider(pair) for pair in pairs)}\n</div>',
    )


def slider(pair: Pair) -> str:
    """Write one image, seen twice, with what moves the border between."""
    left, right = (
        f"data:image/jpeg;base64,{b64encode(side).decode()}" for side in (pair.left, pair.right)
    )
    row, against, image = escape(pair.row), escape(pair.against), escape(pair.picture)
    move = "this.parentNode.style.setProperty('--at', this.value + '%')"
    return (
        f'<figure>\n<div class="pair">\n<img src="{left}" alt="{image}, {against}">\n<img'
        f' class="over" src="{right}" alt="{image}, {row}">\n<span'
        f' class="side">{against}</span><span class="side other">{row}</span>\n<input type="range"'
        f' max="100" value="50" step="0.1" aria-label="How much of {against} is seen"'
        f' oninput="{move}">\n</div>\n<figcaption>{image}: {same(pair.same)} of the labels as'
        f" {against}</figcaption>\n</figure>\n"
    )


def rows(title: str, hint: str, report: Report, columns: Sequence[Column]) -> str:
    """Write one table: a line for each row that did not fail."""
    columns = shown(report, columns)
    cells = (
        (_named(report, row.name), [column.cell(report, row, figures) for column in columns])
        for row, figures in report.measured
    )
    return (
        card(title, hint, table("artifact", [column.title for column in columns], cells))
        if columns
        else ""
    )


def environment(report: Report) -> str:
    """Write what the figures depend on."""
    entries = "\n".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in measured_on(report)
    )
    return card("Measured on", "", f"<dl>\n{entries}\n</dl>")
