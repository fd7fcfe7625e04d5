"""Which network passes the proof of which format and precision.

`python -m segdeploy.benchmarks.studies.formats`.

Each network has random weights, and is exported by `segdeploy export` with its proof on synthetic
streets. A cell says that the file passed, the first layer that differs, or why there is no file.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from segdeploy import models
from segdeploy.cli.console import echo, progress
from segdeploy.cli.main import invoke
from segdeploy.cli.options import ImageSize
from segdeploy.errors import SegdeployError
from segdeploy.system.files import temporary_folder

from ..measure.subcommands import Call, call
from .networks import Candidate, randomly_initialized

COLUMNS = ("mnn fp32", "mnn fp16", "ncnn fp32", "ncnn fp16")
"""Format and precision of each column. An int8 file depends on the weights, which are random."""

PASSES = "passes"


def try_formats(
    checkpoint: Path, columns: Sequence[str], on_cell: Callable[[str], None], run: Call = call
) -> Iterator[str]:
    """Export a checkpoint to the format and precision of each column, and yield the cells.

    Args:
        checkpoint: The file.
        columns: Such as "mnn fp32".
        on_cell: Called after each cell, with its text.
        run: Runs `segdeploy export`.
    """
    for column in columns:
        name, precision = column.split()
        options = ["--format", name, "--precision", precision, "--dataset", "streets"]
        try:
            run(["segdeploy", "export", str(checkpoint), *options, "--proof-images", "2"])
            cell = PASSES
        except SegdeployError as error:
            cell = shortened(str(error))
        on_cell(cell)
        yield cell


def shortened(message: str) -> str:
    """Return what an export says of the layer or the operator that it failed at."""
    for start in ("first layer that diverges: ", "cannot be converted to "):
        if start in message:
            message = message.partition(start)[2].partition("; ")[0]
            break
    return message.replace("|", "/")


def to_markdown(rows: dict[str, list[str]], columns: Sequence[str]) -> str:
    """Return a table in Markdown, and how many cells pass."""
    cells = [cell for row in rows.values() for cell in row]
    lines = [f"| network | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(row)} |" for name, row in rows.items()]
    return "\n".join([*lines, "", f"{cells.count(PASSES)} of {len(cells)} pass"])


@click.command()
@click.option(
    "--imgsz",
    type=ImageSize(),
    default="192,256",
    show_default=True,
    help="Height,width of the networks' input.",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(models.names()),
    help="Try only this network; may be repeated.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    type=click.Choice(COLUMNS),
    default=COLUMNS,
    help="Try only this format and precision; may be repeated.",
)
def main(imgsz: tuple[int, int], only: Sequence[str], columns: Sequence[str]) -> None:
    """Print which network passes the proof of which format, as a table in Markdown."""
    chosen = only or models.names()
    rows = {}
    with temporary_folder() as folder, progress("exporting", len(chosen) * len(columns)) as step:
        for name in chosen:
            checkpoint = randomly_initialized(Candidate(name), folder, imgsz)
            rows[name] = list(try_formats(checkpoint, columns, step))
    echo(to_markdown(rows, columns))


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.formats")
