"""Decoded samples in a memory map that all processes of a run share."""

import io
import os
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image, Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Dataset, Sample
from segdeploy.system.files import (
    cannot_write_temporary_files,
    hold_folder,
    make_scratch_folder,
)

LINE = 64
"""Bytes to which samples are aligned; offsets are counted in it."""

TYPES = ("uint8", "uint16", "float32")
"""Types of images, which the line before a sample names by their index, after its channels."""

MAX_SIDE = 1 << 16
MAX_LINES = 1 << 31
"""Bounds of what one number of the table holds: a height, a width and an offset. An entry is one
number so that no process ever reads half of it."""


class CachedDataset:
    """A dataset that decodes each sample once, as long as there is room.

    The pixels lie in a file in the system's folder for temporary files, so in memory that the
    system can spare. The file is removed with this object; that of a killed process is removed when
    the next one is created. Nothing is evicted: where every sample is read once an epoch, replacing
    one by another gains nothing. A process that gets this object, by fork or by pickle, shares what
    all of them have read.
    """

    def __init__(self, samples: Dataset, room: float, *, folder: Path | None = None) -> None:
        """Start with an empty cache.

        Args:
            samples: Dataset that is cached.
            room: Bytes of images and masks that all processes together may cache.
            folder: Where to create the folder of the cache's files; None for the system's folder
                for temporary files.

        Raises:
            OutputError: That folder cannot be written to.
        """
        self._samples = samples
        self._names = tuple(samples.names)
        self._room = room
        self._folder, held = make_scratch_folder(folder)
        weakref.finalize(self, _remove, self._folder, os.getpid(), held)
        # Written, not only reserved: a page of a map for which the disk has no room would kill the
        # process.
        try:
            (self._folder / "table").write_bytes(bytes(8 * len(samples)))
        except OSError as error:
            raise cannot_write_temporary_files(self._folder.parent, error) from error
        # Each other process opens the files itself, when it reads its first sample.
        store = SampleStore(self._folder, self._room) if self._names else None
        self._store: SampleStore | None = store

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it opens the files itself."""
        return {**self.__dict__, "_store": None}

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the dataset."""
        return self._samples.classes

    @property
    def names(self) -> Sequence[str]:
        """Names of the samples."""
        return self._names

    @property
    def rule(self) -> str:
        """How the dataset was split."""
        return self._samples.rule

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample, whose arrays are read-only if they come from the cache.

        Raises:
            DataError: The sample cannot be used.
        """
        if self._store is None or self._store.process != os.getpid():
            self._store = SampleStore(self._folder, self._room)
        cached = self._store.find(index)
        if cached is not None:
            return Sample(image=cached[0], mask=cached[1], name=self._names[index])
        sample = self._samples[index]
        self._store.add(index, sample.image, sample.mask)
        return sample


class SampleStore:
    """One process's view of the cache's files."""

    def __init__(self, folder: Path, room: float) -> None:
        """Open the files.

        Args:
            folder: Holds a table of one number for each sample, 0 for one that is not cached.
            room: Bytes that the pixels of all samples may take.
        """
        self.process = os.getpid()
        if (held := hold_folder(folder)) is not None:
            weakref.finalize(self, os.close, held)
        self._room = min(room, LINE * MAX_LINES)
        self._table = np.memmap(folder / "table", np.int64, mode="r+")
        self._file = folder / "pixels"
        self._pixels: npt.NDArray[np.uint8] = np.empty(0, np.uint8)

    def find(self, index: int) -> tuple[Image, Mask] | None:
        """Return image and mask of a sample, or None where it is not cached."""
        entry = int(self._table[index])
        if not entry:
            return None
        line, height, width = (
            entry // MAX_SIDE**2 - 1,
            entry // MAX_SIDE % MAX_SIDE,
            entry % MAX_SIDE,
        )
        if line * LINE >= len(self._pixels):
            self._pixels = np.asarray(np.memmap(self._file, np.uint8, mode="r"))
        channels, kind = self._pixels[line * LINE : line * LINE + 2].tolist()
        dtype = np.dtype(TYPES[kind])
        start = (line + 1) * LINE
        middle = start + height * width * channels * dtype.itemsize
        image = self._pixels[start:middle].view(dtype).reshape(height, width, channels)
        mask = self._pixels[middle : middle + height * width]
        return image, mask.reshape(height, width)

    def add(self, index: int, image: Image, mask: Mask) -> None:
        """Store a sample if there is room for it, also on the disk."""
        height, width = mask.shape
        start = bytes([image.shape[2], TYPES.index(str(image.dtype))]).ljust(LINE, b"\0")
        padding = bytes(-(image.nbytes + mask.nbytes) % LINE)
        content = b"".join((start, image.tobytes(), mask.tobytes(), padding))
        if max(height, width) >= MAX_SIDE:
            return
        # A file opened for appending takes every write at its end, whichever process writes, and
        # leaves its position behind it.
        with self._file.open("ab", buffering=0) as file:
            if file.tell() + len(content) > self._room or not _write_all(file, content):
                return
            line, rest = divmod(file.tell() - len(content), LINE)
        # After a write that the disk cut short nothing is aligned any more, nor found.
        if not rest:
            self._table[index] = ((line + 1) * MAX_SIDE + height) * MAX_SIDE + width


def _write_all(file: io.FileIO, content: bytes) -> bool:
    """Write all, and return whether the disk had room for it."""
    try:
        return file.write(content) == len(content)
    except OSError:
        return False


def _remove(folder: Path, owner: int, held: int | None) -> None:
    """Remove the files, in the process that created them; a fork inherits the finalizer."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)
