"""Folders of runs, below `runs/`, in which commands put their results."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from itertools import count
from pathlib import Path

from segdeploy.errors import ConfigError, ModelError
from segdeploy.system.files import cannot_create, make_folder

RUNS = Path("runs")


def new_run(command: str, name: str) -> Path:
    """Create a folder `runs/<command>/<name>`, with -2, -3 ... appended where it exists.

    Raises:
        ConfigError: The name is not a plain file name.
        OutputError: The folder cannot be created.
    """
    if name in {"", ".", ".."} or Path(name).name != name:
        msg = f"the name {name!r} is not a plain folder name; choose one without slashes"
        raise ConfigError(msg)
    make_folder(RUNS / command)
    for number in count(1):
        folder = RUNS / command / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_create(folder, error) from error
        return folder
    raise AssertionError


@contextmanager
def result_folder(command: str, name: str, *, output: Path | None) -> Iterator[Path]:
    """Provide the folder for a command's results, and remove it again where it stays empty.

    Args:
        command: Name of the command.
        name: Name of the run, where no folder was named.
        output: The folder that was named, which may exist; None for a new one below `runs/`.

    Yields:
        The folder, which exists.

    Raises:
        ConfigError: The name is not a plain file name.
        OutputError: The folder cannot be created, or must not be written to.
    """
    is_new = output is None or not os.path.lexists(output)
    folder = output or new_run(command, name)
    try:
        make_folder(folder)
        yield folder
    finally:
        if is_new:
            # Fails where it holds results.
            with suppress(OSError):
                folder.rmdir()


def newest_run(command: str, name: str) -> Path | None:
    """Return the newest folder that `new_run` created for this name; None where there is none."""
    folders = [
        path
        for path in (RUNS / command).glob(f"{escape(name)}*")
        if re.fullmatch(r"(-\d+)?", path.name.removeprefix(name))
    ]
    return max(folders, key=lambda path: path.stat().st_mtime_ns, default=None)


def newest_checkpoint() -> Path:
    """Return the best checkpoint of the newest training run.

    Raises:
        ModelError: There is none.
    """
    checkpoints = sorted(
        (RUNS / "train").glob("*/best.pt"), key=lambda path: path.stat().st_mtime_ns
    )
    if not checkpoints:
        msg = (
            f"there is no {RUNS}/train/*/best.pt; name a checkpoint, or run 'segdeploy train' first"
        )
        raise ModelError(msg)
    return checkpoints[-1]
