"""Options of what is saved of each frame and how it is drawn, before the classes are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdeploy.arrays import Image
from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError
from segdeploy.imaging.io import read_image
from segdeploy.imaging.overlay import (
    COCO,
    CUTOUT,
    GEOJSON,
    GPKG,
    KINDS,
    MAP_KINDS,
    OVERLAY,
    YOLO,
    Renderer,
)
from segdeploy.imaging.palettes import recolor


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """What is saved of each frame, before the network's classes are known.

    Attributes:
        kinds: Which of `KINDS` are saved, and of `MAP_KINDS` of large images.
        opacity: Opacity of the colors in the overlay, in [0, 1].
        legend: Whether the overlay has a legend.
        contours: Whether the outlines of regions are drawn in opaque colors.
        names: Classes that are shown; all where there is none.
        palette: Name or file of other colors; None for the network's own.
        background: What is behind a cutout: an image, or one pixel of its color; transparent where
            None.
        min_area: Pixels of the smallest region in GeoJSON, GeoPackage, COCO and YOLO.
    """

    kinds: tuple[str, ...] = (OVERLAY,)
    opacity: float = 0.5
    legend: bool = True
    contours: bool = False
    names: tuple[str, ...] = ()
    palette: str | None = None
    background: Image | None = None
    min_area: int = 1

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: A kind is unknown, a cutout has no classes, or a background no cutout.
        """
        known = (*KINDS, *MAP_KINDS)
        if unknown := [kind for kind in self.kinds if kind not in known]:
            msg = f"{unknown[0]!r} cannot be saved; choose from {', '.join(known)}"
            raise ConfigError(msg)
        if CUTOUT in self.kinds and not self.names:
            msg = "a cutout needs its classes; add --classes, for example --classes car,person"
            raise ConfigError(msg)
        if self.background is not None and CUTOUT not in self.kinds:
            msg = "--background is for a cutout; add --save cutout"
            raise ConfigError(msg)
        if self.min_area < 1:
            msg = f"min_area is {self.min_area}; it must be at least 1"
            raise ConfigError(msg)
        if self.min_area > 1 and not {GEOJSON, GPKG, COCO, YOLO} & set(self.kinds):
            msg = (
                f"--min-area is for the regions in {GEOJSON}, {GPKG}, {COCO} and {YOLO}; add"
                f" --save {GEOJSON}, for example"
            )
            raise ConfigError(msg)

    def renderer(self, classes: Sequence[LabelClass]) -> Renderer:
        """Return what draws the frames of a network with these classes.

        Raises:
            ConfigError: A name in `names` is not a class of the network, the palette does not fit,
                or something is saved that is made of large images only.
        """
        if maps := [kind for kind in self.kinds if kind in MAP_KINDS]:
            msg = f"{maps[0]} is made of maps, which are cut into tiles; add --tile 512"
            raise ConfigError(msg)
        return self._renderer(classes, legend=self.legend)

    def large_renderer(self, classes: Sequence[LabelClass]) -> Renderer:
        """Return what draws large images strip by strip; each strip would have its own legend.

        Raises:
            ConfigError: See `renderer`.
        """
        return self._renderer(classes, legend=False)

    def _renderer(self, classes: Sequence[LabelClass], *, legend: bool) -> Renderer:
        return Renderer(
            recolor(classes, self.palette) if self.palette else classes,
            self.kinds,
            opacity=self.opacity,
            legend=legend,
            contours=self.contours,
            only=class_indices(self.names, classes) if self.names else None,
            background=self.background,
            min_area=self.min_area,
        )


def class_indices(names: Sequence[str], classes: Sequence[LabelClass]) -> list[int]:
    """Return the class index of each name.

    Case matters only where the names of two classes differ only in case.

    Raises:
        ConfigError: A name is not that of a class.
    """
    exact = {entry.name: index for index, entry in enumerate(classes)}
    known = {name.casefold(): index for name, index in exact.items()} | exact
    indices = []
    for name in names:
        index = known.get(name, known.get(name.casefold()))
        if index is None:
            msg = (
                f"{name!r} is not a class of the network; its classes are"
                f" {', '.join(entry.name for entry in classes)}"
            )
            raise ConfigError(msg)
        indices.append(index)
    return indices


def read_background(text: str) -> Image:
    """Return a color such as "00ff00" as one pixel, or the image of a path.

    Raises:
        DataError: It is neither.
    """
    digits = text.removeprefix("#")
    is_hex = len(digits) == 6 and set(digits.lower()) <= set("0123456789abcdef")
    if is_hex and not Path(text).exists():
        return np.array([[tuple(bytes.fromhex(digits))[::-1]]], np.uint8)
    return read_image(Path(text))
