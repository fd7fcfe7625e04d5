"""Files of a split: find, pair, split; Layout protocol."""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.errors import AbsentError, ConfigError, DataError
from segdeploy.imaging.io import ENDINGS, read_image

AS_IT_LIES = "as the folders say"
"""How the splits came to be where their makers divided the files."""

NAMED = 5
"""Files that a sentence names; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image and where its truth lies.

    Attributes:
        name: Name of the image within its split, without folder and ending; no two are alike.
        image: File of the image.
        mask: File of its truth, which may be the image's own or one for many images; None where
            a split has no truth.
    """

    name: str
    image: Path
    mask: Path | None


class Truth(Protocol):
    """How the truth of a layout is read; a plain value that a worker process can be given."""

    def read(self, pair: Pair) -> Mask:
        """Return (H, W) uint8 class indices, 255 = not labeled.

        Raises DataError with the file and the value that is wrong.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Files:
    """One split that lies in files.

    Attributes:
        classes: Classes in the order of the masks' indices.
        pairs: Images and their truth, in order.
        truth: Reads the truth.
        read: Reads an image.
        rule: How the split came to be, in words.
    """

    classes: tuple[LabelClass, ...]
    pairs: tuple[Pair, ...]
    truth: Truth
    read: Callable[[Path], Image] = read_image
    rule: str = AS_IT_LIES

    @property
    def names(self) -> Sequence[str]:
        """Name of each image."""
        return [pair.name for pair in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read one image and its truth; without truth all is 255.

        Raises:
            DataError: A file cannot be read, the sizes differ, or the truth holds what is no class.
        """
        pair = self.pairs[index]
        image = self.read(pair.image)
        size = image.shape[:2]
        mask = np.full(size, IGNORE_INDEX, np.uint8) if pair.mask is None else self.truth.read(pair)
        if mask.shape != size:
            found, wanted = (f"{shape[1]}x{shape[0]}" for shape in (mask.shape, size))
            msg = f"{pair.mask} is {found} but its image is {wanted}; make both the same size"
            raise DataError(msg)
        return Sample(image=image, mask=mask, name=pair.name)


@dataclass(frozen=True, kw_only=True)
class DatasetIndex:
    """What lies in a split, its faults included; nothing is read yet but names.

    Attributes:
        classes: Classes in the order of the masks' indices.
        pairs: Images that have what they need, sorted by name.
        lonely: Images without truth and truths without image, sorted.
        truth: Reads the truth.
        read: Reads an image.
        rule: How the split came to be, in words, with seed and share where it was drawn by lot.
    """

    classes: tuple[LabelClass, ...]
    pairs: tuple[Pair, ...]
    lonely: tuple[Path, ...]
    truth: Truth
    read: Callable[[Path], Image] = read_image
    rule: str = AS_IT_LIES

    def dataset(self) -> Files:
        """Return the split for use.

        Raises:
            DataError: A file has no counterpart.
        """
        if self.lonely:
            others = f" (nor have {listed(self.lonely[1:])})" if len(self.lonely) > 1 else ""
            msg = (
                f"{self.lonely[0]} has no counterpart of its name{others}; add it or remove the"
                " file"
            )
            raise DataError(msg)
        return Files(
            classes=self.classes,
            pairs=self.pairs,
            truth=self.truth,
            read=self.read,
            rule=self.rule,
        )


def listed(paths: Sequence[Path]) -> str:
    """Name the first few files, and count the rest."""
    rest = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(map(str, paths[:NAMED])) + rest


class Layout(Protocol):
    """A way to lay a dataset into folders."""

    @property
    def name(self) -> str:
        """Name by which a user asks for it."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that such a dataset may have."""
        ...

    def survey(self, data: Path, split: str) -> DatasetIndex:
        """Find the files of a split.

        Raises:
            AbsentError: There are none; it tells what was looked for.
            DataError: There are some, and what they say cannot be.
        """
        ...


def check_split(layout: Layout, split: str) -> None:
    """Refuse a split that a layout does not have, with a ConfigError."""
    if split not in layout.splits:
        msg = (
            f"the dataset {layout.name!r} has no split {split!r}; choose one of"
            f" {', '.join(layout.splits)}"
        )
        raise ConfigError(msg)


SEED = 0
HELD_OUT = 0.2
"""Share of a dataset that becomes its validation split where its makers chose none."""


