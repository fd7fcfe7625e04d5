"""Options of `segdeploy run` for large images, which are segmented in tiles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from segdeploy.backends.base import Backend
from segdeploy.cli.console import progress
from segdeploy.cli.options import grouped, option, section
from segdeploy.cli.run_inputs import overlap_option, tile_option
from segdeploy.cli.run_outputs import IMAGES_NAME, OutputOptions
from segdeploy.cli.run_report import SourceResult
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.overlay import CONFIDENCE
from segdeploy.imaging.render_options import RenderOptions
from segdeploy.video.outputs import unique_names
from segdeploy.video.source_kinds import NamedSource, SourceKind
from segdeploy.video.sources import ImageSource, OpenedSource

NOT_TILED = (
    "--tile is for image files whose results go to a folder; leave out --tile, or use it with"
    " --image, without --show and --output -"
)

EXTENSIONS = {"geojson": ("geojson",), "gpkg": ("gpkg",), "areas": ("json",)}
"""Extensions of results of tiles that are no images."""

IMAGE_EXTENSIONS = ("tif", "tiff", "png")


@dataclass(frozen=True, kw_only=True)
class TilingOptions:
    """How large images are cut into tiles.

    Attributes:
        tile: Height and width of a tile, in pixels of the image; None for no tiling.
        overlap: Pixels in which neighbors blend.
        suffix: Format of results that are images: "tif" or "png".
        simplify: Pixels by which outlines of polygons may move; 0 keeps every corner.
        polygon_crs: Coordinate reference system of polygons; None for the image's own.
    """

    tile: tuple[int, int] | None
    overlap: int
    suffix: str
    simplify: float
    polygon_crs: str | None

    def check_sources(self, sources: Sequence[NamedSource]) -> None:
        """Raise a ConfigError where something else than images would be cut into tiles."""
        if self.tile and any(source.kind is not SourceKind.IMAGES for source in sources):
            raise ConfigError(NOT_TILED)

    def run(
        self,
        opened: OpenedSource,
        *,
        backend: Backend,
        render: RenderOptions,
        output: OutputOptions,
        workers: int,
        should_stop: Callable[[], bool],
    ) -> SourceResult:
        """Segment images one after the other, and return the files that were written.

        An image that cannot be read is left out, and added to the losses of the source.

        Args:
            opened: The images.
            backend: The network.
            render: What is saved of each image.
            output: Where the results go.
            workers: How many tiles are segmented at the same time.
            should_stop: Called after each row of tiles.

        Raises:
            ConfigError: An option does not go together with tiles.
            DataError: No image could be read.
        """
        from segdeploy.inference.large_images import LargeJob, segment_large
        from segdeploy.inference.tiling import Tiler

        images = check_options(opened.images, render, output)
        assert self.tile is not None
        height, width = self.tile
        job = LargeJob(
            tiler=Tiler(
                backend,
                height=height,
                width=width,
                overlap=self.overlap,
                workers=workers,
                confidence=CONFIDENCE in render.kinds,
            ),
            renderer=render.large_renderer(backend.card.classes),
            simplify=self.simplify,
            polygon_crs=self.polygon_crs or "",
            settings=f"{backend.card} {self.tile} {self.overlap} {render}",
            resume=output.resume,
            should_stop=should_stop,
        )
        written: list[Path] = []
        with output.folder(IMAGES_NAME) as folder, progress("tiles", None) as step:
            assert folder is not None, "a pipe is refused"
            for path, stem in zip(images.paths, unique_names(images.paths), strict=True):
                targets = {
                    kind: output.file
                    or folder / kind / f"{stem}.{EXTENSIONS.get(kind, (self.suffix,))[0]}"
                    for kind in render.kinds
                }
                try:
                    segment_large(path, targets, job, on_step=_row_progress(step, path))
                except DataError as error:
                    images.losses.append(str(error))
                else:
                    written += targets.values()
            if not written:
                msg = f"no image could be read: {'; '.join(images.losses)}"
                raise DataError(msg)
        return SourceResult(paths=written, opened=opened)


def check_options(
    images: ImageSource | None, render: RenderOptions, output: OutputOptions
) -> ImageSource:
    """Return the images of a run whose options go together with tiles.

    Raises:
        ConfigError: One does not.
    """
    from segdeploy.inference.large_images import KINDS

    if unknown := [kind for kind in render.kinds if kind not in KINDS]:
        msg = f"{unknown[0]} cannot be saved of images in tiles; choose from {','.join(KINDS)}"
        raise ConfigError(msg)
    if images is None or output.is_pipe or output.show:
        raise ConfigError(NOT_TILED)
    file = output.file
    endings = EXTENSIONS.get(render.kinds[0], IMAGE_EXTENSIONS)
    if file is not None and (
        len(images.paths) != 1
        or len(render.kinds) != 1
        or file.suffix.lower().removeprefix(".") not in endings
    ):
        msg = (
            f"{file} is the result of one image and one --save if it ends in"
            f" .{' or .'.join(endings)}; name a folder for --output"
        )
        raise ConfigError(msg)
    return images


def _row_progress(step: Callable[[str], None], path: Path) -> Callable[[int, int], None]:
    return lambda done, height: step(f"{path.name}: {done} of {height} rows")


tiling_options = grouped(
    "tiling",
    TilingOptions,
    section(
        "Large images",
        tile_option,
        overlap_option,
        option(
            "--tile-format",
            "suffix",
            default="tif",
            type=click.Choice(("tif", "png")),
            help="File format of the results of tiles; a PNG has no place on earth.",
        ),
        option(
            "--simplify",
            default=0.0,
            type=click.FloatRange(min=0, max=1000),
            help="Pixels by which outlines of polygons may move, without gaps between neighbors.",
        ),
        option(
            "--polygon-crs",
            show_default="the image's own",
            help="Coordinate reference system of polygons, for example EPSG:4326.",
        ),
    ),
)
