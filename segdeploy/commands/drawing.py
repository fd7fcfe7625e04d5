"""Options that say what is kept of each frame, and how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from segdeploy.card import LabelClass
from segdeploy.commands.grouping import grouped
from segdeploy.errors import ConfigError
from segdeploy.palettes import PALETTES, recolored
from segdeploy.pictures import Picture, read_picture
from segdeploy.video.drawing import CUTOUT, KINDS, OVERLAY, Drawing


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for, before the network's classes are known.

    Attributes:
        kinds: Which of `KINDS` are kept.
        opacity: Share of the color in the overlay, in [0, 1].
        legend: Whether the classes' names stand in the overlay.
        contours: Whether the regions' edges are drawn in the full colors.
        names: Classes that are kept; all where there is none.
        palette: Name or file of other colors; None for the network's own.
        background: What is behind a cutout, as a picture or as one pixel; transparent where None.
    """

    kinds: tuple[str, ...]
    opacity: float
    legend: bool
    contours: bool
    names: tuple[str, ...]
    palette: str | None
    background: Picture | None

    def __post_init__(self) -> None:
        if CUTOUT in self.kinds and not self.names:
            msg = "a cutout needs to know of what; add --classes, for example --classes car,person"
            raise ConfigError(msg)
        if self.background is not None and CUTOUT not in self.kinds:
            msg = "--background is what is behind a cutout; add --save cutout"
            raise ConfigError(msg)

    def drawing(self, classes: Sequence[LabelClass]) -> Drawing:
        """Give what draws a network's classes; raises ConfigError where they are others than those asked for."""
        # Capital letters make a difference only where two classes differ in nothing else.
        exact = {entry.name: index for index, entry in enumerate(classes)}
        known = {name.casefold(): index for name, index in exact.items()} | exact
        places = [known.get(name, known.get(name.casefold())) for name in self.names]
        if None in places:
            names = ", ".join(entry.name for entry in classes)
            msg = f"{self.names[places.index(None)]!r} in --classes is no class of the network; its classes are {names}"
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


def read_names(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Read a list as in "road,car"."""
    return split(text or "")


def split(text: str) -> tuple[str, ...]:
    """Take a list apart at its commas; nothing stands twice."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def read_background(_context: click.Context, _option: click.Parameter, text: str | None) -> Picture | None:
    """Read a color, as one pixel, or a picture."""
    if text is None:
        return None
    digits = text.removeprefix("#")
    if len(digits) == 6 and all(digit in "0123456789abcdefABCDEF" for digit in digits) and not Path(text).exists():
        return np.array([[tuple(bytes.fromhex(digits))[::-1]]], np.uint8)
    return read_picture(Path(text))


drawing_options = grouped(
    "wish",
    Wish,
    click.option("--save", "kinds", default=OVERLAY, show_default=True, callback=read_kinds, help=f"What is kept, of {','.join(KINDS)}."),
    click.option("--opacity", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="Share of the colors in the overlay."),
    click.option("--legend/--no-legend", default=True, show_default=True, help="Whether the classes' names stand in the overlay."),
    click.option("--contours", is_flag=True, help="Draw the edges of the regions in their full colors."),
    click.option("--classes", "names", callback=read_names, help="Keep these only, as in road,car; all others are left as they are."),
    click.option("--palette", help=f'Other colors: {", ".join(PALETTES)}, or a TOML file with lines such as road = "#804080".'),
    click.option(
        "--background", callback=read_background, help="Behind a cutout: a color such as 00ff00, or a picture.  [default: nothing]"
    ),
)
