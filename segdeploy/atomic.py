"""A file gets its name only once it is whole."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from segdeploy.errors import OutputError

PART = ".part"
"""Ending behind the name of a file that is not yet whole."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` if the block ends well.

    The bytes are synced to the disk before the rename, so that a crash leaves either the old file or
    the new one. When the block fails, the temporary file is removed.

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
        msg = f"cannot write {path}: {error.strerror or error}; free some space or choose another folder"
        raise OutputError(msg) from error
    finally:
        # Where the folder itself could not be made, the reason for that must not be hidden by a second error.
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _is_about(error: OSError, path: Path, part: Path) -> bool:
    """Tell an error of this file from one of something else that the block did: a full disk names no file, but has a number."""
    if error.filename is None:
        return error.errno is not None
    return error.filename in {str(name) for name in (part, path, *path.parents)}


def sync(path: Path) -> None:
    """Make sure that the bytes of a written file are on the disk."""
    # Windows syncs only what is open for writing.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder for files that nobody needs once the block ends.

    Raises:
        OutputError: The block ran out of room there.
    """
    try:
        with TemporaryDirectory(prefix="segdeploy-") as folder:
            yield Path(folder)
    except OSError as error:
        if error.filename is not None or error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        msg = f"cannot write temporary files to {gettempdir()}: {error.strerror}; free some space, or name another folder with TMPDIR"
        raise OutputError(msg) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or leave the old one as it was."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole text file in UTF-8, or leave the old one as it was."""
    write_bytes(path, content.encode())
