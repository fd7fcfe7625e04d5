"""Colors for the classes: by the name of a palette, or from a file."""

import colorsys
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from msgspec.structs import replace

from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError

Color = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000")
"""Colors that color-blind people can distinguish (Okabe and Ito, Color Universal Design, 2008)."""

DISTINCT = (
    "#E1A500 #00D2FF #5A00C3 #F0005A #E1F0C3 #781E69 #004B00 #6978E1 #FF5AB4 #787800 #A5FF69 "
    "#1EA578 #870F3C #96C369 #782DA5 #FFC3D2 #B40FFF #A5001E #5A5A96 #A55A87 #000FFF #FF8796 "
    "#E1E100 #F0693C #4BFF96 #F000B4 #69A5FF #785A3C #D21ED2 #78C3A5 #C378D2 #C30069 #C3A5D2 "
    "#A5E1FF #F00000 #003C87 #3CD21E #C35A3C #9669FF #A5B478"
)
"""Colors of which each was the farthest from those before it, in CIELAB, as people see it who lack
no cones or one kind of them (Machado, Oliveira and Fernandes, A Physiologically-based Model for
Simulation of Color Vision Deficiency, 2009). Two of the first 8 are 29 apart or more, two of the
first 20 are 14 apart; about 2 is the least that a trained eye sees."""

MAX_BYTES = 1024 * 1024


def recolor(classes: Sequence[LabelClass], name: str) -> tuple[LabelClass, ...]:
    """Return the classes in the colors of a palette.

    Args:
        classes: Classes in the order of the masks' indices.
        name: One of `PALETTES`, or a TOML file with lines such as `road = "#804080"` or `road =
            [128, 64, 128]`; a class that it does not name keeps its color.

    Raises:
        ConfigError: There is no such palette or file, or it does not fit the classes.
    """
    colors = PALETTES[name](len(classes)) if name in PALETTES else _read(Path(name), classes)
    return tuple(replace(entry, color=color) for entry, color in zip(classes, colors, strict=True))


def distinct_color(index: int) -> Color:
    """Return a color that is unlike those of smaller indices, also to the color blind.

    Behind the colors of `DISTINCT` the hue turns by the golden angle; value and saturation change
    with it.
    """
    if index < len(colors := DISTINCT.split()):
        return _color(colors[index])
    red, green, blue = colorsys.hsv_to_rgb(
        (0.1 + index * 0.381966) % 1, 0.9 - 0.35 * (index % 3 == 1), 1 - 0.25 * (index % 2)
    )
    return _rounded(255 * red, 255 * green, 255 * blue)


def _distinct(count: int) -> list[Color]:
    return [distinct_color(index) for index in range(count)]


def _in_steps(count: int, color_map: int) -> list[Color]:
    """Return colors of one of OpenCV's color maps in equal steps, for classes that have an order.

    Google's Turbo has many colors; Cividis goes from blue to yellow for the color blind too.
    """
    steps = np.linspace(0, 255, count).round().astype(np.uint8)[:, None]
    return [
        _rounded(red, green, blue)
        for blue, green, red in cv2.applyColorMap(steps, color_map)[:, 0].tolist()
    ]


def _okabe_ito(count: int) -> list[Color]:
    if count > len(OKABE_ITO):
        msg = (
            f"the palette okabe-ito has {len(OKABE_ITO)} colors and there are {count} classes; use"
            " distinct"
        )
        raise ConfigError(msg)
    return [_color(text) for text in OKABE_ITO[:count]]


PALETTES: Mapping[str, Callable[[int], list[Color]]] = {
    "distinct": _distinct,
    "okabe-ito": _okabe_ito,
    "turbo": partial(_in_steps, color_map=cv2.COLORMAP_TURBO),
    "cividis": partial(_in_steps, color_map=cv2.COLORMAP_CIVIDIS),
}
"""Functions that return as many colors as there are classes, by the name of the palette."""


def _read(path: Path, classes: Sequence[LabelClass]) -> list[Color]:
    try:
        values = tomllib.loads(path.read_bytes()[:MAX_BYTES].decode("utf-8-sig"))
    except FileNotFoundError as error:
        msg = f"there is no palette or file {path}; palettes are {', '.join(PALETTES)}"
        raise ConfigError(msg) from error
    except (OSError, ValueError, RecursionError) as error:
        msg = f'{path} is not a palette ({error}); write lines such as: road = "#804080"'
        raise ConfigError(msg) from error
    if unknown := values.keys() - {entry.name for entry in classes}:
        msg = (
            f"{path} names {min(unknown)!r}, which is not a class; classes are"
            f" {', '.join(entry.name for entry in classes)}"
        )
        raise ConfigError(msg)
    try:
        return [
            _color(values[entry.name]) if entry.name in values else entry.color for entry in classes
        ]
    except (TypeError, ValueError) as error:
        msg = f"{path}: {error}"
        raise ConfigError(msg) from error


def _color(value: object) -> Color:
    """Read "#804080" or [128, 64, 128]; anything else is a ValueError."""
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return _rounded(*bytes.fromhex(value[1:]))
    if (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(part, int) and 0 <= part <= 255 for part in value)
    ):
        return _rounded(*value)
    msg = f'{str(value)[:40]!r} is not a color; write "#804080" or [128, 64, 128]'
    raise ValueError(msg)


def _rounded(red: float, green: float, blue: float) -> Color:
    return round(red), round(green), round(blue)
