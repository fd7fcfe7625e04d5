"""Notes, next steps and progress bars on stderr; results go to stdout."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click


def note(text: str) -> None:
    """Print a note on stderr."""
    click.echo(text, err=True)


def next_step(*words: str | Path) -> None:
    """Print a command that a user may run next on stderr, quoted for a shell.

    Args:
        words: The words of the command.
    """
    note(f"next: {shlex.join(map(str, words))}")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on stderr; nothing where stderr is no terminal.

    Args:
        description: Text before the bar.
        total: Number of steps; None where it is unknown.

    Yields:
        A function to call once per step, with a short text to show beside the bar ("" for none).
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    # The import takes a tenth of the time to the first mask, so it happens for a terminal only.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    # File names in the texts may hold brackets, which rich would take for markup.
    before, beside = (
        TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[beside]}")
    )
    columns = (before, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), beside)
    # rich moves what is printed to stdout meanwhile to stderr, which is right on a terminal only.
    is_terminal = sys.stdout.isatty()
    with Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
        redirect_stdout=is_terminal,
    ) as bar:
        task = bar.add_task(description, total=total, beside="")
        yield lambda beside: bar.update(task, advance=1, beside=beside)
