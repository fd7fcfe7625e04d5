"""Samples that were read once are kept in a memory map, which all processes of a run share."""

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
from segdeploy.system.files import hold, make_scratch

LINE = 64
"""Bytes to which samples are aligned; their places are counted in it."""

SIDE = 1 << 16
MOST = 1 << 31
"""What fits into one number of the table: a height, a width and a place, so that no process ever
sees half of an entry."""


class Cached:
    """A dataset that reads each sample once, and again only those for which there was no room.

    The pixels lie in a file in the system's folder for temporary files, so in the memory that the
    system has to spare; it goes with this object, and that of a killed process when the next one is
    made. Nothing is ever forgotten: where every sample is asked for once an epoch, dropping one for
    another gains nothing. A process that is given this object, by fork or by pickle, shares what
    all of them read.
    """

    def __init__(self, samples: Dataset, room: float, *, folder: Path | None = None) -> None:
        """Start with nothing kept.

        Args:
            samples: Where the samples come from.
            room: Bytes of images and masks that may be kept by all processes together.
            folder: Where the files' own folder is made; None for the system's place for temporary
                files.
        """
        self._samples = samples
        self._names = tuple(samples.names)
        self._room = room
        self._shelf: Shelf | None = None
        self._folder, held = make_scratch(folder)
        weakref.finalize(self, _remove, self._folder, os.getpid(), held)
        # Written, not only reserved: a page of a map for which the disk has no room would end the
        # process.
        np.zeros(len(samples), np.int64).tofile(self._folder / "table")

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it opens the files itself."""
        return {**self.__dict__, "_shelf": None}

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
        """How the split came to be."""
        return self._samples.rule

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample, whose arrays may be read only.

        Raises DataError where it cannot be used.
        """
        if self._shelf is None or self._shelf.process != os.getpid():
            self._shelf = Shelf(self._folder, self._room)
        kept = self._shelf.find(index)
        if kept is not None:
            return Sample(image=kept[0], mask=kept[1], name=self._names[index])
        sample = self._samples[index]
        self._shelf.keep(index, sample.image, sample.mask)
        return sample


class Shelf:
    """One process's hands on the files that all share."""

    def __init__(self, folder: Path, room: float) -> None:
        """Open the files.

        Args:
            folder: Holds a table of one number for each sample, 0 for one that is not kept.
            room: Bytes that the pixels of all samples may take.
        """
        self.process = os.getpid()
        if (held := hold(folder)) is not None:
            weakref.finalize(self, os.close, held)
        self._room = min(room, LINE * MOST)
        self._table = np.memmap(folder / "table", np.int64, mode="r+")
        self._file = folder / "pixels"
        self._pixels: npt.NDArray[np.uint8] = np.empty(0, np.uint8)

    def find(self, index: int) -> tuple[Image, Mask] | None:
        """Return image and mask of a sample, or None where it is not kept."""
        entry = int(self._table[index])
        if not entry:
            return None
        place, height, width = (entry // SIDE**2 - 1) * LINE, entry // SIDE % SIDE, entry % SIDE
        if place + 4 * height * width > len(self._pixels):
            self._pixels = np.asarray(np.memmap(self._file, np.uint8, mode="r"))
        middle, end = place + 3 * height * width, place + 4 * height * width
        return self._pixels[place:middle].reshape(height, width, 3), self._pixels[
            middle:end
        ].reshape(height, width)

    def keep(self, index: int, image: Image, mask: Mask) -> None:
        """Keep a sample if there is room for it, and on the disk too."""
        height, width = mask.shape
        content = b"".join((image.tobytes(), mask.tobytes(), bytes(-4 * height * width % LINE)))
        if max(height, width) >= SIDE:
            return
        # A file opened for appending takes every write at its end, whichever process writes, and
        # leaves its position behind it.
        with self._file.open("ab", buffering=0) as file:
            if file.tell() + len(content) > self._room or not _written(file, content):
                return
            place, rest = divmod(file.tell() - len(content), LINE)
        # Behind a write for which the disk had no room nothing is found again.
        if not rest:
            self._table[index] = ((place + 1) * SIDE + height) * SIDE + width


def _written(file: io.FileIO, content: bytes) -> bool:
    """Write all, or tell that the disk has no room."""
    try:
        return file.write(content) == len(content)
    except OSError:
        return False


def _remove(folder: Path, owner: int, held: int | None) -> None:
    """Remove the files; a child by fork, which inherits the duty, leaves them alone."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)
