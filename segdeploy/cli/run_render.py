"""Options of `segdeploy run`: what is saved of each frame, and how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from segdeploy.arrays import Image
from segdeploy.card import LabelClass
from segdeploy.cli.options import NameList, grouped, option, section
from segdeploy.errors import ConfigError
from segdeploy.imaging.io import read_image
from segdeploy.imaging.overlay import CUTOUT, KINDS, OVERLAY, Renderer
from segdeploy.imaging.palettes import PALETTES, recolor


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """What is saved of each frame, before the network's classes are known.

    Attributes:
        kinds: Which of `KINDS` are saved.
        opacity: Opacity of the colors in the overlay, in [0, 1].
        legend: Whether the overlay has a legend.
        contours: Whether the outlines of regions are drawn in opaque colors.
        names: Classes that are shown; all where there is none.
        palette: Name or file of other colors; None for the network's own.
        background: What is behind a cutout: an image, or one pixel of its color; transparent where
            None.
    """

    kinds: tuple[str, ...]
    opacity: float
    legend: bool
    contours: bool
    names: tuple[str, ...]
    palette: str | None
    background: Image | None

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: A cutout has no classes, or a background no cutout.
        """
        if CUTOUT in self.kinds and not self.names:
            msg = "a cutout needs its classes; add --classes, for example --classes car,person"
            raise ConfigError(msg)
        if self.background is not None and CUTOUT not in self.kinds:
            msg = "--background is for a cutout; add --save cutout"
            raise ConfigError(msg)

    def renderer(self, classes: Sequence[LabelClass]) -> Renderer:
        """Return what draws the frames of a network with these classes.

        Raises:
            ConfigError: A name in `names` is not a class of the network, or the palette does not
                fit.
        """
        return Renderer(
            recolor(classes, self.palette) if self.palette else classes,
            self.kinds,
            opacity=self.opacity,
            legend=self.legend,
            contours=self.contours,
            only=self._indices(classes) if self.names else None,
            background=self.background,
        )

    def _indices(self, classes: Sequence[LabelClass]) -> list[int]:
        """Return the class index of each name.

        Case matters only where the names of two classes differ only in case.
        """
        exact = {entry.name: index for index, entry in enumerate(classes)}
        known = {name.casefold(): index for name, index in exact.items()} | exact
        indices = []
        for name in self.names:
            index = known.get(name, known.get(name.casefold()))
            if index is None:
                msg = (
                    f"{name!r} in --classes is not a class of the network; its classes are"
                    f" {', '.join(entry.name for entry in classes)}"
                )
                raise ConfigError(msg)
            indices.append(index)
        return indices


def read_background(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> Image | None:
    """Return a color such as "00ff00" as one pixel, or the image of a path."""
    if text is None:
        return None
    digits = text.removeprefix("#")
    is_hex = len(digits) == 6 and set(digits.lower()) <= set("0123456789abcdef")
    if is_hex and not Path(text).exists():
        return np.array([[tuple(bytes.fromhex(digits))[::-1]]], np.uint8)
    return read_image(Path(text))


render_options = grouped(
    "render",
    RenderOptions,
    section(
        "Output",
        option(
            "--save",
            "kinds",
            default=OVERLAY,
            type=NameList(KINDS),
            help=f"What is saved: {', '.join(KINDS)}; several with commas.",
        ),
    ),
    section(
        "Renderer",
        option(
            "--opacity",
            default=0.5,
            type=click.FloatRange(0, 1),
            help="Opacity of the colors in the overlay.",
        ),
        option("--legend/--no-legend", default=True, help="Whether the overlay has a legend."),
        option(
            "--contours", is_flag=True, help="Draw the outlines of the regions in opaque colors."
        ),
        option(
            "--classes",
            "names",
            default=(),
            type=NameList(),
            help="Show these classes only, for example road,car.",
        ),
        option(
            "--palette",
            help=(
                f"Other colors: {', '.join(PALETTES)}, or a TOML file with lines such as"
                ' road = "#804080".'
            ),
        ),
        option(
            "--background",
            callback=read_background,
            show_default="transparent",
            help="Background of a cutout: a color such as 00ff00, or an image.",
        ),
    ),
)
