"""A report as Markdown, to be pasted into an issue or a README."""

from collections.abc import Iterable, Sequence

from .report import Report
from .words import ACCURACY, MADE_OF, SPEED, TIMED, VIDEO, Column, measured_on, shown, summary, video_hint


def to_markdown(report: Report) -> str:
    """Write a report as Markdown."""
    parts = ["# Benchmark", escape(summary(report))]
    parts += [f"> **Careful:** {escape(warning)}" for warning in report.warnings]
    if report.measured:
        parts += ["## Speed", table(report, SPEED), "## Accuracy", table(report, ACCURACY), "## Artifacts", table(report, MADE_OF)]
    if report.video and report.measured:
        parts += ["## Video", escape(video_hint(report)), table(report, VIDEO)]
    for aside in report.asides:
        parts += [f"## {aside.title}", escape(aside.hint), grid("way", aside.columns, aside.rows)]
    if report.failed:
        parts += ["## Failed", "\n".join(f"* **{escape(row.name)}**: {escape(row.error)}" for row in report.failed)]
    facts = "\n".join(f"* {name}: {escape(value)}" for name, value in measured_on(report))
    parts += ["## Measured on", facts, TIMED]
    return "\n\n".join(parts) + "\n"


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
