"""Files of a split: find them, and pair images with masks."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.errors import ConfigError, DataError, LayoutNotFoundError
from segdeploy.imaging.bands import BandSelection, StoredBands, read_bands, read_stored
from segdeploy.imaging.io import EXTENSIONS, read_image

BY_FOLDER = "as the folders say"
"""Rule of a dataset whose authors divided the files."""

NAMED = 5
"""Files that a message names; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image file and the file of its mask.

    Attributes:
        name: Name of the image within its split, without folder and ending; unique.
        image: File of the image.
        mask: File of its mask, which may be the image's own (side by side) or one for many images
            (COCO); None where a split has no masks.
    """

    name: str
    image: Path
    mask: Path | None


class MaskFormat(Protocol):
    """Reads the masks of a layout; a plain value that can be pickled for a worker process."""

    def read(self, pair: Pair) -> Mask:
        """Return (H, W) uint8 class indices, 255 = not labeled.

        Raises:
            DataError: The file cannot be read, or holds a value that is not a class.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FileDataset:
    """One split that lies in files, as a `Dataset`.

    Attributes:
        classes: Classes in the order of the masks' indices.
        pairs: Files of the images and their masks, in order.
        mask_format: Reads a mask.
        read: Reads an image.
        rule: Description of how the dataset was split.
    """

    classes: tuple[LabelClass, ...]
    pairs: tuple[Pair, ...]
    mask_format: MaskFormat
    read: Callable[[Path], Image] = read_image
    rule: str = BY_FOLDER

    @property
    def names(self) -> Sequence[str]:
        """Name of each image."""
        return [pair.name for pair in self.pairs]

    def stored(self, index: int) -> StoredBands:
        """Return what the file of an image holds.

        Raises:
            ConfigError: The layout reads its images in a way of its own.
            DataError: It cannot be read.
        """
        check_reader(self.read)
        return read_stored(self.pairs[index].image)

    def with_bands(self, selection: BandSelection) -> "FileDataset":
        """Return the split with images of other bands.

        Raises:
            ConfigError: The layout reads its images in a way of its own.
        """
        return replace(self, read=band_reader(self.read, selection))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read an image and its mask; without a mask file all pixels are 255.

        Raises:
            DataError: A file cannot be read, the sizes differ, or the mask holds a value that is
                no class.
        """
        pair = self.pairs[index]
        image = self.read(pair.image)
        height, width = image.shape[:2]
        if pair.mask is None:
            mask = np.full((height, width), IGNORE_INDEX, np.uint8)
        else:
            mask = self.mask_format.read(pair)
        if mask.shape != (height, width):
            msg = (
                f"{pair.mask} is {mask.shape[1]}x{mask.shape[0]} but its image is"
                f" {width}x{height}; make both the same size"
            )
            raise DataError(msg)
        return Sample(image=image, mask=mask, name=pair.name)


@dataclass(frozen=True, kw_only=True)
class DatasetIndex:
    """The files of one split, found by their names; none is opened yet.

    Attributes:
        classes: Classes in the order of the masks' indices.
        pairs: Images with their masks, sorted by name.
        unpaired: Images without a mask and masks without an image, sorted.
        mask_format: Reads a mask.
        read: Reads an image.
        rule: Description of how the dataset was split, with seed and share where it was random.
    """

    classes: tuple[LabelClass, ...]
    pairs: tuple[Pair, ...]
    unpaired: tuple[Path, ...]
    mask_format: MaskFormat
    read: Callable[[Path], Image] = read_image
    rule: str = BY_FOLDER

    def with_bands(self, selection: BandSelection) -> "DatasetIndex":
        """Return the split with images of other bands; see `FileDataset.with_bands`."""
        return replace(self, read=band_reader(self.read, selection))

    def dataset(self) -> FileDataset:
        """Return the split, to read samples from.

        Raises:
            DataError: A file has no counterpart.
        """
        if self.unpaired:
            first, *rest = self.unpaired
            others = f" (nor have {listed(rest)})" if rest else ""
            msg = f"{first} has no counterpart of the same name{others}; add it or remove the file"
            raise DataError(msg)
        return FileDataset(
            classes=self.classes,
            pairs=self.pairs,
            mask_format=self.mask_format,
            read=self.read,
            rule=self.rule,
        )


def check_reader(read: Callable[[Path], Image]) -> None:
    """Raise a ConfigError where a layout reads its images in a way of its own."""
    if read is not read_image and not isinstance(read, partial):
        msg = (
            "the dataset's layout reads its images in a way of its own, as colors; arrange the"
            " files as the layout 'folder' does"
        )
        raise ConfigError(msg)


def band_reader(read: Callable[[Path], Image], selection: BandSelection) -> Callable[[Path], Image]:
    """Return what reads bands instead of what reads colors.

    Raises:
        ConfigError: It reads in a way of its own.
    """
    check_reader(read)
    return partial(read_bands, selection=selection)


class Layout(Protocol):
    """How the files of a dataset are arranged in folders."""

    @property
    def name(self) -> str:
        """Name of the dataset, as `--dataset` takes it."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that such a dataset may have."""
        ...

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find the files of a split in the folder `data`.

        Raises:
            LayoutNotFoundError: There are none; the message says which files were expected.
            DataError: There are some, and they contradict the layout.
        """
        ...


def check_split(layout: Layout, split: str) -> None:
    """Raise a ConfigError where a layout has no such split."""
    if split not in layout.splits:
        msg = (
            f"the dataset {layout.name!r} has no split {split!r}; choose one of"
            f" {', '.join(layout.splits)}"
        )
        raise ConfigError(msg)


def listed(paths: Sequence[Path]) -> str:
    """Return the first few paths as text, and how many more there are."""
    rest = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(map(str, paths[:NAMED])) + rest


def find_files(
    folder: Path, endings: Collection[str] = EXTENSIONS, *, needs: str
) -> dict[str, Path]:
    """Find the files of one folder by the end of their names.

    Args:
        folder: Where to search; subfolders are not entered, and hidden files are left out.
        endings: How a name may end, in lower case, for example "_mask.gif"; the case of the file's
            name does not matter.
        needs: Which files the layout expects, for the message where there are none.

    Returns:
        Path of each file by its name without the ending, sorted.

    Raises:
        LayoutNotFoundError: There is no such folder, or no such file in it.
        DataError: The folder cannot be read, or two files differ in their ending only.
    """
    files = _scan(folder, endings, needs=needs)
    if not files:
        raise _no_files(folder, endings, needs=needs)
    return files


def find_tree(folder: Path, endings: Collection[str] = EXTENSIONS) -> dict[str, Path]:
    """Find the files in a folder and in all folders below it, as `find_files` does in one.

    Returns:
        Path of each file by its path below the folder, with slashes and with its ending, sorted;
        there may be none.

    Raises:
        LayoutNotFoundError: There is no such folder.
        DataError: A folder cannot be read.
    """
    found: dict[str, Path] = {}
    folders = [folder]
    for current in folders:
        for entry in _entries(current, needs="it is named by the dataset's layout"):
            # Links to folders are not followed: they can lead in circles.
            if entry.is_dir(follow_symlinks=False):
                folders.append(current / entry.name)
            elif _is_listed(entry) and entry.name.lower().endswith(tuple(endings)):
                path = current / entry.name
                found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def find_below(folder: Path, endings: Collection[str], *, needs: str) -> dict[str, Path]:
    """Find the files in the subfolders of a folder, as `find_files` does in one.

    Returns:
        Path of each file by "SUBFOLDER/NAME", the name without the ending.

    Raises:
        LayoutNotFoundError: There is no such folder, no subfolder, or no such file in them.
        DataError: A folder cannot be read, or two files differ in their ending only.
    """
    files = {
        f"{subfolder.name}/{key}": path
        for subfolder in find_folders(folder, needs=needs)
        for key, path in _scan(subfolder, endings, needs=needs).items()
    }
    if not files:
        raise _no_files(folder / "*", endings, needs=needs)
    return files


def find_folders(folder: Path, *, needs: str) -> list[Path]:
    """Return the subfolders of a folder, sorted by name.

    Raises:
        LayoutNotFoundError: There is no such folder, or no subfolder.
    """
    names = [entry.name for entry in _entries(folder, needs=needs) if entry.is_dir()]
    if not names:
        msg = f"there is no folder in {folder}; {needs}"
        raise LayoutNotFoundError(msg)
    return [folder / name for name in names]


def _scan(folder: Path, endings: Collection[str], *, needs: str) -> dict[str, Path]:
    """Return the files as `find_files` does; there may be none."""
    names = [entry.name for entry in _entries(folder, needs=needs) if _is_listed(entry)]
    longest_first = sorted(endings, key=len, reverse=True)
    files: dict[str, Path] = {}
    for name in names:
        ending = next((end for end in longest_first if name.lower().endswith(end)), None)
        if ending is None:
            continue
        key = name[: -len(ending)]
        if key in files:
            msg = f"{files[key]} and {folder / name} have the same name; remove one of them"
            raise DataError(msg)
        files[key] = folder / name
    return files


def _entries(folder: Path, *, needs: str) -> list[os.DirEntry[str]]:
    """Return what lies in a folder and is not hidden, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"there is no folder {folder}; {needs}"
        raise LayoutNotFoundError(msg) from error
    except OSError as error:
        msg = f"cannot read the folder {folder}: {error.strerror or error}"
        raise DataError(msg) from error
    return sorted(visible, key=lambda entry: entry.name)


