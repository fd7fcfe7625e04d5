"""Read images of any bands and bits, as the network of a model card takes them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image
from segdeploy.card import COLORS, MAX_CHANNELS, Dtype, InputSpec
from segdeploy.errors import DataError
from segdeploy.imaging.header import DAMAGE, check_pixels, open_image, orientation_of
from segdeploy.imaging.io import (
    EXTENSIONS,
    content_of,
    decode_image,
    is_whole_png,
    read_image,
)
from segdeploy.system.budget import check_budget

NPY = b"\x93NUMPY"
PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+")
"""How files begin that may hold more than red, green and blue of 8 bits."""

DICOM_AT, DICOM = 128, b"DICM"
"""Where a DICOM file has its mark (PS3.10, section 7.1)."""

BAND_EXTENSIONS = EXTENSIONS | {".npy"}
"""File name extensions of bands."""

GRAY, GRAY_ALPHA, RGBA = 0, 4, 6
"""Color types in the header of a PNG (PNG specification, section 11.2.2)."""

Numbers = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class StoredBands:
    """What a file of bands holds.

    Attributes:
        pixels: (H, W, C), numbers as they are stored, red before green before blue.
        usual: Indices of the bands that are taken unless others are named: all but opacity.
        names: Names of the bands, or () where the file has none.
    """

    pixels: Numbers
    usual: tuple[int, ...]
    names: tuple[str, ...] = ()

    @property
    def dtype(self) -> Dtype:
        """Type in which a network takes such numbers without losing any."""
        kind = str(self.pixels.dtype)
        return "uint8" if kind == "uint8" else "uint16" if kind == "uint16" else "float32"


@dataclass(frozen=True, kw_only=True)
class BandSelection:
    """Which bands of a file are read, and as what.

    Attributes:
        channels: Names of the channels, in order.
        dtype: Type of the result.
        numbers: Bands of the file, from 1; empty for all but opacity, which must be as many as the
            channels, or have their names.
    """

    channels: tuple[str, ...]
    dtype: Dtype
    numbers: tuple[int, ...] = ()

    @classmethod
    def of(cls, spec: InputSpec) -> Self:
        """Return what a network takes."""
        return cls(channels=spec.channels, dtype=spec.dtype, numbers=spec.bands)

    @property
    def is_color(self) -> bool:
        """Whether the result is a color image, which is held blue-green-red."""
        return self.channels == COLORS


def reader_for(spec: InputSpec) -> Callable[[Path], Image]:
    """Return a function that reads an image as a network takes it; processes can send it."""
    if spec.is_plain:
        return read_image
    return partial(read_bands, selection=BandSelection.of(spec))


def decode_for(content: bytes, spec: InputSpec, *, name: str) -> Image:
    """Return the image in the bytes of a file, as `reader_for` would read it.

    Raises:
        DataError: It is no image, is damaged, or does not hold the bands.
    """
    if spec.is_plain:
        return decode_image(content, name=name)
    return select(decode_bands(content, name=name), BandSelection.of(spec), name=name)


def read_bands(path: Path, *, selection: BandSelection) -> Image:
    """Read the selected bands of an image.

    Args:
        path: PNG, TIFF, .npy or another image, or a folder with a file for each band.
        selection: Bands and type.

    Returns:
        (H, W, C), the channels in the selection's order; red, green and blue are held
        blue-green-red.

    Raises:
        DataError: The file cannot be read, or does not hold these bands or numbers.
    """
    return select(read_stored(path), selection, name=str(path))


def read_stored(path: Path) -> StoredBands:
    """Read all bands of a file, or of a folder of files with one band each.

    Raises:
        DataError: There is none, it is damaged, or would take more memory than its budget.
    """
    if path.is_dir():
        return _read_folder(path)
    return decode_bands(content_of(path), name=str(path))


def decode_bands(content: bytes, *, name: str) -> StoredBands:
    """Return all bands in the bytes of a file, as `read_stored` does.

    Raises:
        DataError: See there.
    """
    if content[DICOM_AT : DICOM_AT + len(DICOM)] == DICOM:
        msg = f"{name} is a DICOM file, which is not read; store its pixels as PNG or TIFF"
        raise DataError(msg)
    if content.startswith(NPY):
        return _decode_npy(content, name)
    if content.startswith(TIFF):
        from segdeploy.imaging.tiff import read_tiff

        if (found := read_tiff(content, name=name)) is not None:
            pixels, usual, names, orientation = found
            return StoredBands(pixels=_upright(pixels, orientation), usual=usual, names=names)
    if content.startswith(PNG):
        return _decode_png(content, name)
    colors = decode_image(content, name=name)[:, :, ::-1]
    return StoredBands(pixels=colors, usual=(0, 1, 2), names=COLORS)


def select(stored: StoredBands, selection: BandSelection, *, name: str) -> Image:
    """Return the selected bands of what a file holds, as `read_bands` does.

    Raises:
        DataError: The file lacks a band, or the type cannot hold its numbers.
    """
    chosen = _chosen(stored, selection, name=name)
    if selection.is_color:
        chosen = chosen[::-1]
    pixels = stored.pixels
    if chosen != list(range(pixels.shape[2])):
        pixels = pixels[:, :, chosen]
    return np.ascontiguousarray(_converted(pixels, selection.dtype, name=name))


def _chosen(stored: StoredBands, selection: BandSelection, *, name: str) -> list[int]:
    """Return the indices of the selected bands."""
    count = stored.pixels.shape[2]
    wanted = selection.channels
    if selection.numbers:
        if (largest := max(selection.numbers)) > count:
            msg = (
                f"{name} has {count} bands and no band {largest}, which the network takes; use"
                " files with the bands that it was trained on"
            )
            raise DataError(msg)
        return [number - 1 for number in selection.numbers]
    if set(wanted) <= set(stored.names):
        return [stored.names.index(channel) for channel in wanted]
    if len(stored.usual) != len(wanted):
        msg = (
            f"{name} has {len(stored.usual)} bands, and the network takes {len(wanted)}"
            f" ({', '.join(wanted)[:100]}); use files with these"
        )
        raise DataError(msg)
    return list(stored.usual)


def _converted(pixels: Numbers, dtype: Dtype, *, name: str) -> Image:
    """Return numbers as another type where that loses none."""
    if pixels.dtype == dtype:
        return pixels
    kind = pixels.dtype.kind
    if dtype == "float32" and kind in "uif":
        # Beyond its range a number becomes infinite, which is read as no data.
        with np.errstate(over="ignore"):
            return pixels.astype(np.float32)
    # Numbers of 8 bits are no small ones of 16: another camera or program wrote the file.
    fits = (
        kind in "ui"
        and pixels.dtype.itemsize > 1
        and pixels.min() >= 0
        and pixels.max() <= np.iinfo(dtype).max
        and dtype == "uint16"
    )
    if not fits:
        msg = (
            f"{name} holds {pixels.dtype} from {pixels.min()} to {pixels.max()}, and the network"
            f" takes {dtype}; use files as it was trained on"
        )
        raise DataError(msg)
    return pixels.astype(np.uint16)


def _read_folder(folder: Path) -> StoredBands:
    """Read a folder of files that hold one band each, named by the band."""
    paths = band_files(folder)
    if not 1 <= len(paths) <= MAX_CHANNELS:
        msg = (
            f"{folder} holds {len(paths)} files of bands; an image has 1 to {MAX_CHANNELS}, a file"
            " each"
        )
        raise DataError(msg)
    planes: list[Numbers] = []
    for path in paths:
        stored = decode_bands(content_of(path), name=str(path))
        plane = stored.pixels[:, :, list(stored.usual)]
        first = planes[0] if planes else plane
        if plane.shape[2] != 1 or (plane.shape, plane.dtype) != (first.shape, first.dtype):
            msg = (
                f"{path} holds {plane.shape[2]} bands of {plane.shape[1]} x {plane.shape[0]} pixels"
                f" of {plane.dtype}; each file of {folder} must hold one, of"
                f" {first.shape[1]} x {first.shape[0]} pixels of {first.dtype}"
            )
            raise DataError(msg)
        planes.append(plane)
    pixels = np.concatenate(planes, axis=2)
    return StoredBands(
        pixels=pixels, usual=tuple(range(len(paths))), names=tuple(path.stem for path in paths)
    )


def band_files(folder: Path) -> list[Path]:
    """Return the files of bands in a folder, sorted by name."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        msg = f"cannot read the folder {folder}: {error.strerror or error}"
        raise DataError(msg) from error
    return [
        path
        for path in found
        if path.suffix.lower() in BAND_EXTENSIONS and not path.name.startswith(".")
    ]


