"""A report as one HTML file: it needs no network and no script, fits light and dark, and can be read on a phone."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from .plots import class_bars, color_numbers, distribution, scatter
from .report import Report
from .words import (
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
    times,
    video_hint,
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def to_html(report: Report) -> str:
    """Write a report as a page."""
    parts = [header(report), notes("failed", (f"{row.name} failed: {row.error}" for row in report.failed))]
    parts += [notes("careful", report.warnings), tiles(report)]
    if report.measured:
        parts += [legend(report), charts(report)]
        parts.append(table(report, "Speed", "From a decoded picture to its mask. Percentiles over all timed runs.", SPEED))
        parts.append(table(report, "Accuracy", _accuracy_hint(report), ACCURACY))
        if report.video:
            parts.append(table(report, "Video", video_hint(report), VIDEO))
        parts.append(table(report, "Artifacts", "What each file holds, and what ran it.", MADE_OF))
    parts += [environment(report), f'<p class="timed">{escape(TIMED)}</p>']
    style = resources.files("segdeploy.benchmarks").joinpath("page.css").read_text(encoding="utf-8")
    names = ", ".join(row.name for row in report.rows)
    return PAGE.format(title=escape(f"Benchmark of {names}"), style=style, body="\n".join(part for part in parts if part))


def _accuracy_hint(report: Report) -> str:
    size = "Scored at the pictures' own size."
    if report.reference is None:
        return f"{size} No checkpoint was named, so there is no reference to compare labels with."
    return f"{size} Labels and the difference in points are against {report.reference}; edges reach 3 pixels."


def header(report: Report) -> str:
    """Write what was found, large, and on what."""
    facts = (
        f"{len(report.pictures)} pictures of {report.dataset} {report.split}",
        report.machine.processor,
        f"{report.machine.cores} cores",
        report.created[:10],
    )
    title = f'<p class="over">Benchmark</p>\n<h1>{escape(finding(report))}</h1>'
    return f'<header>\n{title}\n<p class="facts">{escape(" · ".join(facts))}</p>\n</header>'


def tiles(report: Report) -> str:
    """Write the four figures that matter most; nothing where all failed."""
    best = headline(report)
    if best is None:
        return ""
    row, figures = best
    ratio = report.speedup(figures)
    compared = report.base is not None and row.name != report.reference
    found = [("a picture", milliseconds(figures.latency.median), f"95% within {milliseconds(figures.latency.percentile(95))}")]
    if compared and ratio and report.base and figures.labels:
        found.insert(0, ("speed", times(*ratio), f"{report.reference} is 1×"))
        found.append(("labels the same", same(figures.labels.overall), f"{same(figures.labels.near)} near edges"))
        found.append(("mIoU", percent(figures.scores.miou), f"{points(figures.scores.miou - report.base.scores.miou)} points"))
    else:
        found.append(("mIoU", percent(figures.scores.miou), f"pixel accuracy {percent(figures.scores.pixel_accuracy)}"))
        found.append(("cold start", milliseconds(figures.cold_start.median), "to the first mask"))
        found.append(("peak memory", megabytes(figures.peak_memory), f"file {megabytes(row.size)}"))
    entries = "\n".join(
        f"<li><span>{escape(over)}</span><b>{escape(value)}</b><span>{escape(under)}</span></li>" for over, value, under in found
    )
    return f'<ul class="tiles">\n{entries}\n</ul>'


def notes(kind: str, lines: Iterable[str]) -> str:
    """Write a colored box with a line for each note; nothing where there is none."""
    entries = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="notes {kind}">\n{entries}\n</ul>' if entries else ""


def legend(report: Report) -> str:
    """Write the color of each row."""
    entries = "\n".join(f"<li>{_named(report, row.name)}</li>" for row, _ in report.measured)
    return f'<ul class="legend">\n{entries}\n</ul>'


def _named(report: Report, name: str) -> str:
    tag = '<span class="tag">reference</span>' if name == report.reference else ""
    return f'<span class="dot" style="background: var(--series-{color_numbers(report)[name]})"></span>{escape(name)}{tag}'


def charts(report: Report) -> str:
    """Write the drawings."""
    drawn = (
        ("Speed and accuracy", "Further left is faster, further up is better.", scatter(report)),
        ("Latency", "The line is the median; half of the runs lie in the box.", distribution(report)),
        ("Classes", "How well each class is found.", class_bars(report)),
    )
    cards = "\n".join(
        f'<section class="card">\n<h2>{title}</h2>\n<p class="hint">{hint}</p>\n{svg}\n</section>' for title, hint, svg in drawn
    )
    return f'<div class="charts">\n{cards}\n</div>'


def table(report: Report, title: str, hint: str, columns: Sequence[Column]) -> str:
    """Write one table: a row for each artifact that did not fail."""
    head = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in columns)
    lines = []
    for row, figures in report.measured:
        cells = "".join(f"<td>{escape(column.cell(report, row, figures))}</td>" for column in columns)
        lines.append(f'<tr><th scope="row">{_named(report, row.name)}</th>{cells}</tr>')
    body = "\n".join(lines)
    return (
        f'<section class="card">\n<h2>{title}</h2>\n<p class="hint">{escape(hint)}</p>\n<div class="scroll">\n<table>\n'
        f'<thead><tr><th scope="col">artifact</th>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n</section>'
    )


def environment(report: Report) -> str:
    """Write what the figures depend on."""
    entries = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in measured_on(report))
    return f'<section class="card">\n<h2>Measured on</h2>\n<dl>\n{entries}\n</dl>\n</section>'
