"""A file gets its name only once it is whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segdeploy.errors import OutputError


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
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        sync(part)
        part.replace(path)
    except OSError as error:
        if error.filename is not None and Path(error.filename) not in (part, path, path.parent):
            raise
        msg = f"cannot write {path}: {error.strerror or error}; free some space or choose another folder"
        raise OutputError(msg) from error
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make sure that the bytes of a written file are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or leave the old one as it was."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole text file in UTF-8, or leave the old one as it was."""
    write_bytes(path, content.encode())
