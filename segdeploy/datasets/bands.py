"""What bands and bits the images of a dataset have."""

from collections.abc import Mapping
from contextlib import suppress

from segdeploy.card import COLORS
from segdeploy.datasets.dataset import BandDataset, Dataset
from segdeploy.datasets.index import DatasetIndex, FileDataset
from segdeploy.errors import ConfigError, DataError, MissingExtraError
from segdeploy.imaging.bands import BandSelection, StoredBands

GRAY_OR_COLOR = frozenset({1, len(COLORS)})
"""Bands of images of 8 bits that are read as colors, as ever."""


def first_stored(samples: Dataset) -> StoredBands:
    """Return all that the file of the first image holds.

    Raises:
        ConfigError: The dataset makes images of its own.
        DataError: It is empty, or the file cannot be read.
        MissingExtraError: A library for its bands is not installed.
    """
    if not isinstance(samples, BandDataset):
        msg = "the dataset makes images of its own; leave out bands, channels and intensity"
        raise ConfigError(msg)
    if not len(samples):
        msg = "the dataset holds no image; check the split and the folder"
        raise DataError(msg)
    return samples.stored(0)


def unusual_stored(samples: Dataset) -> StoredBands | None:
    """Return what the first image holds where that is more than gray or color of 8 bits.

    Whatever is wrong with its file is reported by what reads it.

    Raises:
        MissingExtraError: It cannot be read without a library for bands.
    """
    stored = None
    with suppress(ConfigError, DataError):
        try:
            stored = first_stored(samples)
        except MissingExtraError as missing:
            # Without the library, colors of 8 bits are read as ever.
            try:
                samples[0]
            except DataError:
                raise missing from None
    if stored is None or (stored.dtype == "uint8" and len(stored.usual) in GRAY_OR_COLOR):
        return None
    return stored


def names_of_bands(stored: StoredBands) -> tuple[str, ...]:
    """Return the names of all bands of a file, which may have none."""
    count = stored.pixels.shape[2]
    return stored.names or tuple(f"band {number}" for number in range(1, count + 1))


def with_all_bands(indexes: Mapping[str, DatasetIndex]) -> dict[str, DatasetIndex]:
    """Return indexes that read all bands of their images, as a training does by default."""
    first = indexes["train"]
    files = FileDataset(
        classes=first.classes, pairs=first.pairs, mask_format=first.mask_format, read=first.read
    )
    selection = all_bands(files)
    if selection is None:
        return dict(indexes)
    return {split: index.with_bands(selection) for split, index in indexes.items()}


def all_bands(samples: Dataset) -> BandSelection | None:
    """Return the selection of all bands of a dataset; None where its images are usual ones."""
    stored = unusual_stored(samples)
    if stored is None:
        return None
    names = names_of_bands(stored)
    return BandSelection(channels=tuple(names[index] for index in stored.usual), dtype=stored.dtype)


def selection_of(samples: object) -> BandSelection | None:
    """Return which bands a dataset or an index reads; None where it reads usual images."""
    selection = getattr(getattr(samples, "read", None), "keywords", {}).get("selection")
    return selection if isinstance(selection, BandSelection) else None


def holds_colors(samples: object) -> bool:
    """Return whether the images of a dataset or an index are red, green and blue, of any type."""
    selection = selection_of(samples)
    return selection is None or selection.is_color
