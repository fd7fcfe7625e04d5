"""Colors in a mask where numbers were meant: which class each color may stand for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segdeploy.card import LabelClass
from segdeploy.scores import IGNORED, Mask

SHOWN = 6
"""Colors that are named in a sentence; the rest is counted."""


def offer(path: Path, classes: Sequence[LabelClass]) -> str:
    """Say what the colors of a mask may mean: the class of the same color, or that the three channels hold one number.

    Args:
        path: A colored mask that can be decoded.
        classes: Classes in the order of the masks' indices.
    """
    with Image.open(path) as image:
        found = sorted(image.convert("RGB").getcolors(1 << 24) or [], reverse=True)
    colors = [color for _, color in found if isinstance(color, tuple)]
    if all(len(set(color)) == 1 for color in colors):
        return "its three channels are alike; if they hold the class ids, save one of them as a grey PNG"
    names = {entry.color: entry.name for entry in classes}
    lines = [f"({red}, {green}, {blue}) = {names.get((red, green, blue), 'no class')}" for red, green, blue in colors[:SHOWN]]
    rest = f" and {len(colors) - SHOWN} more" if len(colors) > SHOWN else ""
    return f"its colors, the most frequent first, are {'; '.join(lines)}{rest}; write them into classes.toml for the data set 'folder'"


def by_palette(path: Path, classes: Sequence[LabelClass]) -> Mask:
    """Read a palette picture by its colors instead of its numbers; a color that is no class's becomes 255.

    Args:
        path: A palette picture that can be decoded.
        classes: Classes in the order of the masks' indices.
    """
    with Image.open(path) as image:
        table = np.full(256, IGNORED, np.uint8)
        for number, index in _meant(image, classes).items():
            table[number] = index
        return np.asarray(table[np.asarray(image)], dtype=np.uint8)


def remap(path: Path, classes: Sequence[LabelClass]) -> str:
    """Say which number of a palette picture has which class's color."""
    with Image.open(path) as image:
        used = set(np.unique(np.asarray(image)).tolist())
        meant = {number: index for number, index in _meant(image, classes).items() if number in used}
    lines = [f"{number} has the color of {classes[index].name} ({index})" for number, index in list(meant.items())[:SHOWN]]
    return f"{', '.join(lines)}; save the class ids as grey PNG, or give their numbers in classes.toml for the data set 'folder'"


def _meant(image: Image.Image, classes: Sequence[LabelClass]) -> dict[int, int]:
    """Give for each number of a palette whose color is a class's the class."""
    indices = {entry.color: index for index, entry in enumerate(classes)}
    palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3).tolist()
    return {number: indices[red, green, blue] for number, (red, green, blue) in enumerate(palette) if (red, green, blue) in indices}
