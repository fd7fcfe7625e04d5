"""What a dataset gives: an image and its truth."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from segdeploy.arrays import Image, Mask
from segdeploy.card import LabelClass


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image and its truth.

    Attributes:
        image: (H, W, 3) uint8, blue-green-red.
        mask: (H, W) uint8, the index of a class each; 255 is not labeled.
        name: Name of the image within its split, without folder and ending.
    """

    image: Image
    mask: Mask
    name: str


class Dataset(Protocol):
    """One split of a dataset; it is a plain value that a worker process can be given."""

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
        """How the split came to be, in words, with seed and share where it was drawn by lot."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; raises DataError, with the file's name, where it cannot be used."""
        ...


def fingerprint(**splits: Dataset) -> str:
    """Return the SHA-256 over the names of the images of each split, as hexadecimal text."""
    lines = [f"{split}/{name}" for split in sorted(splits) for name in splits[split].names]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def spread(count: int, most: int | None) -> list[int]:
    """Pick at most `most` of `count` indices, evenly spread; all where it is None."""
    taken = count if most is None else min(count, most)
    return [(2 * place + 1) * count // (2 * taken) for place in range(taken)]
