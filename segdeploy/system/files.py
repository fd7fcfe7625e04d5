"""Files written whole or not at all, temporary folders, TOML output."""

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from segdeploy.errors import OutputError

PART = ".part"
"""Ending behind the name of a file that is not yet whole."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Return a temporary path beside `path`, and rename it to `path` if the block ends well.

    The bytes are synced to the disk before the rename, so that a crash leaves either the old file
    or the new one. When the block fails, the temporary file is removed.

    Args:
        path: Name that the finished file gets; its folder is made if it is missing.

    Yields:
        `path` with `.part` behind it, for the block to write.

    Raises:
        OutputError: The file cannot be written, for example because the disk is full.
    """
    part = path.with_name(path.name + PART)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        sync(part)
        part.replace(path)
    except OSError as error:
        if not _is_about(error, path, part):
            raise
        raise cannot_write(path, error) from error
    finally:
        # Where the folder itself could not be made, the reason for that must not be hidden by a
        # second error.
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _is_about(error: OSError, path: Path, part: Path) -> bool:
    """Report an error of this file from one of something else that the block did.

    A full disk names no file, but has a number.
    """
    if error.filename is None:
        return error.errno is not None
    return error.filename in {str(name) for name in (part, path, *path.parents)}


def cannot_write(path: Path, reason: Exception | str) -> OutputError:
    """Return the error of a file that cannot be written.

    Args:
        path: Name that the finished file would have had.
        reason: What the operating system or a library reported.
    """
    text = getattr(reason, "strerror", None) or " ".join(str(reason).split())
    return OutputError(f"cannot write {path}: {text}; free some space or choose another folder")


def sync(path: Path) -> None:
    """Make sure that the bytes of a written file are on the disk."""
    # Windows syncs only what is open for writing.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Return a folder for files that nobody needs once the block ends.

    Raises:
        OutputError: The block ran out of room there.
    """
    try:
        with TemporaryDirectory(prefix="segdeploy-") as folder:
            yield Path(folder)
    except OSError as error:
        if error.filename is not None or error.errno not in {
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EFBIG,
        }:
            raise
        msg = (
            f"cannot write temporary files to {gettempdir()}: {error.strerror}; free some space, or"
            " name another folder with TMPDIR"
        )
        raise OutputError(msg) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or leave the old one as it was."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole text file in UTF-8, or leave the old one as it was."""
    write_bytes(path, content.encode())


PREFIX = "segdeploy-"
LOCK = "lock"
"""File in such a folder on which every process that uses it holds a shared lock; the system lets go
of it however the process ends."""

CAN_LOCK = find_spec("fcntl") is not None
"""Windows has no such locks; there what was left behind stays."""


def make_scratch_folder(place: Path | None) -> tuple[Path, int | None]:
    """Make a folder for the use of this process and of those that are told of it, and remove those that nobody uses any more.

    Args:
        place: Where it is made; None for the system's place for temporary files.

    Returns:
        The folder, and the descriptor of the file that holds it, to be closed when it is removed;
        None where there are no locks.
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
    """Hold a folder for one more process, and give the descriptor to close.

    None where there are no locks.
    """
    try:
        held = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return None
    _is_locked(held, shared=True)
    return held


def remove_abandoned(parent: Path) -> None:
    """Remove the folders that `make_scratch_folder` made here and no process holds.

    Those of other users and without a lock are left alone.
    """
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
    """Try to lock a file, shared or alone, and tell whether that went.

    Some network file systems have no locks.
    """
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def to_toml(values: Mapping[str, object]) -> str:
    """Write keys and values, and tables behind them; tables that hold nothing are left out."""
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    parts = [lines({key: value for key, value in values.items() if key not in tables})]
    parts += [f"[{spell_key(key)}]\n{lines(table)}" for key, table in tables.items() if table]
    return "\n\n".join(parts) + "\n"


def lines(values: Mapping[str, object]) -> str:
    """Write a line for each key and its value."""
    return "\n".join(f"{spell_key(key)} = {spell(value)}" for key, value in values.items())


def spell(value: object) -> str:
    """Write one value: TOML spells numbers, truth, lists and nearly all texts as JSON does."""
    return (
        json.dumps(value, ensure_ascii=False)
        .replace("\x7f", "\\u007f")
        .encode(errors="replace")
        .decode()
    )


def spell_key(key: str) -> str:
    """Write a key, quoted where TOML needs it."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else spell(key)
