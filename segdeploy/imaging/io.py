"""Read and write images and masks."""

import io
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile

from segdeploy.arrays import Image, Mask
from segdeploy.card import InputSpec
from segdeploy.errors import (
    ConfigError,
    DataError,
    ImageError,
    MissingFileError,
    OutputError,
    SegdeployError,
)
from segdeploy.imaging.header import (
    DAMAGE,
    IDS,
    UPRIGHT,
    check_pixels,
    open_image,
    orientation_of,
)
from segdeploy.system.budget import check_budget, file_budget, read_within
from segdeploy.system.files import exists, write_bytes

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""File name extensions by which an image is found in a folder."""

PNG_EXTRAS = frozenset({"default_image", "transparency"})
"""Pillow's `info` keys of a PNG that OpenCV decodes differently: animation, a transparent color."""

AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

MAX_SCANS = 100
"""Scans of a JPEG; encoders write about 10. Each one visits every pixel, and may be a few bytes."""

MAX_SIDES = {".png": 1_000_000, ".jpg": 65_500, ".jpeg": 65_500}
"""Formats that are written, and the pixels along a side that libpng and libjpeg allow."""

SINGLE = frozenset({"1", "L", "P", "I", "I;16", "I;16B"})
"""Pillow's modes of one whole number per pixel."""


def read_image(path: Path) -> Image:
    """Read an image, turned upright by its EXIF orientation.

    Gray becomes three equal channels, a palette its colors, 16 bits become their upper 8, CMYK
    becomes red, green and blue. Transparency is dropped and the colors under it are kept, as OpenCV
    and torchvision do. Of an animation the first frame is read.

    Returns:
        (H, W, 3) uint8, blue-green-red.

    Raises:
        DataError: There is no such file, it is no image, it is truncated, or it would take more
            memory than the budget of `system.budget` allows.
    """
    return decode_image(content_of(path), name=str(path))


def decode_image(content: bytes, *, name: str) -> Image:
    """Return the image in the bytes of a file, as `read_image` does.

    Args:
        content: The whole file.
        name: What messages call it.

    Raises:
        DataError: It is no image, is truncated, or has too many pixels.
    """
    if content.startswith(b"\xff\xd8") and (scans := content.count(b"\xff\xda")) > MAX_SCANS:
        msg = f"{name} has {scans} scans, and a JPEG may have {MAX_SCANS}; save it again"
        raise DataError(msg)
    try:
        with open_image(io.BytesIO(content)) as image:
            check_pixels(image, name=name, size=len(content))
            orientation = orientation_of(image)
            if _is_plain_jpeg(image, content) or _is_plain_png(image, content, "RGB"):
                stored = _decode_plain(name, content, AS_STORED)
            else:
                stored = pillow_pixels(image)
    except SegdeployError:
        raise
    except DAMAGE as error:
        raise _damaged(name, error) from error
    return turned(stored, orientation)


def check_image(image: Image, spec: InputSpec | None = None) -> None:
    """Refuse an argument that is not an image: another array would give a wrong mask.

    Args:
        image: The argument.
        spec: What the network takes; usual images where None.

    Raises:
        ImageError: It is not an array (H, W, C) of the channels and the type, or is empty.
    """
    channels, dtype = (3, "uint8") if spec is None else (len(spec.channels), spec.dtype)
    if (
        isinstance(image, np.ndarray)
        and image.dtype == dtype
        and image.ndim == 3
        and image.shape[2] == channels
        and image.size
    ):
        return
    given = (
        f"{image.dtype} of shape {image.shape}"
        if isinstance(image, np.ndarray)
        else f"a {type(image).__name__}"
    )
    meant = "blue-green-red as cv2.imread reads it"
    if spec is not None and not spec.is_color:
        meant = f"the channels {', '.join(spec.channels)[:200]}"
    msg = f"the image is {given}; pass (H, W, {channels}) {dtype}, {meant}"
    raise ImageError(msg)


def read_ids(path: Path) -> Mask:
    """Read a mask from a gray or palette image.

    Returns:
        The stored numbers, (H, W) uint8, whatever colors a palette gives them.

    Raises:
        DataError: There is no such file, it is truncated, or its pixels are not single numbers in
            0 ... 255.
    """
    return decode_ids(content_of(path), name=str(path))


