"""The folders of runs, runs/<command>/<name>: a new one, the newest one, the newest checkpoint."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from itertools import count
from pathlib import Path

from segdeploy.errors import ConfigError, ModelError

RUNS = Path("runs")


def new_run(command: str, name: str) -> Path:
    """Make a new folder `runs/<command>/<name>`, with -2, -3 ... behind it where it is taken.

    Raises:
        ConfigError: The name is not a plain file name.
    """
    if name in {"", ".", ".."} or Path(name).name != name:
        msg = f"the name {name!r} is not a plain folder name; choose one without slashes"
        raise ConfigError(msg)
    for number in count(1):
        folder = RUNS / command / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
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
        The folder.

    Raises:
        ConfigError: The name is not a plain file name.
    """
    is_new = output is None or not output.exists()
    folder = output or new_run(command, name)
    try:
        yield folder
    finally:
        if is_new:
            # Fails where it holds results, or was never made.
            with suppress(OSError):
                folder.rmdir()


def newest_run(command: str, name: str) -> Path | None:
    """Return the newest folder that `new_run` made of this name; None where there is none."""
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
