"""Locks on files, which the system releases however a process ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISLNK, S_ISREG

from segdeploy.errors import ConfigError

from . import posix
from .posix import CAN_LOCK


def lock(descriptor: int, *, shared: bool) -> bool:
    """Try to lock an open file, shared or exclusively, and return whether that succeeded.

    Some network file systems have no locks.
    """
    try:
        posix.lock(descriptor, shared=shared)
    except OSError:
        return False
    return CAN_LOCK


def claim(part: Path) -> int:
    """Open the file of a result in progress for this process alone; it is made where it is missing.

    A link of that name, symbolic or hard, is removed: in a folder that others write to, it would
    lead to any file of the user.

    Returns:
        The descriptor, whose end ends the claim.

    Raises:
        ConfigError: Another process is writing it.
        OSError: It cannot be made.
    """
    if _is_link(part):
        part.unlink()
    flags = os.O_RDWR | os.O_CREAT | posix.NOFOLLOW | posix.BINARY
    descriptor = os.open(part, flags, 0o666)
    if _is_held(descriptor, shared=False) or not _is_at(part, descriptor):
        os.close(descriptor)
        msg = f"another run is writing {part}; wait for it, or choose another name"
        raise ConfigError(msg)
    return descriptor


@contextmanager
def claimed_folder(folder: Path) -> Iterator[None]:
    """Keep the folder of a run for this process alone while the block runs.

    Raises:
        ConfigError: Another process holds it.
    """
    if not CAN_LOCK:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _is_held(descriptor, shared=False):
            msg = f"another run is writing to {folder}; wait for it, or end it"
            raise ConfigError(msg)
        yield
    finally:
        os.close(descriptor)


def is_claimed(part: Path) -> bool:
    """Return whether another process is writing this file."""
    try:
        descriptor = os.open(part, os.O_RDONLY | posix.NOFOLLOW)
    except OSError:
        return False
    try:
        return _is_held(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _is_held(descriptor: int, *, shared: bool) -> bool:
    """Try to lock an open file, and return whether another process prevents it.

    Where there are no locks, none does.
    """
    try:
        posix.lock(descriptor, shared=shared)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _is_link(path: Path) -> bool:
    """Return whether a file has further names, or is one only of another file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return S_ISLNK(status.st_mode) or (S_ISREG(status.st_mode) and status.st_nlink > 1)


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is still the one of that name, and not finished meanwhile."""
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except OSError:
        return False
