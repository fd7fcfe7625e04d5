"""Images that do not fit into memory: read by rows, written as tiles; wraps libvips."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from os import fsencode
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from segdeploy.arrays import Image, Mask
from segdeploy.card import InputSpec
from segdeploy.errors import DataError, MissingExtraError, MissingFileError
from segdeploy.imaging.bands import reader_for
from segdeploy.imaging.contrast import view
from segdeploy.imaging.header import DAMAGE, open_image, orientation_of
from segdeploy.imaging.io import read_image
from segdeploy.imaging.row_file import Pixels, row_file
from segdeploy.system.files import cannot_write, replacing

try:
    import pyvips
except (ImportError, OSError) as error:
    raise MissingExtraError("pyvips", "large") from error  # noqa: EM101 - a name, not a message

MAX_SIDE = 1_000_000
MAX_PIXELS = 20_000_000_000
"""Larger images are refused: they would fill the disk, whatever the memory is."""

TILE = 256
"""Side of a tile in a written TIFF, in pixels."""

MAX_TILE = 1 << 24
"""Pixels of a tile in a TIFF that is read; each is decoded as a whole."""

LOADERS = ("Jpeg", "Png", "Raw", "Tiff")
"""libvips' loaders of what is read by rows, by the ends of their classes' names, and the one of the
rows that are written here. The others, among them SVG, PDF and whatever ImageMagick gives to other
programs, are shut off in this process."""

pyvips.operation_block_set("VipsForeignLoad", True)  # noqa: FBT003 - libvips' own signature
for loader in LOADERS:
    pyvips.operation_block_set(f"VipsForeignLoad{loader}", False)  # noqa: FBT003

# libvips caches what it decoded, and nothing here reads it again.
pyvips.cache_set_max(0)


def _is_read_alike(image: ImageFile) -> bool:
    """Return whether libvips reads an image by rows and gives the pixels that `read_image` gives.

    The two read other kinds of TIFF in different ways, and libvips holds the rest in memory anyway:
    what is interlaced, progressive, turned or animated.
    """
    if orientation_of(image) != 1 or image.info.get("default_image"):
        return False
    if image.format == "JPEG":
        return image.mode in {"L", "RGB"} and not image.info.get("progressive")
    if image.format == "PNG":
        return not image.info.get("interlace")
    return isinstance(image, TiffImageFile) and _is_plain_tiff(image)


def _is_plain_tiff(image: TiffImageFile) -> bool:
    """Return whether a TIFF holds whole numbers of 8 or 16 bits: gray, a palette or colors."""
    tags = image.tag_v2
    bits = set(tags.get(Base.BitsPerSample, (1,)))
    return (
        image.mode in {"L", "RGB", "RGBA", "P", "I;16"}
        and tags.get(Base.PhotometricInterpretation) in {1, 2, 3}
        and (bits == {8} or (bits == {16} and image.mode != "P"))
        and set(tags.get(Base.SampleFormat, (1,))) == {1}
        and set(tags.get(Base.ExtraSamples, ())) <= {0, 2}
        and tags.get(Base.Orientation, 1) == 1
        and prod(tags.get(side, 1) for side in (Base.TileWidth, Base.TileLength)) <= MAX_TILE
    )


class LargeImage:
    """The rows of an image from the top, each read once, upright and blue-green-red.

    They are the rows that `read_image` gives; JPEG, PNG and TIFF of common kinds are never in
    memory as a whole.

    Attributes:
        height: In pixels, upright.
        width: In pixels, upright.
        place: Where it lies on earth: it does not say.
        has_gaps: Whether pixels may be without data: none is.
    """

    place = None
    has_gaps = False

    def __init__(self, path: Path, spec: InputSpec | None = None) -> None:
        """Read the header.

        Args:
            path: The image.
            spec: What the network takes; usual images where None.

        Raises:
            DataError: There is no such file, it is no image, has too many pixels, or does not hold
                the network's bands.
        """
        if not path.is_file():
            msg = f"there is no {path}; check the name"
            raise MissingFileError(msg)
        self._path = path
        self._spec = spec
        self._next = 0
        self._view: Image | None = None
        if spec is not None and not spec.is_plain:
            self._whole: Image | None = reader_for(spec)(path)
            self._view = view(self._whole, spec)
            self.height, self.width = self._whole.shape[:2]
            return
        with self._refusing(), open_image(path) as header:
            self.width, self.height = header.size
            is_read_alike = _is_read_alike(header)
        if max(header.size) > MAX_SIDE or self.width * self.height > MAX_PIXELS:
            msg = (
                f"{path} has {self.width} x {self.height} pixels, more than {MAX_PIXELS:,} or"
                f" {MAX_SIDE:,} along a side; cut it"
            )
            raise DataError(msg)
        self._whole = None if is_read_alike else read_image(path)
        if self._whole is not None:
            self.height, self.width = self._whole.shape[:2]
            return
        with self._refusing():
            # libvips fills what is missing of a damaged file with black, unless it is told to fail.
            # A source is named by bytes alone: in another name libvips takes brackets for options.
            source = pyvips.Source.new_from_file(fsencode(path))
            stored = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
            colored = stored.colourspace("srgb").extract_band(0, n=3).cast("uchar")
            if (stored.width, stored.height) != header.size:
                msg = f"its size is {header.size} and {stored.width, stored.height} at once"
                raise ValueError(msg)
        self._region = pyvips.Region.new(colored)

    def skip(self, count: int) -> None:
        """Leave out the next rows."""
        # A file that is read from its start has to be decoded up to there.
        for start in range(0, count, TILE):
            self.read(min(TILE, count - start))

    def valid(self, count: int) -> npt.NDArray[np.bool_]:
        """Return which pixels of the next rows hold data: all of them."""
        return np.ones((count, self.width), np.bool_)

    def view(self, image: Image, row: int) -> Image:
        """Return what is drawn upon, uint8 blue-green-red, of rows from this one on."""
        return image if self._view is None else self._view[row : row + len(image)]

    def read(self, count: int) -> Image:
        """Return the next rows, (count, width, 3) uint8.

        Raises:
            DataError: The file is damaged.
        """
        start, self._next = self._next, self._next + count
        if self._whole is not None:
            return self._whole[start : start + count]
        with self._refusing():
            pixels = self._region.fetch(0, start, self.width, count)
        rows = np.frombuffer(pixels, np.uint8).reshape(count, self.width, 3)
        return np.asarray(cv2.cvtColor(rows, cv2.COLOR_RGB2BGR), dtype=np.uint8)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (pyvips.Error, *DAMAGE) as error:
            reason = " ".join(str(error).split())
            msg = f"{self._path} is not an image that can be read ({reason}); use a complete copy"
            raise DataError(msg) from error


@contextmanager
def image_writer(
    path: Path, height: int, *, width: int, bands: int
) -> Iterator[Callable[[Image | Mask], None]]:
    """Write an image from the top, row by row.

    Args:
        path: Name of the file, which ends in .tif (in tiles, with smaller copies for viewers) or
            .png.
        height: In pixels.
        width: In pixels.
        bands: 3 for blue-green-red, 1 for a mask.

    Yields:
        A function that adds the next rows; the image is written when the block ends without an
        error.

    Raises:
        OutputError: The file cannot be written, for example because the disk is full.
    """
    with row_file(path, shape=(height, width, bands)) as rows:
        yield lambda strip: rows.add(to_rgb(strip))
        write_large(path, rows.pixels())


def to_rgb(strip: Image | Mask) -> Pixels:
    """Return rows as `write_large` takes them: red, green, blue, or a mask as it is."""
    if strip.ndim == 2:
        return np.asarray(strip, dtype=np.uint8)
    return np.asarray(cv2.cvtColor(strip, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def write_large(path: Path, pixels: Pixels) -> None:
    """Write an image, whole or not at all.

    Args:
        path: Name of the file, which ends in .tif (in tiles, with smaller copies for viewers) or
            .png.
        pixels: (H, W, C) uint8, a memory map of a file: red, green, blue, or a mask.

    Raises:
        OutputError: The file cannot be written, for example because the disk is full.
    """
    height, width, bands = pixels.shape
    assert isinstance(pixels, np.memmap), "libvips reads the file itself"
    try:
        with replacing(path) as part:
            name, offset = fsencode(str(pixels.filename)), pixels.offset
            image = pyvips.Image.rawload(
                name, width, height, bands, offset=offset, access="sequential"
            )
            image = image.copy(interpretation="srgb" if bands >= 3 else "b-w")
            _save(image, part, extension=path.suffix)
    except pyvips.Error as error:
        raise cannot_write(path, error) from error


def _save(image: pyvips.Image, path: Path, *, extension: str) -> None:
    if extension == ".png":
        image.pngsave(fsencode(path), compression=4)
        return
    # The smaller copies of a mask must hold classes of it, not means of them.
    shrink = "mean" if image.bands >= 3 else "nearest"
    image.tiffsave(
        fsencode(path),
        tile=True,
        tile_width=TILE,
        tile_height=TILE,
        compression="deflate",
        pyramid=True,
        region_shrink=shrink,
        bigtiff=image.width * image.height * image.bands > 2**31,
    )