def _decode_npy(content: bytes, name: str) -> StoredBands:
    """Return the array of a NumPy file, (H, W) or (H, W, C); no object is ever built from it."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, columns_first, dtype = read_header(file)
    # A damaged header raises anything that Python's parser does.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        msg = (
            f"{name} is a damaged NumPy file ({type(error).__name__}: {reason}); use a complete"
            " copy of it"
        )
        raise DataError(msg) from error
    fits = len(shape) in {2, 3} and min(shape) > 0 and shape[2:] <= (MAX_CHANNELS,)
    if not fits or dtype.kind not in "uif":
        msg = (
            f"{name} holds {dtype} of the shape {shape}; an image is (H, W) or (H, W, C) numbers"
            f" of up to {MAX_CHANNELS} bands"
        )
        raise DataError(msg)
    count = int(np.prod(shape, dtype=object))
    check_budget(
        f"{name} has the shape {shape}",
        2 * count * dtype.itemsize,
        size=len(content),
        error=DataError,
    )
    values = np.frombuffer(content, np.uint8, offset=file.tell())
    if len(values) < count * dtype.itemsize:
        msg = f"{name} ends before its last number; use a complete copy of it"
        raise DataError(msg)
    array = values[: count * dtype.itemsize].view(dtype)
    pixels = array.reshape(shape, order="F" if columns_first else "C")
    pixels = pixels.astype(dtype.newbyteorder("="), copy=False)
    pixels = pixels.reshape(*shape[:2], -1)
    return StoredBands(pixels=pixels, usual=tuple(range(pixels.shape[2])))


def _decode_png(content: bytes, name: str) -> StoredBands:
    """Return the bands of a PNG: gray or red, green, blue, and opacity; a palette's colors."""
    try:
        with open_image(io.BytesIO(content)) as image:
            check_pixels(image, name=name, size=len(content))
            orientation = orientation_of(image)
            damaged = not is_whole_png(content)
            has_palette = image.mode in {"P", "1"}
    except DAMAGE as error:
        msg = f"{name} is a damaged image ({type(error).__name__}); use a complete copy of it"
        raise DataError(msg) from error
    if has_palette or content[24] < 8:  # The bits of a number, in the header.
        colors = decode_image(content, name=name)[:, :, ::-1]
        return StoredBands(pixels=colors, usual=(0, 1, 2), names=COLORS)
    array = (
        None if damaged else cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    )
    if array is None:
        msg = f"{name} is a damaged image; use a complete copy of it"
        raise DataError(msg)
    kind = content[25]
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.shape[2] >= len(COLORS):
        pixels = pixels[:, :, [2, 1, 0, *range(3, pixels.shape[2])]]
    if kind in {GRAY, GRAY_ALPHA} and pixels.shape[2] > 1:
        # OpenCV makes three equal colors of gray that has opacity.
        pixels = pixels[:, :, [0, *range(3, pixels.shape[2])]]
    opaque = pixels.shape[2] - (kind in {GRAY_ALPHA, RGBA})
    names = ("gray",) if kind in {GRAY, GRAY_ALPHA} else COLORS
    return StoredBands(
        pixels=_upright(pixels, orientation),
        usual=tuple(range(opaque)),
        names=names + ("opacity",) * (pixels.shape[2] - opaque),
    )


def _upright(pixels: Numbers, orientation: int) -> Numbers:
    """Return the upright image of stored pixels with this EXIF orientation, as `io.turned` does."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in {3, 4, 7, 8} else 1
    columns = -1 if orientation in {2, 3, 6, 7} else 1
    return pixels[::rows, ::columns]


def neutralized(image: Image, spec: InputSpec) -> Image:
    """Return an image in which numbers that are none (NaN, infinity) become the neutral ones.

    They would spread through a network to all pixels near them.
    """
    if image.dtype != np.float32:
        return image
    valid = np.isfinite(image)
    if valid.all():
        return image
    neutral = np.asarray(spec.neutral[::-1] if spec.is_color else spec.neutral, np.float32)
    return np.where(valid, image, neutral)
