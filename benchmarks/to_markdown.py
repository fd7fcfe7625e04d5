"""A report as Markdown, to be pasted into an issue or a README."""

from collections.abc import Iterable, Sequence

from .report import Report
from .words import ACCURACY, MADE_OF, SPEED, TIMED, VIDEO, Column, measured_on, shown, summary, video_hint


def to_markdown(report: Report) -> str:
    """Write a report as Markdown."""
    return "\n\n".join(["# Benchmark", *body(report, level=2)]) + "\n"


def body(report: Report, *, level: int) -> list[str]:
    """Write a report's paragraphs and tables, with headings of a level from 1."""
    mark = "#" * level
    parts = [escape(summary(report))]
    if report.warnings:
        parts.append(f"> **Careful:** {escape(' '.join(report.warnings))}")
    if report.measured:
        titled = (("Speed", SPEED), ("Accuracy", ACCURACY), ("Artifacts", MADE_OF))
        parts += [part for title, columns in titled if shown(report, columns) for part in (f"{mark} {title}", table(report, columns))]
    if report.video and report.measured:
        parts += [f"{mark} Video", escape(video_hint(report)), table(report, VIDEO)]
    for aside in report.asides:
        parts += [f"{mark} {aside.title}", escape(aside.hint), grid("way", aside.columns, aside.rows)]
    if report.failed:
        parts += [f"{mark} Failed", "\n".join(f"* **{escape(row.name)}**: {escape(row.error)}" for row in report.failed)]
    facts = "\n".join(f"* {name}: {escape(value)}" for name, value in measured_on(report))
    return [*parts, f"{mark} Measured on", facts, TIMED]


def table(report: Report, columns: Sequence[Column]) -> str:
    """Write one table: a row for each artifact that did not fail."""
    columns = shown(report, columns)
    named = ((f"{row.name} (reference)" if row.name == report.reference else row.name, row, figures) for row, figures in report.measured)
    rows = ((name, [column.cell(report, row, figures) for column in columns]) for name, row, figures in named)
    return grid("artifact", [column.title for column in columns], rows)


def grid(first: str, titles: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Write a table: the first column's title, the others', and for each line its name and its cells."""
    lines = [f"| {first} | {' | '.join(map(escape, titles))} |", "| :-- |" + " --: |" * len(titles)]
    lines += [f"| {escape(name)} | {' | '.join(map(escape, cells))} |" for name, cells in rows]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Keep a name or a message from being read as Markdown or HTML, and on one line."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