def decode_ids(content: bytes, *, name: str) -> Mask:
    """Return the mask in the bytes of a file, as `read_ids` does.

    Args:
        content: The whole file.
        name: What messages call it.

    Raises:
        DataError: It is no image, is truncated, or its pixels are not single numbers in 0 ... 255.
    """
    try:
        with open_image(io.BytesIO(content)) as image:
            check_pixels(image, name=name, size=len(content), per_pixel=IDS)
            if _is_plain_png(image, content, "L"):
                gray = _decode_plain(name, content, cv2.IMREAD_GRAYSCALE)
                return np.asarray(gray, np.uint8)
            mode = image.mode
            numbers = np.asarray(image) if mode in SINGLE else None
    except SegdeployError:
        raise
    except DAMAGE as error:
        raise _damaged(name, error) from error
    if numbers is None or numbers.min() < 0 or numbers.max() > 255:
        msg = (
            f"{name} holds colors or numbers outside 0 to 255 (Pillow's mode {mode}); store one"
            " class index a pixel"
        )
        raise DataError(msg)
    return (numbers // _gray_factor(content)).astype(np.uint8)


def write_image(path: Path, image: Image | Mask) -> None:
    """Write an image, or a mask as gray numbers, whole or not at all.

    Args:
        path: Name of the file, whose extension chooses the format; .png keeps every number, .jpg
            does not and so takes no mask.
        image: (H, W, 3) uint8 blue-green-red, (H, W, 4) with opacity behind it, or (H, W) uint8.

    Raises:
        ConfigError: The extension is of no format that can be written.
        OutputError: The file cannot be written, or the image is too large for its format.
    """
    extension = path.suffix.lower()
    exact = image.ndim == 2 or image.shape[2] == 4
    if extension not in MAX_SIDES or (exact and extension != ".png"):
        allowed = ".png" if exact else ".png or .jpg"
        msg = f"cannot write {path}; its name must end in {allowed}"
        raise ConfigError(msg)
    write_bytes(path, _encode(image, extension))


def write_indexed(path: Path, mask: Mask, colors: Sequence[tuple[int, int, int]]) -> None:
    """Write a mask as PNG with a palette: the numbers are the mask's, and a viewer shows colors.

    Args:
        path: Name of the file, which ends in .png.
        mask: (H, W) uint8.
        colors: Red, green and blue of each number from 0 on; all further ones are black.

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


def to_jpeg(image: Image, *, quality: int) -> bytes:
    """Return an image compressed as JPEG.

    Args:
        image: (H, W, 3) uint8, blue-green-red.
        quality: From 1 to 100.

    Raises:
        OutputError: It is larger than a JPEG can be.
    """
    return _encode(image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(image: Image | Mask, extension: str, options: Sequence[int] = ()) -> bytes:
    """Return an image as the content of a file of one of the `MAX_SIDES`.

    Raises:
        OutputError: The format has no images as large as this one.
    """
    if max(image.shape[:2]) > (limit := MAX_SIDES[extension]):
        msg = (
            f"an image of {image.shape[1]} x {image.shape[0]} pixels cannot be written as"
            f" {extension}, of at most {limit:,} along a side; use --tile, which writes .tif"
        )
        raise OutputError(msg)
    done, content = cv2.imencode(extension, image, options)
    assert done, "OpenCV writes all images of these sizes"
    return content.tobytes()


def list_images(paths: Sequence[Path]) -> list[Path]:
    """Return the paths of all images: files as they are given, and those in a folder by name.

    Raises:
        DataError: A path does not exist, or no image is found.
    """
    images: list[Path] = []
    for path in paths:
        if not exists(path):
            msg = f"there is no {path}; name an image or a folder of images"
            raise MissingFileError(msg)
        images += _images_in(path) if path.is_dir() else [path]
    if not images:
        msg = (
            f"no image lies in {', '.join(map(str, paths)) or 'an empty list'}; known extensions"
            f" are {', '.join(sorted(EXTENSIONS))}"
        )
        raise DataError(msg)
    return images


def image_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each image: that of its file, with folders where others are called so."""
    lengths = dict.fromkeys(paths, 1)
    while True:
        names = {path: "/".join(path.parts[-length:]) for path, length in lengths.items()}
        counts = Counter(names.values())
        alike = [
            path
            for path, name in names.items()
            if counts[name] > 1 and lengths[path] < len(path.parts)
        ]
        if not alike:
            return [names[path] for path in paths]
        for path in alike:
            lengths[path] += 1


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in EXTENSIONS and path.is_file() and not path.name.startswith(".")
    )


