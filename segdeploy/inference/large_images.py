"""Segment images of any size into files: by rows, resumable; maps keep their place on earth."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.card import InputSpec
from segdeploy.errors import ConfigError, DataError, InterruptedRun
from segdeploy.imaging.header import has_place, is_tiff
from segdeploy.imaging.overlay import (
    AREAS,
    COLOR,
    CONFIDENCE,
    GEOJSON,
    GPKG,
    MASK,
    OVERLAY,
    Renderer,
    colorize,
)
from segdeploy.imaging.row_file import Pixels, RowFile, finished_rows, row_file
from segdeploy.inference.tiling import Strip, Tiler

if TYPE_CHECKING:
    from segdeploy.imaging.raster import Place, Valid

VECTORS = (GEOJSON, GPKG, AREAS)
"""What is made of the whole class map of an image that has a place on earth."""

KINDS = (OVERLAY, MASK, COLOR, CONFIDENCE, *VECTORS)
"""What can be written of a large image."""

NO_CONFIDENCE = 0
"""Confidence of a pixel without data; that of a class is never 0."""


class RowImage(Protocol):
    """An image whose rows are read once, from the top."""

    @property
    def height(self) -> int:
        """In pixels."""
        ...

    @property
    def width(self) -> int:
        """In pixels."""
        ...

    @property
    def place(self) -> "Place | None":
        """Where it lies on earth; None where the file does not say."""
        ...

    @property
    def has_gaps(self) -> bool:
        """Whether pixels may be without data."""
        ...

    def read(self, count: int) -> Image:
        """Return the next rows, (count, W, C) as the network takes them."""
        ...

    def skip(self, count: int) -> None:
        """Leave out the next rows, before any is read."""
        ...

    def valid(self, count: int) -> "Valid":
        """Return which pixels of the next rows hold data, of an image with gaps, after `read`."""
        ...

    def view(self, image: Image, row: int) -> Image:
        """Return what is drawn upon, (n, W, 3) uint8 blue-green-red, of rows from this one on."""
        ...


@dataclass(frozen=True, kw_only=True)
class LargeJob:
    """What is done with large images.

    Attributes:
        tiler: Segments the images.
        renderer: Draws them, without a legend, which every strip would have.
        simplify: Pixels by which outlines of polygons may move; 0 keeps every corner.
        polygon_crs: Coordinate reference system of polygons, such as "EPSG:4326"; "" for the
            raster's own.
        settings: Text that differs where the rows of results would: a run continues those of
            another run with the same text.
        resume: Whether the rows that an interrupted run left are kept.
        should_stop: Called after each row of tiles; True ends the run.
    """

    tiler: Tiler
    renderer: Renderer
    simplify: float = 0.0
    polygon_crs: str = ""
    settings: str = ""
    resume: bool = False
    should_stop: Callable[[], bool] = lambda: False


def open_rows(path: Path, spec: InputSpec) -> RowImage:
    """Open an image to read its rows: maps and TIFFs of any bands by rasterio, others by libvips.

    Raises:
        DataError: There is no such file, or it cannot be read.
        MissingExtraError: The library that reads it is not installed.
    """
    if has_place(path) or (is_tiff(path) and not spec.is_plain):
        from segdeploy.imaging.raster import Raster

        return Raster(path, spec)
    from segdeploy.imaging.large import LargeImage

    return LargeImage(path, spec)


def segmented(image: RowImage, tiler: Tiler, *, kept: int = 0) -> Iterator[Strip]:
    """Segment an image strip by strip; pixels without data have no class and no confidence.

    Args:
        image: The image, of which nothing was read.
        tiler: Segments it.
        kept: Rows that are finished, as `Tiler.first_rows` returned them.

    Raises:
        DataError: The image is damaged.
    """
    if kept == image.height:
        return
    first = tiler.first_rows(image.height, kept)[1]
    image.skip(first)
    strips = tiler.strips(image.height, width=image.width, read=image.read, kept=kept)
    for strip in strips:
        if image.has_gaps:
            # The rows between those that are read again and those that are kept are left out.
            image.valid(kept - first)
            first = kept
            missing = ~image.valid(len(strip.mask))
            strip.mask[missing] = IGNORE_INDEX
            if strip.confidence is not None:
                strip.confidence[missing] = NO_CONFIDENCE
        yield strip


def segment_large(
    path: Path,
    targets: Mapping[str, Path],
    job: LargeJob,
    *,
    on_step: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Segment an image that need not fit into memory; results are written completely or not at all.

    The rows that an interrupted run finished are kept beside the results.

    Args:
        path: The image.
        targets: File of the result of each of `KINDS` that is written.
        job: What is done.
        on_step: Called after each row of tiles with the number of finished rows of pixels, and of
            all.

    Raises:
        ConfigError: A result would replace the image itself.
        DataError: The image cannot be read, or has no place on earth that a result needs.
        OutputError: A result cannot be written.
        MissingExtraError: A library is not installed.
        InterruptedRun: `should_stop` returned True.
    """
    if path.resolve() in {target.resolve() for target in targets.values()}:
        msg = f"a result would replace the image {path}; choose another --output"
        raise ConfigError(msg)
    if job.resume and all(target.is_file() for target in targets.values()):
        return
    image = open_rows(path, job.tiler.spec)
    vectors = [kind for kind in targets if kind in VECTORS]
    if vectors and image.place is None:
        msg = (
            f"{path} has no place on earth, which {', '.join(vectors)} need; save {OVERLAY},"
            f" {MASK}, {COLOR} or {CONFIDENCE}, or leave out --tile"
        )
        raise DataError(msg)
    with ExitStack() as stack:
        rows, done = _open_rows_of_results(path, image, targets, job, stack=stack)
        for strip in segmented(image, job.tiler, kept=done):
            if job.should_stop():
                msg = (
                    f"interrupted after {done} of {image.height} rows of {path}; continue with"
                    " --resume"
                )
                raise InterruptedRun(msg)
            _add_strip(strip, rows, image, job.renderer, row=done)
            done += len(strip.mask)
            on_step(done, image.height)
        for kind, target in targets.items():
            if kind in VECTORS:
                _write_vector(kind, target, rows[MASK].pixels()[:, :, 0], image, job)
            else:
                _write_image(kind, target, rows[kind], image, job.renderer)


