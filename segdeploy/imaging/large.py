"""Images that do not fit into memory: read by rows, written as tiles; wraps libvips."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from segdeploy.arrays import Image, Mask
from segdeploy.errors import DataError, MissingExtraError
from segdeploy.system.files import PART, cannot_write, make_part, replacing

try:
    import pyvips
except (ImportError, OSError) as error:
    raise MissingExtraError("pyvips", "large") from error  # noqa: EM101 - a name, not a message

MAX_SIDE = 1_000_000
MAX_PIXELS = 20_000_000_000
"""Larger images are refused as decompression bombs; Pillow's own bound, which holds for all other
reading, is a hundredth of it."""

TILE = 256
"""Side of a tile in a written TIFF, in pixels."""

LOADERS = ("Nsgif", "Jpeg", "Png", "Ppm", "Raw", "Tiff", "Webp")
"""libvips' loaders of the formats that `imaging.io` reads, by the ends of their classes' names, and
the one of the rows that are written here. The others, among them SVG, PDF and whatever ImageMagick
gives to other programs, are shut off in this process."""

pyvips.operation_block_set("VipsForeignLoad", True)  # noqa: FBT003 - libvips' own signature
for loader in LOADERS:
    pyvips.operation_block_set(f"VipsForeignLoad{loader}", False)  # noqa: FBT003

# libvips caches what it decoded, and nothing here reads it again.
pyvips.cache_set_max(0)


class LargeImage:
    """The rows of an image from the top, each read once, upright and blue-green-red.

    Attributes:
        height: In pixels, upright.
        width: In pixels, upright.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            DataError: There is no such file, it is no image, or it has too many pixels.
        """
        if not path.is_file():
            msg = f"there is no {path}; check the name"
            raise DataError(msg)
        self._path = path
        with self._refusing():
            # Rows that are stored in another order than upright ones cannot be read in sequence.
            stored = pyvips.Image.new_from_file(str(path), access="sequential")
            turned = stored.get_typeof("orientation") and stored.get("orientation") != 1
            upright = (
                pyvips.Image.new_from_file(str(path), access="random").autorot()
                if turned
                else stored
            )
            if (
                max(upright.width, upright.height) > MAX_SIDE
                or upright.width * upright.height > MAX_PIXELS
            ):
                msg = (
                    f"{path} has {upright.width} x {upright.height} pixels, more than"
                    f" {MAX_PIXELS:,} or {MAX_SIDE:,} along a side; cut it"
                )
                raise DataError(msg)
            colored = upright.colourspace("srgb").extract_band(0, n=3).cast("uchar")
        self.height, self.width = colored.height, colored.width
        self._region = pyvips.Region.new(colored)
        self._next = 0

    def read(self, count: int) -> Image:
        """Return the next rows, (count, width, 3) uint8.

        Raises:
            DataError: The file is damaged.
        """
        with self._refusing():
            pixels = self._region.fetch(0, self._next, self.width, count)
        self._next += count
        rows = np.frombuffer(pixels, np.uint8).reshape(count, self.width, 3)
        return np.asarray(cv2.cvtColor(rows, cv2.COLOR_RGB2BGR), dtype=np.uint8)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except pyvips.Error as error:
            reason = " ".join(str(error).split())
            msg = f"{self._path} is not an image that can be read ({reason}); use a complete copy"
            raise DataError(msg) from error


@contextmanager
def image_writer(
    path: Path, height: int, *, width: int, bands: int
) -> Iterator[Callable[[Image | Mask], None]]:
    """Write an image from the top, row by row.

    The rows are first stored in a file beside it, of as many bytes as the image has numbers,
    because the tiles of a TIFF span many rows.

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
    rows = path.with_name(path.name + ".rows" + PART)
    try:
        with replacing(path) as part:
            make_part(rows)
            with rows.open("wb") as file:

                def add(strip: Image | Mask) -> None:
                    ordered = cv2.cvtColor(strip, cv2.COLOR_BGR2RGB) if bands == 3 else strip
                    file.write(np.ascontiguousarray(ordered).data)

                yield add
            image = pyvips.Image.rawload(str(rows), width, height, bands, access="sequential")
            image = image.copy(interpretation="srgb" if bands == 3 else "b-w")
            _save(image, part, extension=path.suffix)
    except pyvips.Error as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            rows.unlink(missing_ok=True)


def _save(image: pyvips.Image, path: Path, *, extension: str) -> None:
    if extension == ".png":
        image.pngsave(str(path), compression=4)
        return
    # The smaller copies of a mask must hold classes of it, not means of them.
    shrink = "mean" if image.bands == 3 else "nearest"
    image.tiffsave(
        str(path),
        tile=True,
        tile_width=TILE,
        tile_height=TILE,
        compression="deflate",
        pyramid=True,
        region_shrink=shrink,
        bigtiff=image.width * image.height * image.bands > 2**31,
    )
