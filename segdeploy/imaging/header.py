"""Open images of the formats that are read, and read what their headers declare."""

import re
import struct
import warnings
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from PIL import Image as PillowImage
from PIL.ImageFile import ImageFile

from segdeploy.errors import DataError
from segdeploy.system.budget import check_budget


class JpegFile(JpegImagePlugin.JpegImageFile):
    """Pillow's reader of JPEG, without the resolution, for which it would read all of EXIF."""

    def _read_dpi_from_exif(self) -> None:
        """Read nothing."""


READERS: dict[str, tuple[bytes, type[ImageFile]]] = {
    "BMP": (rb"BM", BmpImagePlugin.BmpImageFile),
    "GIF": (rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    "JPEG": (rb"\xff\xd8\xff", JpegFile),
    "PNG": (rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    "PPM": (rb"P[1-6f]", PpmImagePlugin.PpmImageFile),
    "TIFF": (rb"II[*+]\0|MM\0[*+]", TiffImagePlugin.TiffImageFile),
    "WEBP": (rb"RIFF....WEBP", WebPImagePlugin.WebPImageFile),
}
"""How a file of each format begins, as a regular expression, and Pillow's reader of it.

The formats are those that libraries decode inside the process, whatever a file is called. Of the
others, some start programs (EPS is PostScript, which Pillow gives to Ghostscript), and some need a
parser of a language or are rarely maintained."""

DAMAGE = (
    PillowImage.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Warning,
)
"""What Pillow's readers raise for a damaged file; also their warnings, where the user has turned
warnings into errors."""

COLORS = 12
"""Bytes of memory for a pixel while an image is read: Pillow's pixels as they are stored and in
red, green and blue, 4 bytes each, and the array."""

IDS = 6
"""Bytes of memory for a pixel while class ids are read and checked."""

COEFFICIENTS = 6
"""Bytes that a progressive JPEG takes in addition: three numbers of 16 bits for a pixel."""

CANVAS = 12
"""Bytes that a WebP takes in addition: libwebp holds the frame, and the canvas twice."""

TILE_WIDTH, TILE_HEIGHT = ExifTags.Base.TileWidth, ExifTags.Base.TileLength

PLACE_TAGS = frozenset({33550, 34264, 34735, 42113})
"""Tags of a TIFF that lies on earth (OGC GeoTIFF 1.1, section 7: scale, transformation, keys), and
GDAL's of the number that means no data."""

SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that exchange rows and columns."""

UPRIGHT = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
"""What makes stored pixels upright, for each EXIF orientation but 1 (EXIF 2.32, section 4.6.4, tag
274)."""


def open_image(source: Path | BinaryIO) -> ImageFile:
    """Open an image; every image that comes from outside is opened here.

    Only the header is read. The name of a file does not matter. Whoever decodes the pixels calls
    `check_pixels` before.

    Raises:
        OSError: The file cannot be read; `PIL.UnidentifiedImageError` if it is not an image of
            these formats. A damaged file raises any of `DAMAGE`.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            start = file.read(16)
        return _reader(start)(str(source))
    start = source.read(16)
    source.seek(0)
    return _reader(start)(source)


def begins_as_image(start: bytes) -> bool:
    """Return whether the first 16 bytes of a file are those of an image that can be read."""
    return any(re.match(pattern, start, re.DOTALL) for pattern, _ in READERS.values())


def _reader(start: bytes) -> type[ImageFile]:
    for pattern, reader in READERS.values():
        if re.match(pattern, start, re.DOTALL):
            return reader
    msg = "it begins as no known format does"
    raise UnidentifiedImageError(msg)


def is_tiff(path: Path) -> bool:
    """Return whether a file begins as a TIFF; there may be none."""
    try:
        with path.open("rb") as file:
            return re.match(READERS["TIFF"][0], file.read(4)) is not None
    except OSError:
        return False


def has_place(path: Path) -> bool:
    """Return whether a file is a TIFF whose first image lies on earth, or has pixels without data.

    A file that is damaged, or is no TIFF, has none.
    """
    if not is_tiff(path):
        return False
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # Whoever reads the pixels tells what is wrong.
            warnings.simplefilter("ignore")
            start = file.read(16)
            # The header of a BigTIFF is twice as long, and its version is 43.
            tags = TiffImagePlugin.ImageFileDirectory_v2(start if 43 in start[2:4] else start[:8])
            file.seek(tags.next)
            tags.load(file)
    except DAMAGE:
        return False
    return not PLACE_TAGS.isdisjoint(tags)


def check_pixels(image: ImageFile, *, name: str, size: int, per_pixel: int = COLORS) -> None:
    """Refuse an image that has no pixels, or would take more memory than its budget.

    Args:
        image: The image, of which the header was read.
        name: What messages call it.
        size: Size of its file, in bytes.
        per_pixel: Bytes of memory that decoding one pixel takes.

    Raises:
        DataError: It has too many pixels, or none.
    """
    width, height = image.size
    pixels = width * height
    if not pixels:
        msg = f"{name} has {width} x {height} pixels, so it is empty; use a complete copy of it"
        raise DataError(msg)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # A tile is decoded as a whole, however little of it lies inside the image.
        sides = (image.tag_v2.get(tag) for tag in (TILE_WIDTH, TILE_HEIGHT))
        pixels = max(pixels, prod(side for side in sides if isinstance(side, int)))
    if image.info.get("progressive"):
        per_pixel += COEFFICIENTS
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        per_pixel += CANVAS
    check_budget(
        f"{name} has {width} x {height} pixels", pixels * per_pixel, size=size, error=DataError
    )


def orientation_of(image: PillowImage.Image) -> int:
    """Return the EXIF orientation of the pixels that Pillow decodes, 1 (upright) to 8.

    Pillow turns a TIFF itself. EXIF that cannot be read is as none: cameras and programs write it
    in many ways, and the pixels are whole.
    """
    exif = PillowImage.Exif()
    try:
        if image.format != "TIFF":
            exif.load(image.info.get("exif", b""))
        orientation = exif.get(ExifTags.Base.Orientation)
    except DAMAGE:
        return 1
    return int(orientation) if orientation in UPRIGHT else 1