def find_files(folder: Path, endings: Collection[str] = ENDINGS, *, needs: str) -> dict[str, Path]:
    """Find the files of one folder by the end of their names.

    Args:
        folder: Where to look; folders in it are not entered, and hidden files are left out.
        endings: How a name may end, in small letters, for example "_mask.gif"; large letters are
            taken for small ones.
        needs: What the layout needs, to be told where it is missing.

    Returns:
        Path of each file by its name without the ending.

    Raises:
        AbsentError: There is no such folder, or no such file in it.
        DataError: The folder cannot be read, or two files differ in their ending only.
    """
    found = _scan(folder, endings, needs=needs)
    if not found:
        raise _nothing(folder, endings, needs=needs)
    return found


def find_folders(folder: Path, *, needs: str) -> list[Path]:
    """Name the folders in a folder, sorted.

    Raises AbsentError where there is no such folder or none in it.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()
            )
    except OSError as error:
        raise _unopened(folder, error, needs=needs) from error
    if not names:
        msg = f"there is no folder in {folder}; {needs}"
        raise AbsentError(msg)
    return [folder / name for name in names]


def find_below(folder: Path, endings: Collection[str], *, needs: str) -> dict[str, Path]:
    """Find the files in the folders of a folder as `find_files` does, by the folder's name, a slash and their own."""
    inner = find_folders(folder, needs=needs)
    found = {
        f"{one.name}/{key}": path
        for one in inner
        for key, path in _scan(one, endings, needs=needs).items()
    }
    if not found:
        raise _nothing(folder / "*", endings, needs=needs)
    return found


def _scan(folder: Path, endings: Collection[str], *, needs: str) -> dict[str, Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and not entry.is_dir()
            )
    except OSError as error:
        raise _unopened(folder, error, needs=needs) from error
    found: dict[str, Path] = {}
    longest_first = sorted(endings, key=len, reverse=True)
    for name in names:
        ending = next((one for one in longest_first if name.lower().endswith(one)), None)
        if ending is None:
            continue
        key = name[: -len(ending)]
        if key in found:
            msg = f"{found[key]} and {folder / name} have one name; remove one of them"
            raise DataError(msg)
        found[key] = folder / name
    return found


def _unopened(folder: Path, error: OSError, *, needs: str) -> DataError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return AbsentError(f"there is no folder {folder}; {needs}")
    return DataError(f"cannot read the folder {folder}: {error.strerror or error}")


def _nothing(folder: Path, endings: Collection[str], *, needs: str) -> AbsentError:
    return AbsentError(f"no file in {folder} is named *{', *'.join(sorted(endings))}; {needs}")


def match(
    images: Mapping[str, Path], masks: Mapping[str, Path]
) -> tuple[tuple[Pair, ...], tuple[Path, ...]]:
    """Pair images and masks by their keys; a slash in a key becomes an underscore in the name.

    Returns:
        The pairs, sorted by key, and the files whose key the other side lacks, sorted.
    """
    pairs = tuple(
        Pair(name=key.replace("/", "_"), image=images[key], mask=masks[key])
        for key in sorted(images.keys() & masks.keys())
    )
    lonely = [
        path
        for side, other in ((images, masks), (masks, images))
        for key, path in side.items()
        if key not in other
    ]
    return pairs, tuple(sorted(lonely))


def without_truth(images: Mapping[str, Path]) -> tuple[Pair, ...]:
    """Make pairs of images whose truth nobody has."""
    return tuple(
        Pair(name=key.replace("/", "_"), image=images[key], mask=None) for key in sorted(images)
    )


def held_out(groups: Collection[str]) -> frozenset[str]:
    """Draw the groups that become the validation split: a fifth of them, at least one, never all.

    The lot of a group is the SHA-256 of the seed and its name, so that the draw is the same on
    every machine.

    Raises:
        DataError: There is only one group.
    """
    if len(set(groups)) < 2:
        msg = (
            f"only {next(iter(groups), 'nothing')} is there to be split into train and val; at"
            " least two are needed"
        )
        raise DataError(msg)
    lots = sorted(
        set(groups), key=lambda group: hashlib.sha256(f"{SEED}/{group}".encode()).digest()
    )
    return frozenset(lots[: max(1, round(HELD_OUT * len(lots)))])


def draw_split(
    pairs: Sequence[Pair], split: str, *, group: Callable[[Pair], str], of: str
) -> tuple[tuple[Pair, ...], str]:
    """Keep the pairs of one split, "train" or "val", where all images of a group fall on one side.

    Args:
        pairs: All pairs.
        split: "train" or "val".
        group: Names the group of a pair.
        of: What a group is, in the plural, for example "cars".

    Returns:
        The pairs of the split, and the rule in words.

    Raises:
        DataError: There is only one group.
    """
    val = held_out([group(pair) for pair in pairs]) if pairs else frozenset()
    rule = f"{HELD_OUT:.0%} of the {of} are val, drawn by SHA-256 with seed {SEED}"
    return tuple(pair for pair in pairs if (group(pair) in val) == (split == "val")), rule
