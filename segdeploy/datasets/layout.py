"""Any data set that lies in files: which picture belongs to which truth, and how both become a sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from segdeploy.card import LabelClass
from segdeploy.datasets.sample import Sample
from segdeploy.errors import ConfigError, DataError
from segdeploy.pictures import Picture, read_picture
from segdeploy.scores import IGNORED, Mask

AS_IT_LIES = "as the folders say"
"""How the splits came to be where their makers divided the files."""

NAMED = 5
"""Files that a sentence names; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A picture and where its truth lies.

    Attributes:
        name: Name of the picture within its split, without folder and ending; no two are alike.
        image: File of the picture.
        mask: File of its truth, which may be the picture's own or one for many pictures; None where a split has no truth.
    """

    name: str
    image: Path
    mask: Path | None


class Truth(Protocol):
    """How the truth of a layout is read; a plain value that a worker process can be given."""

    def read(self, pair: Pair) -> Mask:
        """Give (H, W) uint8 class indices, 255 = not labelled; raises DataError with the file and the value that is wrong."""
        ...


@dataclass(frozen=True, kw_only=True)
class Files:
    """One split that lies in files.

    Attributes:
        classes: Classes in the order of the masks' indices.
        pairs: Pictures and their truth, in order.
        truth: Reads the truth.
        read_image: Reads a picture.
        rule: How the split came to be, in words.
    """

    classes: tuple[LabelClass, ...]
    pairs: tuple[Pair, ...]
    truth: Truth
    read_image: Callable[[Path], Picture] = read_picture
    rule: str = AS_IT_LIES

    @property
    def names(self) -> Sequence[str]:
        """Name of each picture."""
        return [pair.name for pair in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read one picture and its truth; without truth all is 255.

        Raises:
            DataError: A file cannot be read, the sizes differ, or the truth holds what is no class.
        """
        pair = self.pairs[index]
        image = self.read_image(pair.image)
        size = image.shape[:2]
        mask = np.full(size, IGNORED, np.uint8) if pair.mask is None else self.truth.read(pair)
        if mask.shape != size:
            found, wanted = (f"{shape[1]}x{shape[0]}" for shape in (mask.shape, size))
            msg = f"{pair.mask} is {found} but its picture is {wanted}; make both the same size"
            raise DataError(msg)
        return Sample(image=image, mask=mask, name=pair.name)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What lies in a split, its faults included; nothing is read yet but names.

    Attributes:
        classes: Classes in the order of the masks' indices.
        pairs: Pictures that have what they need, sorted by name.
        lonely: Pictures without truth and truths without picture, sorted.
        truth: Reads the truth.
        read_image: Reads a picture.
        rule: How the split came to be, in words, with seed and share where it was drawn by lot.
    """

    classes: tuple[LabelClass, ...]
    pairs: tuple[Pair, ...]
    lonely: tuple[Path, ...]
    truth: Truth
    read_image: Callable[[Path], Picture] = read_picture
    rule: str = AS_IT_LIES

    def dataset(self) -> Files:
        """Give the split for use.

        Raises:
            DataError: A file has no counterpart.
        """
        if self.lonely:
            others = f" (nor have {listed(self.lonely[1:])})" if len(self.lonely) > 1 else ""
            msg = f"{self.lonely[0]} has no counterpart of its name{others}; add it or remove the file"
            raise DataError(msg)
        return Files(classes=self.classes, pairs=self.pairs, truth=self.truth, read_image=self.read_image, rule=self.rule)


def listed(paths: Sequence[Path]) -> str:
    """Name the first few files, and count the rest."""
    rest = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(map(str, paths[:NAMED])) + rest


class Layout(Protocol):
    """A way to lay a data set into folders."""

    @property
    def name(self) -> str:
        """Name by which a user asks for it."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that such a data set may have."""
        ...

    def survey(self, data: Path, split: str) -> Survey:
        """Find the files of a split.

        Raises:
            AbsentError: There are none; it tells what was looked for.
            DataError: There are some, and what they say cannot be.
        """
        ...


def check_split(layout: Layout, split: str) -> None:
    """Refuse a split that a layout does not have, with a ConfigError."""
    if split not in layout.splits:
        msg = f"the data set {layout.name!r} has no split {split!r}; choose one of {', '.join(layout.splits)}"
        raise ConfigError(msg)
