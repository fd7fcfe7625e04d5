"""Where a command's output goes, and where the newest checkpoint is."""

from itertools import count
from pathlib import Path

from segdeploy.errors import ConfigError, ModelError

RUNS = Path("runs")


def new_run(command: str, name: str) -> Path:
    """Make a fresh folder `runs/<command>/<name>`, with -2, -3 ... behind it where it is taken.

    Raises:
        ConfigError: The name is no plain file name.
    """
    if name in {"", ".", ".."} or Path(name).name != name:
        msg = f"the name {name!r} is no plain name of a folder; choose one without slashes"
        raise ConfigError(msg)
    for number in count(1):
        folder = RUNS / command / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def newest_best() -> Path:
    """Find the best checkpoint of the newest training run.

    Raises:
        ModelError: There is none.
    """
    found = sorted((RUNS / "train").glob("*/best.pt"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        msg = f"there is no {RUNS}/train/*/best.pt; name a checkpoint, or run 'segdeploy train' first"
        raise ModelError(msg)
    return found[-1]
