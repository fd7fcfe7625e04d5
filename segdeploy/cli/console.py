"""Output of commands: results on stdout; notes, next steps and progress bars on stderr.

Names and texts come from untrusted files, and control characters would change the terminal's
title, its colors, or earlier output. They are escaped here.

Results that cannot be written are an error. Notes and progress never are: a run does not end
because the terminal or the log that it was started from is gone.
"""

import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy.errors import OutputError
from segdeploy.installation import find_installation, is_installed

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters of terminals, those that reorder text, and lone surrogates, which stand
for bytes of a file name that are not UTF-8."""


def printable(text: str) -> str:
    r"""Return a text in one line, with its control characters as \u and four hexadecimal digits.

    JSON and TOML decode such text to the original.
    """
    return CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def open_streams() -> None:
    """Open missing standard streams; all print what their encoding lacks as numbers.

    A service may start it without one. The next file that is opened would get that number, and
    what a library prints would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)
            os.set_inheritable(number, True)  # noqa: FBT003 - os has no keyword
            if null != number:
                os.close(null)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_unwritten() -> None:
    """Drop what a stream could not write, so that Python does not try again at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


@contextmanager
def _written(*, err: bool) -> Iterator[None]:
    """Write to stdout or stderr in a block; only what stdout cannot take is an error.

    Raises:
        OutputError: Results cannot be written.
        BrokenPipeError: Whoever read them has enough, as `head` does.
    """
    try:
        yield
    except OSError as error:
        if err:
            return
        if isinstance(error, BrokenPipeError):
            raise
        msg = f"cannot write to standard output: {error.strerror}; redirect it to another place"
        raise OutputError(msg) from error


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print text of one or more lines.

    Args:
        text: What is printed; its line breaks are kept, all other control characters are escaped.
        err: Whether it goes to stderr instead of stdout.
        nl: Whether the line is ended.

    Raises:
        OutputError: stdout cannot be written to.
    """
    with _written(err=err):
        click.echo("\n".join(map(printable, str(text).split("\n"))), err=err, nl=nl)


def note(text: str) -> None:
    """Print a note on stderr, in one line."""
    with _written(err=True):
        click.echo(printable(text), err=True)


def add_row(table: "Table", *cells: "str | Text") -> None:
    """Add a row to a table, without markup and with control characters escaped."""
    from rich.text import Text

    texts = [Text(cell) if isinstance(cell, str) else cell for cell in cells]
    for text in texts:
        if CONTROL.search(text.plain):
            text.plain = printable(text.plain)
    table.add_row(*texts)


def show(*parts: "RenderableType", err: bool = False) -> None:
    """Print tables, whose rows `add_row` added, and fixed lines without names of files.

    Args:
        parts: What is printed, one below the other.
        err: Whether they go to stderr instead of stdout.

    Raises:
        OutputError: stdout cannot be written to.
    """
    # The import takes a tenth of the time to the first mask.
    from rich.console import Console

    with _written(err=err):
        Console(stderr=err, markup=False, emoji=False).print(*parts, sep="\n")


def next_step(*words: str | Path, extra: str = "") -> None:
    """Print a command that a user may run next on stderr, quoted for a shell.

    Args:
        words: The program and its arguments.
        extra: Extra that the command needs, if any; it is installed first where it is missing.
    """
    command = shlex.join(map(str, words))
    if extra and not is_installed(extra):
        command = f"{find_installation().command(extra)} && {command}"
    note(f"next: {command}")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on stderr; nothing where stderr is not a terminal.

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
    # File names in the texts may hold brackets, which rich would read as markup.
    before, beside = (
        TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[beside]}")
    )
    columns = (before, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), beside)
    # rich moves what is printed to stdout meanwhile to stderr, which is correct on a terminal only.
    is_terminal = sys.stdout.isatty()
    bar = Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
        redirect_stdout=is_terminal,
    )
    task = bar.add_task(printable(description), total=total, beside="")
    try:
        # The terminal may be gone before the work is done.
        with suppress(OSError):
            bar.start()
        yield lambda beside: bar.update(task, advance=1, beside=printable(beside))
    finally:
        with suppress(OSError):
            bar.stop()
