"""Write docs/performance.md from what was measured.

`python -m segdeploy.benchmarks.studies.performance_page REPORT.json FIGURES.txt -o PAGE`.

`make performance` measures and then calls it; nothing in that page is written by hand.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from segdeploy.cli.main import invoke
from segdeploy.system.files import write_text

from ..report.tables import body
from ..results.report import Report, read_report

INTRODUCTION = (
    "# Performance\n\nPut together by `python -m segdeploy.benchmarks.studies.performance_page`, as"
    " `make performance` does; no figure here was typed. [benchmarks.md](benchmarks.md) says how it"
    " is measured. Ratios hold elsewhere, times do not."
)


def to_page(measured: Sequence[tuple[str, Report | str]]) -> str:
    """Put what was measured below each other, each with a title.

    A report's tables and machine, or what a command printed.
    """
    parts = [INTRODUCTION]
    for title, found in measured:
        parts += [
            f"## {title}",
            *([f"```\n{found.rstrip()}\n```"] if isinstance(found, str) else body(found, level=3)),
        ]
    return "\n\n".join(parts) + "\n"


def read_measured(path: Path) -> tuple[str, Report | str]:
    """Return a title and what was measured.

    A report has its folder's name, a text its own, without the number that sorts it.
    """
    name, found = (
        (path.stem, path.read_text(encoding="utf-8"))
        if path.suffix == ".txt"
        else (path.resolve().parent.name, read_report(path))
    )
    return name.lstrip("0123456789-").replace("-", " ").capitalize(), found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "measured",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page.",
)
def main(measured: Sequence[Path], output: Path) -> None:
    """Write a page of Markdown from what was MEASURED.

    Reports (.json), titled by their folders' names, and texts of commands (.txt).
    """
    write_text(output, to_page([read_measured(path) for path in measured]))
    click.echo(output)


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.performance_page")
