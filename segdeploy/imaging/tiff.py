"""Read TIFF files of any number of bands and bits: the one file that uses tifffile."""

import io
import logging
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from segdeploy.card import COLORS
from segdeploy.errors import DataError, MissingExtraError
from segdeploy.system.budget import check_budget

try:
    import tifffile
except ImportError as error:
    raise MissingExtraError("tifffile", "tiff") from error  # noqa: EM101 - a name

# It reports what it works around, and what it does not it raises too.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

MOST_PAGES = 256
"""Images of a file that are looked at: bands, and the smaller copies that maps have beside them."""

COPIES = 2
"""How often a band is in memory while it is read: its file's order, and ours."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
"""Photometric interpretations whose numbers are what was measured (TIFF 6.0, section 4)."""

ALPHA = frozenset({1, 2})
"""Extra samples that are opacity (TIFF 6.0, section 18)."""

REDUCED_OR_MASK = 1 | 4
"""Bits of `NewSubfileType` of pages that show the first one smaller, or where it is valid."""

SLIDE = re.compile(rb"Aperio|<OME |hamamatsu|Leica|ventana|philips", re.IGNORECASE)
"""Descriptions in slides of microscopes, whose pages are levels of a pyramid and not bands."""

Bands = npt.NDArray[Any]


def read_tiff(
    content: bytes, *, name: str
) -> tuple[Bands, tuple[int, ...], tuple[str, ...], int] | None:
    """Return what a TIFF stores, or None for one of colors that a viewer's decoder has to mix.

    Bands are the samples of its first page, or pages of the same size of one sample each.

    Args:
        content: The whole file.
        name: What messages call it.

    Returns:
        Numbers, (H, W, C) of any type; the indices of the bands that are no opacity; names
        of the bands where the file tells colors; and the orientation, 1 (upright) to 8.

    Raises:
        DataError: It is damaged, a slide, or would take more memory than its budget.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            first = file.pages[0]
            assert isinstance(first, tifffile.TiffPage)
            _refuse_slide(first, name)
            if first.photometric not in {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB}:
                return None
            pages = [first] if first.samplesperpixel > 1 else _bands(file, first)
            _check_size(first, len(pages), name=name, size=len(content))
            planes = [_numbers(page) for page in pages]
            orientation = first.tags.valueof(274, default=1)
            colored = first.photometric == RGB
            extras = [int(kind) for kind in first.extrasamples]
    except (DataError, MemoryError):
        raise
    # A damaged file raises anything inside tifffile and the decoders that it calls.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        msg = (
            f"{name} is a damaged TIFF, or one of a kind that is not read"
            f" ({type(error).__name__}: {reason}); use a complete copy of it"
        )
        raise DataError(msg) from error
    pixels = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
    colors = pixels.shape[2] - (len(extras) if len(planes) == 1 else 0)
    usual = [at for at in range(pixels.shape[2]) if at < colors or extras[at - colors] not in ALPHA]
    names: tuple[str, ...] = ()
    if colored and pixels.shape[2] >= len(COLORS):
        others = range(len(COLORS) + 1, pixels.shape[2] + 1)
        names = COLORS + tuple(f"band {number}" for number in others)
    return pixels, tuple(usual), names, int(orientation) if orientation in range(1, 9) else 1


def _refuse_slide(page: tifffile.TiffPage, name: str) -> None:
    start = page.description[:2000].encode(errors="replace")
    if SLIDE.search(start):
        msg = (
            f"{name} is a microscope's slide, a pyramid of levels, which is not read; export the"
            " level that you need as a plain TIFF"
        )
        raise DataError(msg)


def _bands(file: tifffile.TiffFile, first: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    """Return the pages that are bands beside the first one, which is a band too."""
    found = [first]
    for number in range(1, MOST_PAGES):
        try:
            page = file.pages[number]
        except IndexError:
            break
        if (
            isinstance(page, tifffile.TiffPage)
            and not int(page.subfiletype) & REDUCED_OR_MASK
            and (page.shape, page.dtype) == (first.shape, first.dtype)
        ):
            found.append(page)
    return found


def _check_size(page: tifffile.TiffPage, pages: int, *, name: str, size: int) -> None:
    height, width = page.imagelength, page.imagewidth
    if not height or not width or page.dtype is None:
        msg = f"{name} has {width} x {height} pixels of no known type; use a complete copy of it"
        raise DataError(msg)
    # A tile is decoded as a whole, however little of it lies inside the image.
    pixels = max(height * width, page.tilelength * page.tilewidth)
    check_budget(
        f"{name} has {width} x {height} pixels of {page.samplesperpixel * pages} bands",
        COPIES * pixels * page.samplesperpixel * pages * page.dtype.itemsize,
        size=size,
        error=DataError,
    )


def _numbers(page: tifffile.TiffPage) -> Bands:
    """Return the numbers of a page, (H, W, samples)."""
    array = np.asarray(page.asarray())
    if page.photometric == WHITE_IS_ZERO and array.dtype.kind == "u":
        array = np.iinfo(array.dtype).max - array
    if page.samplesperpixel == 1:
        return array.reshape(page.imagelength, page.imagewidth, 1)
    return array if array.shape[-1] == page.samplesperpixel else np.moveaxis(array, 0, -1)