def _is_listed(entry: os.DirEntry[str]) -> bool:
    """Return whether something in a folder is a file, or a link to one that is missing.

    A missing file is reported by its name; a pipe or a device would be waited for.
    """
    return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())


def _no_files(folder: Path, endings: Collection[str], *, needs: str) -> LayoutNotFoundError:
    return LayoutNotFoundError(
        f"no file in {folder} is named *{', *'.join(sorted(endings))}; {needs}"
    )


def match(
    images: Mapping[str, Path], masks: Mapping[str, Path]
) -> tuple[tuple[Pair, ...], tuple[Path, ...]]:
    """Pair images and masks by their keys; see `names_of` for the names of the pairs.

    Example:
        ```python
        pairs, unpaired = match(
            find_files(data / split, (".jpg",), needs=NEEDS),
            find_files(data / split, ("_mask.png",), needs=NEEDS),
        )
        ```

    Returns:
        The pairs, sorted by key, and the files whose key the other side lacks, sorted.
    """
    keys = sorted(images.keys() & masks.keys())
    pairs = tuple(
        Pair(name=name, image=images[key], mask=masks[key])
        for key, name in zip(keys, names_of(keys), strict=True)
    )
    unpaired = [images[key] for key in images.keys() - masks.keys()]
    unpaired += [masks[key] for key in masks.keys() - images.keys()]
    return pairs, tuple(sorted(unpaired))


def without_mask(images: Mapping[str, Path]) -> tuple[Pair, ...]:
    """Return the pairs of images that have no masks, as those of a test split, sorted by key."""
    keys = sorted(images)
    return tuple(
        Pair(name=name, image=images[key], mask=None)
        for key, name in zip(keys, names_of(keys), strict=True)
    )


def names_of(keys: Sequence[str]) -> list[str]:
    """Return a unique name for each of the different keys, also as the name of a file.

    A slash becomes an underscore, and where that name is another key's, -2, -3 ... follows.
    """
    taken = {key.casefold() for key in keys if "/" not in key}
    names: list[str] = []
    for key in keys:
        name, number = key.replace("/", "_"), 1
        while "/" in key and name.casefold() in taken:
            number += 1
            name = f"{key.replace('/', '_')}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
