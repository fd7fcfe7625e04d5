"""Images and masks in files."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from segdeploy.arrays import Image, Mask
from segdeploy.errors import ConfigError, DataError
from segdeploy.system.files import write_bytes

ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Endings by which an image is found in a folder."""

# What a damaged file makes Pillow's readers raise; a warning of theirs too, where the user has made
# errors of warnings.
DAMAGE = (
    PillowImage.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    Warning,
)

PNG_EXTRAS = frozenset({"default_image", "exif", "transparency"})
"""What Pillow tells of a PNG that OpenCV takes in its own way: animation, orientation, a color that
is transparent."""


def read_image(path: Path) -> Image:
    """Read an image, (H, W, 3) uint8 blue-green-red, upright as its EXIF orientation says.

    Gray becomes three equal channels, a palette its colors, 16 bits their upper 8, CMYK its red,
    green and blue. Transparency is dropped and the colors under it are kept, as OpenCV and
    torchvision do. Of an animation the first image is read.

    Raises:
        DataError: There is no such file, it is no image, it is cut short, or it has more pixels
            than Pillow allows (179 million).
    """
    content = _content(path)
    try:
        with PillowImage.open(io.BytesIO(content)) as image:
            if _is_plain_jpeg(image, content) or _is_plain_png(image, content, "RGB"):
                return _decode_plain(path, content, cv2.IMREAD_COLOR)
            return _to_image(image)
    except DAMAGE as error:
        raise _damaged(path, error) from error


def check_image(picture: Image) -> None:
    """Make sure that what a caller gives is an image.

    Whatever else an array may hold, it would be answered, and wrongly.

    Raises:
        DataError: It is no array (H, W, 3) of uint8, or an empty one.
    """
    if (
        isinstance(picture, np.ndarray)
        and picture.dtype == np.uint8
        and picture.ndim == 3
        and picture.shape[2] == 3
        and picture.size
    ):
        return
    found = (
        f"{picture.dtype} of shape {picture.shape}"
        if isinstance(picture, np.ndarray)
        else f"a {type(picture).__name__}"
    )
    msg = f"the image is {found}; give (H, W, 3) uint8, blue-green-red as cv2.imread reads it"
    raise DataError(msg)


