"""Options for pictures of any size, and what they do."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click

from segdeploy.backends.base import Backend
from segdeploy.commands.destination import Destination
from segdeploy.commands.drawing import Wish
from segdeploy.commands.grouping import grouped
from segdeploy.commands.size import ImageSize
from segdeploy.console import progress
from segdeploy.errors import ConfigError
from segdeploy.runs import result_folder
from segdeploy.tiles import Tiler
from segdeploy.video.pictures import PictureSource
from segdeploy.video.saving import unique_names


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How large pictures are cut.

    Attributes:
        tile: Height and width of a window, in pixels of the picture; None for pictures as they are.
        overlap: Pixels in which neighbours blend.
        ending: What is written: "tif" or "png".
    """

    tile: tuple[int, int] | None
    overlap: int
    ending: str

    def run(
        self, pictures: PictureSource | None, *, backend: Backend, wish: Wish, place: Destination, workers: int, go_on: Callable[[], bool]
    ) -> list[Path]:
        """Segment pictures one after the other, and give the files that were written; None, no pictures, is refused.

        Raises:
            ConfigError: What is wanted cannot be had of large pictures.
        """
        from segdeploy.video.tiling import KINDS, segment_large

        if unknown := [kind for kind in wish.kinds if kind not in KINDS]:
            msg = f"{unknown[0]} cannot be kept of pictures in tiles; choose from {','.join(KINDS)}"
            raise ConfigError(msg)
        if pictures is None or place.is_pipe or place.shown or place.resume:
            msg = "--tile is for pictures in files, whose results go to files at once; leave it out, or name pictures with --image alone"
            raise ConfigError(msg)
        assert self.tile is not None
        height, width = self.tile
        tiler = Tiler(backend, height=height, width=width, overlap=self.overlap, workers=workers)
        drawing = replace(wish, legend=False).drawing(backend.card.classes)
        written: list[Path] = []
        with result_folder("run", place.name or "pictures", output=place.output) as folder, progress("tiles", None) as step:
            for path, name in zip(pictures.paths, unique_names(pictures.paths), strict=True):
                targets = {kind: folder / kind / f"{name}.{self.ending}" for kind in wish.kinds}
                told = _teller(step, path)
                segment_large(path, targets, tiler=tiler, drawing=drawing, go_on=go_on, on_step=told)
                written += targets.values()
        return written


def _teller(step: Callable[[str], None], path: Path) -> Callable[[int, int], None]:
    return lambda done, height: step(f"{path.name}: {done} of {height} rows")


tiling_options = grouped(
    "tiling",
    Tiling,
    click.option("--tile", type=ImageSize(), help="Cut pictures of any size into such windows, and never hold a whole one in memory."),
    click.option("--overlap", default=64, show_default=True, type=click.IntRange(min=0), help="Pixels in which tiles blend."),
    click.option("--tile-format", "ending", default="tif", show_default=True, type=click.Choice(("tif", "png")), help="Of tiles' results."),
)
