"""What a dataset is: samples of an image and its mask, by index."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from segdeploy.arrays import Image, Mask
from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError
from segdeploy.imaging.bands import BandSelection, StoredBands

ALL = "all"
"""Name of the split that holds every image of a dataset."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image and its mask.

    Attributes:
        image: (H, W, 3) uint8, blue-green-red, or (H, W, C) of the selected bands.
        mask: (H, W) uint8, a class index each; 255 is not labeled.
        name: Name of the image within its split, without folder and ending.
    """

    image: Image
    mask: Mask
    name: str


class Dataset(Protocol):
    """One split of a dataset; a plain value that can be pickled for a worker process.

    Example:
        ```python
        samples = datasets.load("camvid", Path("data/camvid"), "val")
        for index in range(len(samples)):
            sample = samples[index]
            print(sample.name, sample.image.shape, np.unique(sample.mask))
        ```
    """

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes in the order of the masks' indices."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Name of each sample, in order."""
        ...

    @property
    def rule(self) -> str:
        """Description of how the dataset was split, with seed and share where it was random."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; raises DataError, with the file's name, where it cannot be used."""
        ...


@runtime_checkable
class BandDataset(Protocol):
    """A dataset in files, whose images may have any bands and bits."""

    def stored(self, index: int) -> StoredBands:
        """Return all that the file of an image holds; raises DataError where it cannot be read."""
        ...

    def with_bands(self, selection: BandSelection) -> Dataset:
        """Return the dataset with images of the selected bands."""
        ...


@dataclass(frozen=True, kw_only=True)
class LargeSample:
    """An image that need not fit into memory, with its labels.

    Attributes:
        name: Name of the image within its split.
        image: Its file.
        size: Height and width of the labels, in pixels.
        labels: Returns a number of rows of the labels from a row on, (n, W) uint8, 255 where
            nothing is labeled or another split has the pixels.
    """

    name: str
    image: Path
    size: tuple[int, int]
    labels: Callable[[int, int], Mask]


@runtime_checkable
class LargeDataset(Protocol):
    """A dataset whose samples are windows of large images."""

    def large_samples(self) -> Iterator[LargeSample]:
        """Yield the images of which the windows are."""
        ...


def with_bands(samples: Dataset, selection: BandSelection) -> Dataset:
    """Return a dataset whose images are read as the selected bands.

    Raises:
        ConfigError: It makes its images itself.
    """
    if not isinstance(samples, BandDataset):
        msg = (
            f"the dataset makes images of its own, and not of the channels"
            f" {', '.join(selection.channels)[:200]}; name one in files"
        )
        raise ConfigError(msg)
    return samples.with_bands(selection)


class JoinedDataset:
    """The splits of a dataset, one after the other, as one dataset.

    A name that several splits have is preceded by that of the split.
    """

    def __init__(self, splits: Mapping[str, Dataset]) -> None:
        """Join splits.

        Args:
            splits: At least one, by their names.
        """
        self._splits = splits
        self._parts = list(splits.values())
        self.classes = self._parts[0].classes
        self.rule = f"{' and '.join(splits)} together"
        counts = Counter(name for part in self._parts for name in part.names)
        self.names = [
            name if counts[name] == 1 else f"{split}-{name}"
            for split, part in splits.items()
            for name in part.names
        ]

    @property
    def parts(self) -> Sequence[Dataset]:
        """The splits, in order."""
        return self._parts

    def stored(self, index: int) -> StoredBands:
        """Return what the file of an image holds; see `BandDataset`."""
        part, number = self._place(index)
        assert isinstance(part, BandDataset), "whoever asks has checked `has_bands`"
        return part.stored(number)

    def with_bands(self, selection: BandSelection) -> "JoinedDataset":
        """Return the dataset with other bands; see `BandDataset`."""
        return JoinedDataset(
            {split: with_bands(part, selection) for split, part in self._splits.items()}
        )

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; see `Dataset`."""
        part, number = self._place(index)
        return replace(part[number], name=self.names[index])

    def _place(self, index: int) -> tuple[Dataset, int]:
        """Return the part that holds a sample, and its index there."""
        number = index
        for part in self._parts:
            if number < len(part):
                return part, number
            number -= len(part)
        raise IndexError(index)


def fingerprint(**splits: Dataset) -> str:
    """Return the SHA-256 over the names of the images of each split, as hexadecimal text."""
    lines = [f"{split}/{name}" for split in sorted(splits) for name in splits[split].names]
    return hashlib.sha256(as_bytes("\n".join(lines))).hexdigest()


def as_bytes(names: str) -> bytes:
    """Return text that holds names of files in UTF-8, also where a name itself is not UTF-8."""
    return names.encode("utf-8", "surrogatepass")


def evenly_spaced(count: int, most: int | None) -> list[int]:
    """Return at most `most` of the indices 0 ... count - 1, evenly spaced.

    The range is divided into parts of equal length and the middle of each is taken: the first and
    the last frame of a drive are its least typical ones, and a single index is the middle one.

    Args:
        count: Number of items to choose from.
        most: Largest number of indices; None for all.
    """
    chosen = count if most is None else min(count, most)
    return [(2 * part + 1) * count // (2 * chosen) for part in range(chosen)]
