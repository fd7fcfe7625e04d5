"""`run`: drawing and tiling options."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from segdeploy.arrays import Image
from segdeploy.backends.base import Backend
from segdeploy.card import LabelClass
from segdeploy.cli.console import progress
from segdeploy.cli.options import ImageSize, grouped
from segdeploy.cli.run_outputs import OutputOptions
from segdeploy.errors import ConfigError
from segdeploy.imaging.io import read_image
from segdeploy.imaging.overlay import CUTOUT, KINDS, OVERLAY, Drawing
from segdeploy.imaging.palettes import PALETTES, recolored
from segdeploy.inference.tiling import Tiler
from segdeploy.system.runs import result_folder
from segdeploy.video.outputs import unique_names
from segdeploy.video.sources import ImageSource


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """What was asked for, before the network's classes are known.

    Attributes:
        kinds: Which of `KINDS` are kept.
        opacity: Share of the color in the overlay, in [0, 1].
        legend: Whether the classes' names stand in the overlay.
        contours: Whether the regions' edges are drawn in the full colors.
        names: Classes that are kept; all where there is none.
        palette: Name or file of other colors; None for the network's own.
        background: What is behind a cutout, as an image or as one pixel; transparent where None.
    """

    kinds: tuple[str, ...]
    opacity: float
    legend: bool
    contours: bool
    names: tuple[str, ...]
    palette: str | None
    background: Image | None

    def __post_init__(self) -> None:
        if CUTOUT in self.kinds and not self.names:
            msg = "a cutout needs to know of what; add --classes, for example --classes car,person"
            raise ConfigError(msg)
        if self.background is not None and CUTOUT not in self.kinds:
            msg = "--background is what is behind a cutout; add --save cutout"
            raise ConfigError(msg)

    def drawing(self, classes: Sequence[LabelClass]) -> Drawing:
        """Return what draws a network's classes.

        Raises ConfigError where they are others than those asked for.
        """
        # Capital letters make a difference only where two classes differ in nothing else.
        exact = {entry.name: index for index, entry in enumerate(classes)}
        known = {name.casefold(): index for name, index in exact.items()} | exact
        places = [known.get(name, known.get(name.casefold())) for name in self.names]
        if None in places:
            names = ", ".join(entry.name for entry in classes)
            msg = (
                f"{self.names[places.index(None)]!r} in --classes is no class of the network; its"
                f" classes are {names}"
            )
            raise ConfigError(msg)
        return Drawing(
            recolored(classes, self.palette) if self.palette else classes,
            self.kinds,
            opacity=self.opacity,
            legend=self.legend,
            contours=self.contours,
            only=[place for place in places if place is not None] if self.names else None,
            background=self.background,
        )


def read_kinds(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    """Read a list as in "mask,overlay"."""
    kinds = split(text)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        msg = f"{unknown[0]!r} cannot be kept; choose from {','.join(KINDS)}"
        raise click.BadParameter(msg)
    return kinds


def read_names(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[str, ...]:
    """Read a list as in "road,car"."""
    return split(text or "")


def split(text: str) -> tuple[str, ...]:
    """Take a list apart at its commas; nothing stands twice."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def read_background(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> Image | None:
    """Read a color, as one pixel, or an image."""
    if text is None:
        return None
    digits = text.removeprefix("#")
    if (
        len(digits) == 6
        and all(digit in "0123456789abcdefABCDEF" for digit in digits)
        and not Path(text).exists()
    ):
        return np.array([[tuple(bytes.fromhex(digits))[::-1]]], np.uint8)
    return read_image(Path(text))


drawing_options = grouped(
    "wish",
    RenderOptions,
    click.option(
        "--save",
        "kinds",
        default=OVERLAY,
        show_default=True,
        callback=read_kinds,
        help=f"What is kept, of {','.join(KINDS)}.",
    ),
    click.option(
        "--opacity",
        default=0.5,
        show_default=True,
        type=click.FloatRange(0, 1),
        help="Share of the colors in the overlay.",
    ),
    click.option(
        "--legend/--no-legend",
        default=True,
        show_default=True,
        help="Whether the classes' names stand in the overlay.",
    ),
    click.option(
        "--contours", is_flag=True, help="Draw the edges of the regions in their full colors."
    ),
    click.option(
        "--classes",
        "names",
        callback=read_names,
        help="Keep these only, as in road,car; all others are left as they are.",
    ),
    click.option(
        "--palette",
        help=(
            f"Other colors: {', '.join(PALETTES)}, or a TOML file with lines such as road ="
            ' "#804080".'
        ),
    ),
    click.option(
        "--background",
        callback=read_background,
        help="Behind a cutout: a color such as 00ff00, or an image.  [default: nothing]",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How large images are cut.

    Attributes:
        tile: Height and width of a window, in pixels of the image; None for images as they are.
        overlap: Pixels in which neighbors blend.
        ending: What is written: "tif" or "png".
    """

    tile: tuple[int, int] | None
    overlap: int
    ending: str

    def run(
        self,
        images: ImageSource | None,
        *,
        backend: Backend,
        wish: RenderOptions,
        place: OutputOptions,
        workers: int,
        go_on: Callable[[], bool],
    ) -> list[Path]:
        """Segment images one after the other, and give the files that were written.

        None, no images, is refused.

        Raises:
            ConfigError: What is wanted cannot be had of large images.
        """
        from segdeploy.inference.tiling import KINDS, segment_large

        if unknown := [kind for kind in wish.kinds if kind not in KINDS]:
            msg = f"{unknown[0]} cannot be kept of images in tiles; choose from {','.join(KINDS)}"
            raise ConfigError(msg)
        if images is None or place.is_pipe or place.shown or place.resume:
            msg = (
                "--tile is for images in files, whose results go to files at once; leave it out,"
                " or name images with --image alone"
            )
            raise ConfigError(msg)
        assert self.tile is not None
        height, width = self.tile
        tiler = Tiler(backend, height=height, width=width, overlap=self.overlap, workers=workers)
        drawing = replace(wish, legend=False).drawing(backend.card.classes)
        written: list[Path] = []
        with (
            result_folder("run", place.name or "pictures", output=place.output) as folder,
            progress("tiles", None) as step,
        ):
            for path, name in zip(images.paths, unique_names(images.paths), strict=True):
                targets = {kind: folder / kind / f"{name}.{self.ending}" for kind in wish.kinds}
                told = _teller(step, path)
                segment_large(
                    path, targets, tiler=tiler, drawing=drawing, go_on=go_on, on_step=told
                )
                written += targets.values()
        return written


def _teller(step: Callable[[str], None], path: Path) -> Callable[[int, int], None]:
    return lambda done, height: step(f"{path.name}: {done} of {height} rows")


tiling_options = grouped(
    "tiling",
    Tiling,
    click.option(
        "--tile",
        type=ImageSize(),
        help="Cut images of any size into such windows, and never hold a whole one in memory.",
    ),
    click.option(
        "--overlap",
        default=64,
        show_default=True,
        type=click.IntRange(min=0),
        help="Pixels in which tiles blend.",
    ),
    click.option(
        "--tile-format",
        "ending",
        default="tif",
        show_default=True,
        type=click.Choice(("tif", "png")),
        help="Of tiles' results.",
    ),
)
