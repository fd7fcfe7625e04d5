"""The frame of every page that we write: one file that asks nothing of the network."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{allowed}">
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

ALLOWED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a browser may load: nothing but what stands in the file."""


def page(title: str, parts: Iterable[str]) -> str:
    """Put parts of HTML behind each other on a page; empty ones are left out."""
    style = (
        resources.files("segdeploy.reports")
        .joinpath("templates/style.css")
        .read_text(encoding="utf-8")
    )
    return PAGE.format(
        title=escape(title),
        style=style,
        allowed=ALLOWED,
        body="\n".join(part for part in parts if part),
    )


def header(over: str, title: str, facts: Sequence[str]) -> str:
    """Write what the page says, large, and on what."""
    line = escape(" · ".join(facts))
    return (
        f'<header>\n<p class="over">{escape(over)}</p>\n<h1>{escape(title)}</h1>\n<p'
        f' class="facts">{line}</p>\n</header>'
    )


def notes(kind: str, lines: Iterable[str]) -> str:
    """Write a colored box with a line for each note; nothing where there is none."""
    entries = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="notes {kind}">\n{entries}\n</ul>' if entries else ""


def card(title: str, hint: str, content: str) -> str:
    """Write a box with a title, a line that explains it, and what is HTML already."""
    explained = f'<p class="hint">{escape(hint)}</p>\n' if hint else ""
    return f'<section class="card">\n<h2>{escape(title)}</h2>\n{explained}{content}\n</section>'


def table(first: str, titles: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Write a table.

    Args:
        first: Title of the first column.
        titles: Titles of the others.
        rows: The first column's cell as HTML, and the others' as text; an interval in brackets
            behind a figure stands under it.
    """
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    lines = (
        "<tr><th"
        f' scope="row">{name}</th>{"".join(f"<td>{with_interval(cell)}</td>" for cell in cells)}</tr>'
        for name, cells in rows
    )
    body = "\n".join(lines)
    return (
        '<div class="scroll">\n<table>\n<thead><tr><th'
        f' scope="col">{escape(first)}</th>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def with_interval(cell: str) -> str:
    """Write a cell, and the interval in brackets behind its figure, if there is one, as a line of its own."""
    figure, bracket, interval = escape(cell).partition(" [")
    return f"{figure}<small>[{interval}</small>" if bracket else figure
