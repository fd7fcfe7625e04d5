"""Images of all kinds that Python programs have: paths, addresses, bytes, arrays, tensors."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, ProxyHandler, build_opener

import cv2
import numpy as np
from PIL import Image as PillowImage

from segdeploy.arrays import Image
from segdeploy.card import InputSpec
from segdeploy.errors import ConfigError, DataError, ImageError
from segdeploy.imaging.bands import decode_for, reader_for
from segdeploy.imaging.header import DAMAGE, orientation_of
from segdeploy.imaging.io import (
    EXTENSIONS,
    check_image,
    decode_image,
    pillow_pixels,
    read_image,
    turned,
)
from segdeploy.system.budget import check_budget, file_budget, read_within
from segdeploy.video.frames import Frame

Color = Literal["bgr", "rgb"]
"""Order of the channels of an array or a tensor."""

ImageLike = Any
"""A path, an address, bytes, an array, a tensor of PyTorch, or an image of Pillow."""

TIMEOUT = 10.0
"""Seconds that an address may take to respond, and each read from it."""

FETCHED = ("http", "https")
"""Schemes of the addresses of image files."""

BYTES = (bytes, bytearray, memoryview)

KINDS = (
    "a path, the address of an image, bytes, an image of Pillow, an array (H, W, 3) uint8, or a"
    " tensor (3, H, W)"
)


def check_color(color: str | None) -> None:
    """Refuse an unknown order of channels; raises ConfigError."""
    if color not in (None, "bgr", "rgb"):
        msg = f"the color order is {color!r}; it must be 'bgr' or 'rgb'"
        raise ConfigError(msg)


def is_several(source: object) -> bool:
    """Return whether a value stands for several images: a list, an iterator, a tensor of four."""
    if _is_tensor(source):
        return getattr(source, "ndim", 0) == 4
    single = (str, Path, *BYTES, np.ndarray, PillowImage.Image)
    return isinstance(source, Iterable) and not isinstance(source, (*single, Mapping))


def name_of(source: ImageLike) -> str:
    """Return the path or the address of an image; "" for what has none."""
    return str(source) if isinstance(source, str | Path) else ""


def to_bands(source: ImageLike, spec: InputSpec) -> Image:
    """Return one image as a network of other bands or bits takes it.

    Args:
        source: A path, the address of an image, bytes, or an array (H, W, C).
        spec: What the network takes.

    Raises:
        ImageError: It is nothing of these, or an array of other channels or another type.
        DataError: A file or bytes cannot be read, or do not hold the bands.
    """
    if isinstance(source, str) and "://" in source:
        return decode_for(fetch(source), spec, name=source)
    if isinstance(source, str | Path):
        return reader_for(spec)(Path(source))
    if isinstance(source, BYTES):
        return decode_for(bytes(source), spec, name=f"what the {len(source)} bytes hold")
    check_image(source, spec)
    array: Image = source
    return array


def to_image(source: ImageLike, color: Color | None) -> Image:
    """Return one image, (H, W, 3) uint8 blue-green-red.

    Args:
        source: Of one of the `KINDS`.
        color: Order of the channels of an array or a tensor; where None, an array is BGR, as
            OpenCV reads it, and a tensor is RGB.

    Raises:
        ImageError: It is nothing of these, or an array or tensor of another shape or range.
        DataError: A file or bytes cannot be read as an image.
    """
    if isinstance(source, str) and "://" in source:
        return decode_image(fetch(source), name=source)
    if isinstance(source, str | Path):
        return _read(Path(source))
    if isinstance(source, BYTES):
        return decode_image(bytes(source), name=f"what the {len(source)} bytes hold")
    if isinstance(source, PillowImage.Image):
        return _from_pillow(source)
    if isinstance(source, np.ndarray):
        return _from_array(source, color or "bgr")
    if _is_tensor(source):
        return _from_tensor(source, color or "rgb")
    if isinstance(source, int):
        msg = f"{source!r} is the number of a camera, not an image; use net.stream({source!r})"
        raise ImageError(msg)
    msg = f"the image is a {type(source).__name__}; pass {KINDS}"
    raise ImageError(msg)


def fetch(address: str) -> bytes:
    """Return the content of a file at an address, within the budget of a file.

    Raises:
        DataError: There is no response, or it has too many bytes.
        ImageError: The address is not one of HTTP.
    """
    if urlsplit(address).scheme.lower() not in FETCHED:
        msg = f"{address} is not the address of an image; use net.stream({address!r}) for a stream"
        raise ImageError(msg)
    # Redirections to other schemes, such as file://, have no handler.
    opener = build_opener(ProxyHandler(), HTTPHandler(), HTTPSHandler())
    try:
        with opener.open(address, timeout=TIMEOUT) as response:
            content, size = read_within(response, file_budget(0))
    except (OSError, URLError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        msg = f"no image can be read from {address} ({error}); check the address"
        raise DataError(msg) from error
    check_budget(f"{address} is a file of {size} bytes or more", size, size=0, error=DataError)
    return content


def _read(path: Path) -> Image:
    """Return the image of a path, and say where other files and folders go."""
    if path.is_dir():
        msg = f"{path} is a folder; use net.stream({str(path)!r}), which yields a result for each"
        raise ImageError(msg)
    try:
        return read_image(path)
    except DataError as error:
        if path.suffix.lower() in EXTENSIONS or isinstance(error, FileNotFoundError):
            raise
        msg = f"{error}; a video, a list or a pattern is for net.stream({str(path)!r})"
        raise DataError(msg) from error


def _from_pillow(image: PillowImage.Image) -> Image:
    """Return the pixels of an image of Pillow, as `read_image` reads those of a file.

    Raises:
        ImageError: It is empty or damaged, or its pixels are floating-point numbers.
    """
    try:
        if not image.width or not image.height:
            msg = "it is empty"
            raise ValueError(msg)
        return turned(pillow_pixels(image), orientation_of(image))
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        msg = f"the image of Pillow cannot be used ({reason}); pass a whole one, such as RGB"
        raise ImageError(msg) from error


def _from_array(array: "np.ndarray[Any, Any]", color: Color) -> Image:
    """Return the image of an array: gray, of three channels, or of four with opacity."""
    if array.dtype == np.uint8 and array.size:
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if array.ndim == 2:
            return np.asarray(cv2.cvtColor(array, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
        if array.ndim == 3 and array.shape[2] in (3, 4):
            pixels = array[..., :3] if color == "bgr" else array[..., 2::-1]
            return np.ascontiguousarray(pixels)
    check_image(array)
    return array


def _is_tensor(value: object) -> bool:
    """Return whether a value is a tensor of PyTorch, which is not imported for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _from_tensor(tensor: Any, color: Color) -> Image:  # noqa: ANN401 - PyTorch may be missing
    """Return the image of a tensor (3, H, W), of uint8, or of floats in [0, 1].

    Raises:
        ImageError: It has another shape, type or range.
    """
    kind = str(tensor.dtype).removeprefix("torch.")
    fits = tensor.ndim == 3 and tensor.shape[0] == 3 and tensor.numel()
    if not fits or not (kind == "uint8" or tensor.is_floating_point()):
        msg = (
            f"the tensor is {kind} of shape {tuple(tensor.shape)}; pass (3, H, W) or (N, 3, H, W),"
            " red-green-blue, of uint8 or of floats in [0, 1]"
        )
        raise ImageError(msg)
    pixels = tensor.detach().cpu()
    if kind == "uint8":
        planes = pixels.numpy()
    else:
        values = pixels.float().numpy()
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):
            msg = (
                f"the tensor's floats are in [{low:g}, {high:g}]; pass floats in [0, 1], not"
                " normalized ones, or uint8"
            )
            raise ImageError(msg)
        planes = np.rint(values * 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(planes if color == "bgr" else planes[::-1], 0, -1))


