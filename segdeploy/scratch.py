"""Temporary folders that are known to be in use, and removed later where a killed process left them behind."""

import contextlib
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

PREFIX = "segdeploy-"
LOCK = "lock"
"""File in such a folder on which every process that uses it holds a shared lock; the system lets go of it however the process ends."""

CAN_LOCK = find_spec("fcntl") is not None
"""Windows has no such locks; there what was left behind stays."""


def make_scratch(place: Path | None) -> tuple[Path, int | None]:
    """Make a folder for the use of this process and of those that are told of it, and remove those that nobody uses any more.

    Args:
        place: Where it is made; None for the system's place for temporary files.

    Returns:
        The folder, and the descriptor of the file that holds it, to be closed when it is removed; None where there are no locks.
    """
    parent = place or Path(tempfile.gettempdir())
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    if not CAN_LOCK:
        return folder, None
    # It gets its name once it is locked, so that nobody finds it free meanwhile.
    unnamed = folder / "unlocked"
    held = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    if _is_locked(held, shared=True):
        unnamed.rename(folder / LOCK)
    return folder, held


def hold(folder: Path) -> int | None:
    """Hold a folder for one more process, and give the descriptor to close; None where there are no locks."""
    try:
        held = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return None
    _is_locked(held, shared=True)
    return held


def remove_abandoned(parent: Path) -> None:
    """Remove the folders that `make_scratch` made here and no process holds; those of other users and without a lock are left alone."""
    if not CAN_LOCK:
        return
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if (
                entry.name.startswith(PREFIX)
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.getuid()
            ):
                _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(folder: Path) -> None:
    try:
        held = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if _is_locked(held, shared=False):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)


def _is_locked(descriptor: int, *, shared: bool) -> bool:
    """Try to lock a file, shared or alone, and tell whether that went; some network file systems have no locks."""
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
