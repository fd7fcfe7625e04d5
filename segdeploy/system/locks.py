"""Locks on files, which the system releases however a process ends."""

import os
from importlib.util import find_spec
from pathlib import Path

from segdeploy.errors import ConfigError

CAN_LOCK = find_spec("fcntl") is not None
"""Whether the system has such locks; on Windows abandoned scratch folders stay."""


def lock(descriptor: int, *, shared: bool) -> bool:
    """Try to lock an open file, shared or exclusively, and return whether that succeeded.

    Some network file systems have no locks.
    """
    # Windows lacks it.
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def claim(part: Path) -> int:
    """Open the file of a result in progress for this process alone; it is made where it is missing.

    A link of that name is removed: in a folder that others write to, it would lead to any file of
    the user.

    Returns:
        The descriptor, whose end ends the claim.

    Raises:
        ConfigError: Another process is writing it.
        OSError: It cannot be made.
    """
    if part.is_symlink():
        part.unlink()
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(part, flags, 0o666)
    if CAN_LOCK and not (lock(descriptor, shared=False) and _is_at(part, descriptor)):
        os.close(descriptor)
        msg = f"another run is writing {part}; wait for it, or choose another --output"
        raise ConfigError(msg)
    return descriptor


def is_claimed(part: Path) -> bool:
    """Return whether another process is writing this file."""
    try:
        descriptor = os.open(part, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        return CAN_LOCK and not lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is still the one of that name, and not finished meanwhile."""
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except OSError:
        return False