def content_of(path: Path) -> bytes:
    """Return the bytes of a file, of which a pipe or a device may have no end."""
    try:
        with path.open("rb") as file:
            content, size = read_within(file, file_budget(0))
    except FileNotFoundError as error:
        msg = f"there is no {path}; check the name"
        raise MissingFileError(msg) from error
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        msg = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        raise DataError(msg) from error
    check_budget(f"{path} is a file of {size} bytes", size, size=0, error=DataError)
    return content


def _damaged(path: object, error: BaseException) -> DataError:
    if isinstance(error, UnidentifiedImageError):
        return DataError(
            f"{path} is not an image of a known format; known extensions are"
            f" {', '.join(sorted(EXTENSIONS))}"
        )
    if isinstance(error, PillowImage.DecompressionBombError):
        return DataError(f"{path} has too many pixels ({error}); make it smaller, or use --tile")
    reason = " ".join(str(error).split())
    return DataError(
        f"{path} is a damaged image ({type(error).__name__}: {reason}); use a complete copy of it"
    )


def _is_plain_jpeg(image: ImageFile, content: bytes) -> bool:
    """Return whether OpenCV may decode a JPEG.

    It is twice as fast and returns the same pixels, but fills the end of a truncated file with gray
    instead of raising an error.
    """
    return image.format == "JPEG" and image.mode == "RGB" and content.endswith(b"\xff\xd9")


def _is_plain_png(image: ImageFile, content: bytes, mode: str) -> bool:
    """Return whether OpenCV may decode a PNG.

    It is a third faster and returns the same pixels, but with a damaged file libpng writes its own
    messages to stderr.
    """
    return (
        image.format == "PNG"
        and max(image.size) <= MAX_SIDES[".png"]
        and image.mode == mode
        and content[24] == 8  # The depth of a channel, in the header.
        and not PNG_EXTRAS & image.info.keys()
        and is_whole_png(content)
    )


def is_whole_png(content: bytes) -> bool:
    """Return whether every chunk up to the last has the right checksum."""
    offset = 8
    while offset + 12 <= len(content):
        size = int.from_bytes(content[offset : offset + 4])
        checksum = content[offset + 8 + size : offset + 12 + size]
        if zlib.crc32(memoryview(content)[offset + 4 : offset + 8 + size]) != int.from_bytes(
            checksum
        ):
            return False
        if content[offset + 4 : offset + 8] == b"IEND":
            return True
        offset += 12 + size
    return False


def _decode_plain(path: object, content: bytes, mode: int) -> Image:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), mode)
    if image is None:
        msg = f"{path} is a damaged image; use a complete copy of it"
        raise DataError(msg)
    return np.asarray(image, dtype=np.uint8)


def pillow_pixels(image: PillowImage.Image) -> Image:
    """Return the pixels as Pillow decodes them."""
    if image.mode == "F":
        msg = "its pixels are floating-point numbers, which have no fixed range"
        raise ValueError(msg)
    image.load()
    if image.mode in {"P", "PA"} and image.palette is None:
        # Pillow would make all of it black.
        msg = "its palette is missing"
        raise ValueError(msg)
    if image.mode.startswith("I"):
        gray = (np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8)
        return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    return np.asarray(
        cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR), dtype=np.uint8
    )


def turned(image: Image, orientation: int) -> Image:
    """Return the upright image of stored pixels with this EXIF orientation."""
    if orientation not in UPRIGHT:
        return image
    return np.asarray(PillowImage.fromarray(image).transpose(UPRIGHT[orientation]), dtype=np.uint8)


def _gray_factor(content: bytes) -> int:
    """Return by what Pillow multiplies gray PNG numbers of 2 or 4 bits to fill 8; else 1."""
    is_gray_png = content.startswith(b"\x89PNG") and content[25] == 0
    return {2: 85, 4: 17}.get(content[24], 1) if is_gray_png else 1
