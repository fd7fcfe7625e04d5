"""What a person sees while a command works: progress and notes on stderr, results on stdout."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click


def note(text: str) -> None:
    """Report something beside the result, on stderr."""
    click.echo(text, err=True)


def next_step(*words: str | Path) -> None:
    """Report the next sensible command, word by word, on stderr.

    A shell takes it as it stands, whatever a path holds.
    """
    note(f"next: {shlex.join(map(str, words))}")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """Show one bar on stderr, nothing where stderr is no terminal.

    Args:
        description: What is being done.
        total: How many steps there are; None where nobody knows.

    Yields:
        A function to call once a step, with a short text to stand beside the bar ("" for none).
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    # Where nobody looks at a bar, the first answer need not wait for this import, a tenth of its
    # time.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    # Names of files stand in the texts, and a name may hold brackets, which are markup to rich.
    before, beside = (
        TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[beside]}")
    )
    columns = (before, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), beside)
    # Unless both are the same terminal, rich would send to stderr what is printed to stdout
    # meanwhile.
    shared = sys.stdout.isatty()
    with Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
        redirect_stdout=shared,
    ) as bar:
        task = bar.add_task(description, total=total, beside="")
        yield lambda beside: bar.update(task, advance=1, beside=beside)
