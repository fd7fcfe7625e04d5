"""Write docs/performance.md from reports: `python -m segdeploy.benchmarks.performance REPORT.json ... -o docs/performance.md`.

`make performance` measures and then calls it; nothing in that page is written by hand.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from segdeploy.atomic import write_text
from segdeploy.errors import SegdeployError

from .reading import read_report
from .report import Report
from .to_markdown import body

INTRODUCTION = (
    "# Performance\n\nWritten by `make performance`; no figure here was typed. [benchmarks.md](benchmarks.md) says how it is measured. "
    "Ratios hold elsewhere, times do not."
)


def to_page(reports: Sequence[tuple[str, Report]]) -> str:
    """Put reports below each other, each with a title, its tables and the machine that it was measured on."""
    parts = [INTRODUCTION]
    for title, report in reports:
        parts += [f"## {title}", *body(report, level=3)]
    return "\n\n".join(parts) + "\n"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("reports", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The page.")
def main(reports: Sequence[Path], output: Path) -> None:
    """Write a page of Markdown from REPORTS, each titled by its folder's name."""
    titled = [(path.resolve().parent.name.replace("-", " ").capitalize(), read_report(path)) for path in reports]
    write_text(output, to_page(titled))
    click.echo(output)


if __name__ == "__main__":
    try:
        main.main(standalone_mode=False)
    except SegdeployError as error:
        click.echo(f"segdeploy: {error}", err=True)
        raise SystemExit(error.exit_code) from error