def _open_rows_of_results(
    path: Path,
    image: RowImage,
    targets: Mapping[str, Path],
    job: LargeJob,
    *,
    stack: ExitStack,
) -> tuple[dict[str, RowFile], int]:
    """Open the files of the rows, and return them with how many rows of an earlier run are kept."""
    stored = {kind: target for kind, target in targets.items() if kind not in VECTORS}
    if MASK not in stored and len(stored) < len(targets):
        # Polygons and areas are made of the class map, whether it is a result or not.
        first = next(target for kind, target in targets.items() if kind in VECTORS)
        stored[MASK] = first.with_name(f"{first.name}.{MASK}")
    width = image.width
    bands = {kind: _bands(kind, image) for kind in stored}
    status = path.stat()
    settings = f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {width} {job.settings}"
    finished = [
        finished_rows(target, width=width, bands=bands[kind], settings=settings) * job.resume
        for kind, target in stored.items()
    ]
    kept = job.tiler.first_rows(image.height, min(finished))[0]
    rows = {
        kind: stack.enter_context(
            row_file(target, shape=(image.height, width, bands[kind]), kept=kept, settings=settings)
        )
        for kind, target in stored.items()
    }
    return rows, kept


def _bands(kind: str, image: RowImage) -> int:
    """Return how many bands a result has: where pixels may be without data, colors have opacity."""
    if kind not in {OVERLAY, COLOR}:
        return 1
    return 4 if image.place is not None and image.has_gaps else 3


def _add_strip(
    strip: Strip, rows: Mapping[str, RowFile], image: RowImage, renderer: Renderer, *, row: int
) -> None:
    """Add the next rows of each result."""
    mask = renderer.select(strip.mask)
    if MASK in rows:
        rows[MASK].add(mask)
    if CONFIDENCE in rows:
        assert strip.confidence is not None, "the tiler was told"
        rows[CONFIDENCE].add(strip.confidence)
    drawn: dict[str, Image] = {}
    if COLOR in rows:
        drawn[COLOR] = colorize(mask, renderer.classes)
    if OVERLAY in rows:
        drawn[OVERLAY] = renderer.draw(image.view(strip.image, row), mask)[OVERLAY]
    for kind, colors in drawn.items():
        rows[kind].add(_to_rgb(colors, strip.mask, opaque=_bands(kind, image) == 3))


def _to_rgb(colors: Image, mask: Mask, *, opaque: bool) -> Pixels:
    """Return rows of a result: red, green, blue, and opacity where pixels may be without data."""
    rgb = cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)
    if opaque:
        return np.asarray(rgb, dtype=np.uint8)
    opacity = np.where(mask == IGNORE_INDEX, 0, 255).astype(np.uint8)
    return np.dstack([rgb, opacity])


def _write_image(
    kind: str, target: Path, rows: RowFile, image: RowImage, renderer: Renderer
) -> None:
    if image.place is None or target.suffix.lower() == ".png":
        from segdeploy.imaging.large import write_large

        write_large(target, rows.pixels())
        return
    from segdeploy.imaging.raster_writer import MapFormat, write_map

    formats = {
        MASK: MapFormat(nodata=IGNORE_INDEX, classes=renderer.classes),
        CONFIDENCE: MapFormat(nodata=NO_CONFIDENCE),
    }
    write_map(target, rows.rows(), image.place, formats.get(kind, MapFormat()))


def _write_vector(kind: str, target: Path, mask: Mask, image: RowImage, job: LargeJob) -> None:
    assert image.place is not None, "it was checked"
    classes = job.renderer.classes
    if kind == AREAS:
        from segdeploy.imaging.map_areas import write_areas

        write_areas(target, mask, image.place, classes)
        return
    from segdeploy.imaging.map_polygons import write_polygons

    write_polygons(
        target,
        mask,
        image.place,
        classes=classes,
        min_area=job.renderer.min_area,
        simplify=job.simplify,
        crs=job.polygon_crs,
    )