class ItemSource:
    """Images of an iterable, each of any of the `KINDS`, as the frames of a pipeline.

    It is iterated in a thread of the pipeline.

    Attributes:
        frames: How many items there are; None where that is unknown. A tensor of several images
            among them counts once.
        losses: Nothing: an item that cannot be read ends the iteration with an error.
        notes: Nothing.
        names: Path or address of each image that was read and not yet taken, by its index.
        is_empty: Whether it ended without an image.
    """

    def __init__(self, items: Iterable[ImageLike], color: Color | None) -> None:
        """Wrap the items.

        Args:
            items: Iterated once.
            color: See `to_image`.
        """
        self.frames = len(items) if isinstance(items, Sized) else None
        self.losses: list[str] = []
        self.notes: list[str] = []
        self.names: dict[int, str] = {}
        self.is_empty = False
        self._items, self._color = items, color
        self._spec: InputSpec | None = None

    def read_as(self, spec: InputSpec) -> None:
        """Read the images as a network of other bands or bits takes them."""
        self._spec = spec

    def __iter__(self) -> Iterator[Frame]:
        """Read the images.

        Raises:
            DataError: See `to_image`.
        """
        images = (image for item in self._items for image in _single_images(item))
        index = -1
        for index, image in enumerate(images):
            spec = self._spec
            pixels = to_bands(image, spec) if spec else to_image(image, self._color)
            self.names[index] = name_of(image)
            yield Frame(image=pixels, index=index, seconds=0.0)
        self.is_empty = index < 0


def _single_images(item: ImageLike) -> Iterable[ImageLike]:
    """Return the images of an item: those of a tensor of several, or itself."""
    return item if _is_tensor(item) and item.ndim == 4 else [item]
