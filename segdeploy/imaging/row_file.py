"""The rows of a large result in progress, stored as they are, so that a run can be resumed.

A file of rows begins with the SHA-256 of all that they depend on, and goes on with their bytes.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdeploy.errors import InterruptedRun
from segdeploy.system.files import PART, cannot_write, make_folder, refuse_device
from segdeploy.system.locks import claim

Pixels = npt.NDArray[np.uint8]

HEADER = hashlib.sha256().digest_size
"""Bytes in front of the rows."""


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """The rows of a file, which are read a slice at a time.

    The pages of a memory map would count as memory of the process, up to all of the file.

    Attributes:
        path: The file.
        shape: Height, width and bands.
    """

    path: Path
    shape: tuple[int, int, int]

    def __getitem__(self, rows: slice) -> Pixels:
        """Read some rows, (n, W, C)."""
        height, width, bands = self.shape
        first, stop, _ = rows.indices(height)
        numbers = np.fromfile(
            self.path,
            np.uint8,
            max(0, stop - first) * width * bands,
            offset=HEADER + first * width * bands,
        )
        return numbers.reshape(-1, width, bands)


class RowFile:
    """Rows of a result, from the top."""

    def __init__(self, path: Path, descriptor: int, *, shape: tuple[int, int, int]) -> None:
        """Keep the open file.

        Args:
            path: Where it lies.
            descriptor: The file, open behind the rows that are kept.
            shape: Height, width and bands of the whole result.
        """
        self._path = path
        self._descriptor = descriptor
        self._shape = shape

    def add(self, rows: Pixels) -> None:
        """Add the next rows, (n, W, C), or (n, W) of a single band."""
        left = np.ascontiguousarray(rows).data.cast("B")
        while left:
            left = left[os.write(self._descriptor, left) :]

    def rows(self) -> StoredRows:
        """Return all rows, to be read a slice at a time."""
        return StoredRows(path=self._path, shape=self._shape)

    def pixels(self) -> Pixels:
        """Return all rows, (H, W, C), as a memory map."""
        return np.memmap(self._path, np.uint8, "r", offset=HEADER, shape=self._shape)


def path_of_rows(target: Path) -> Path:
    """Return the file of the rows of a result."""
    return target.with_name(f"{target.name}.rows{PART}")


def finished_rows(target: Path, *, width: int, bands: int, settings: str) -> int:
    """Return how many whole rows of a result an interrupted run of these settings left."""
    rows = path_of_rows(target)
    if rows.is_symlink() or not rows.is_file():
        return 0
    with rows.open("rb") as file:
        if file.read(HEADER) != _header(settings):
            return 0
    return (rows.stat().st_size - HEADER) // (width * bands)


def _header(settings: str) -> bytes:
    return hashlib.sha256(settings.encode(errors="surrogatepass")).digest()


@contextmanager
def row_file(
    target: Path, *, shape: tuple[int, int, int], kept: int = 0, settings: str = ""
) -> Iterator[RowFile]:
    """Open the rows of a result, and remove them at the end unless the run was interrupted.

    They are as many bytes as the result has numbers, because the tiles of a TIFF span many rows.

    Args:
        target: The result, beside which they lie.
        shape: Its height, width and bands.
        kept: Rows of an interrupted run that are kept, as `finished_rows` counts them.
        settings: Text that differs where the rows would.

    Raises:
        ConfigError: Another run is writing them.
        OutputError: They cannot be written, for example because the disk is full.
    """
    path = path_of_rows(target)
    make_folder(target.parent)
    refuse_device(target)
    is_kept = False
    try:
        descriptor = claim(path)
        try:
            size = HEADER + kept * shape[1] * shape[2]
            os.write(descriptor, _header(settings))
            os.ftruncate(descriptor, size)
            os.lseek(descriptor, size, os.SEEK_SET)
            yield RowFile(path, descriptor, shape=shape)
        except (InterruptedRun, KeyboardInterrupt):
            is_kept = True
            raise
        finally:
            if not is_kept:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            os.close(descriptor)
    except OSError as error:
        if error.filename not in {None, str(path)} or error.errno is None:
            raise
        raise cannot_write(target, error) from error