def read_ids(path: Path) -> Mask:
    """Read a mask, (H, W) uint8, from a gray or palette image.

    The stored numbers, whatever colors a palette gives them.

    Raises:
        DataError: There is no such file, it is cut short, or its pixels are no single numbers in 0
            ... 255.
    """
    content = _content(path)
    try:
        with PillowImage.open(io.BytesIO(content)) as image:
            if _is_plain_png(image, content, "L"):
                return _decode_plain(path, content, cv2.IMREAD_GRAYSCALE)
            mode = image.mode
            numbers = np.asarray(image)
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if numbers.ndim != 2 or mode == "F" or numbers.min() < 0 or numbers.max() > 255:
        msg = (
            f"{path} holds colors or numbers outside 0 to 255 (Pillow's mode {mode}); store one"
            " class index a pixel"
        )
        raise DataError(msg)
    return (numbers // _spread(content)).astype(np.uint8)


def write_image(path: Path, picture: Image | Mask) -> None:
    """Write an image, or a mask as gray numbers, whole or not at all; the ending names the format.

    Args:
        path: Name of the file; .png keeps every number, .jpg does not and so takes no mask.
        image: (H, W, 3) uint8 blue-green-red, (H, W, 4) with opacity behind it, or (H, W) uint8.

    Raises:
        ConfigError: The ending is of no format that can be written.
        OutputError: The file cannot be written.
    """
    ending = path.suffix.lower()
    exact = picture.ndim == 2 or picture.shape[2] == 4
    if ending not in {".png", ".jpg", ".jpeg"} or (exact and ending != ".png"):
        allowed = ".png" if exact else ".png or .jpg"
        msg = f"cannot write {path}; its name must end in {allowed}"
        raise ConfigError(msg)
    _, content = cv2.imencode(ending, picture)
    write_bytes(path, content.tobytes())


def write_indexed(path: Path, mask: Mask, colors: Sequence[tuple[int, int, int]]) -> None:
    """Write a mask as PNG with a palette.

    The stored numbers are the mask's, and what shows it gives them colors.

    Args:
        path: Name of the file, which ends in .png.
        mask: (H, W) uint8.
        colors: Red, green and blue of each number from 0 on; further ones are black.

    Raises:
        OutputError: The file cannot be written.
    """
    image = PillowImage.fromarray(mask)
    image.putpalette(
        [channel for color in colors for channel in color] + [0, 0, 0] * (256 - len(colors))
    )
    content = io.BytesIO()
    image.save(content, "png", compress_level=3)
    write_bytes(path, content.getvalue())


def list_images(paths: Sequence[Path]) -> list[Path]:
    """Name every image: files as they are given, and those in a folder, sorted by name.

    Raises:
        DataError: A path does not exist, or no image is found.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            msg = f"there is no {path}; name an image or a folder of images"
            raise DataError(msg)
        found += _in_folder(path) if path.is_dir() else [path]
    if not found:
        msg = (
            f"no image lies in {', '.join(map(str, paths)) or 'an empty list'}; known endings are"
            f" {', '.join(sorted(ENDINGS))}"
        )
        raise DataError(msg)
    return found


def _in_folder(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in ENDINGS and path.is_file() and not path.name.startswith(".")
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        msg = f"there is no {path}; check the name"
        raise DataError(msg) from error
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DataError(msg) from error


def _damaged(path: Path, error: BaseException) -> DataError:
    if isinstance(error, UnidentifiedImageError):
        return DataError(
            f"{path} is no image of a known format; known endings are {', '.join(sorted(ENDINGS))}"
        )
    if isinstance(error, PillowImage.DecompressionBombError):
        return DataError(f"{path} has more pixels than are read ({error}); make it smaller")
    reason = " ".join(str(error).split())
    return DataError(
        f"{path} is a damaged image ({type(error).__name__}: {reason}); take a whole copy of it"
    )


def _is_plain_jpeg(image: PillowImage.Image, content: bytes) -> bool:
    """Return whether OpenCV may decode it.

    Twice as fast, the same pixels, but a file cut short gives it gray instead of an error.
    """
    return image.format == "JPEG" and image.mode == "RGB" and content.endswith(b"\xff\xd9")


def _is_plain_png(image: PillowImage.Image, content: bytes, mode: str) -> bool:
    """Return whether OpenCV may decode it.

    A third faster, the same pixels, but of a damaged one libpng writes its own words to stderr.
    """
    eight_bits = content[24] == 8  # The depth of a channel, in the header.
    return (
        image.format == "PNG"
        and image.mode == mode
        and eight_bits
        and not PNG_EXTRAS & image.info.keys()
        and _is_whole_png(content)
    )


def _is_whole_png(content: bytes) -> bool:
    """Return whether every chunk up to the last has the checksum that it should have."""
    place = 8
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4])
        checksum = content[place + 8 + size : place + 12 + size]
        if zlib.crc32(memoryview(content)[place + 4 : place + 8 + size]) != int.from_bytes(
            checksum
        ):
            return False
        if content[place + 4 : place + 8] == b"IEND":
            return True
        place += 12 + size
    return False


def _decode_plain(path: Path, content: bytes, how: int) -> Image:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    if picture is None:
        msg = f"{path} is a damaged image; take a whole copy of it"
        raise DataError(msg)
    return np.asarray(picture, dtype=np.uint8)


def _to_image(image: PillowImage.Image) -> Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I;16", "I")):
        gray = (np.clip(np.asarray(upright), 0, 65535) >> 8).astype(np.uint8)
        return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    if upright.mode == "F":
        msg = "its numbers are floating point, and no image's"
        raise ValueError(msg)
    return np.asarray(
        cv2.cvtColor(np.asarray(upright.convert("RGB")), cv2.COLOR_RGB2BGR), dtype=np.uint8
    )


def _spread(content: bytes) -> int:
    """Return the factor by which Pillow spreads gray PNG numbers of 2 or 4 bits over 0 ... 255.

    1 for all else.
    """
    is_grey_png = content.startswith(b"\x89PNG") and content[25] == 0
    return {2: 85, 4: 17}.get(content[24], 1) if is_grey_png else 1
