"""A first classes.toml from looking at masks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, sqrt
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.datasets.annotations import BACKGROUND, read_json
from segdeploy.datasets.class_map import MAX_CLASSES
from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.datasets.formats.coco import class_map_of, find_place, unusable
from segdeploy.datasets.index import find_files
from segdeploy.errors import AbsentError, DataError
from segdeploy.imaging.io import read_ids, read_image
from segdeploy.imaging.palettes import Color, distinct_color
from segdeploy.system.files import lines

PURE = 0.25
"""Share of a class's pixels that have no other value around them; of a mixture, which lies along an
edge, hardly one has."""

EVEN = 0.5
"""Share of the pixels of masks that have no other value around them."""

SPAN = 100
"""Grays between which others are mixtures lie farther apart than ids, which are counted from 0,
do."""


@dataclass(frozen=True)
class Values:
    """What masks hold.

    Attributes:
        pixels: How many pixels have each value, a color, red, green and blue, or a gray thrice.
        even: How many of them have no other value around them; a mixture at an edge has none.
    """

    pixels: Counter[Color] = field(default_factory=Counter)
    even: Counter[Color] = field(default_factory=Counter)

    def add(self, mask: Mask | Image) -> None:
        """Count a mask, (H, W) of numbers or (H, W, 3) blue-green-red."""
        edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        if mask.ndim == 2:
            _count_greys(self.pixels, mask.ravel())
            _count_greys(self.even, mask[~edges])
            return
        codes = (cv2.cvtColor(mask, cv2.COLOR_BGR2BGRA).view(np.uint32)[:, :, 0] & 0xFFFFFF).astype(
            np.int32
        )
        _count_colors(self.pixels, codes.ravel())
        _count_colors(self.even, codes[~edges.any(axis=2)])

    def are_even(self) -> bool:
        """Return whether there are areas, as in masks, and no shades all over, as in photographs."""
        return self.even.total() >= EVEN * self.pixels.total()

    def without_mixtures(self) -> list[Color] | None:
        """Return the values that stand for classes, sorted.

        None where the others do not look like mixtures of them.
        """
        pure = sorted(
            value for value, count in self.pixels.items() if self.even[value] >= PURE * count
        )
        mixed = sorted(self.pixels.keys() - set(pure))
        if len(pure) < 2 or not self.are_even():
            return None
        if any(len(set(color)) > 1 for color in self.pixels):
            return pure if len(mixed) > 2 * len(pure) else None
        many = len(mixed) >= max(2, len(pure)) and pure[-1][0] - pure[0][0] >= SPAN
        return pure if many and pure[0] < mixed[0] and mixed[-1] < pure[-1] else None


def reach_between(greys: Iterable[int]) -> int:
    """Return the distance in which every gray between the least and the greatest of these has one of them, as three equal channels."""
    ordered = sorted(greys)
    gap = max(high - low for low, high in pairwise(ordered))
    return ceil(sqrt(3) * gap / 2)


def _count_greys(counter: Counter[Color], numbers: Mask) -> None:
    counter.update(
        {
            (gray, gray, gray): count
            for gray, count in enumerate(np.bincount(numbers).tolist())
            if count
        }
    )


def _count_colors(counter: Counter[Color], codes: npt.NDArray[np.int32]) -> None:
    """Count numbers of 24 bits, of which red's are the highest."""
    numbers, counts = np.unique(codes, return_counts=True)
    found = zip(numbers.tolist(), counts.tolist(), strict=True)
    counter.update(
        {(number >> 16, number >> 8 & 255, number & 255): count for number, count in found}
    )


SEEN = 100
"""Masks or label files that are looked at, spread evenly over all."""

JPEG = {".jpg", ".jpeg"}
REACH = 48
"""Distance that JPEG moves a flat color by, at usual qualities."""
RARE = 0.002
"""Share of the pixels under which a color in JPEG masks is taken for a mixture."""

MANY = 64
"""Values from which on masks must have even areas to be believed."""

MASKS = ("masks", "masks/train", "train/masks")
LABELS = ("train", ".")
NEEDS = (
    f"there are no masks in {', '.join(MASKS)}, no COCO file and no labelme files; put masks into"
    " masks/ under their images' names"
)


def propose(data: Path) -> str:
    """Look at the masks, the COCO file or the labelme files of a folder and write what classes.toml may be.

    Args:
        data: Folder of the dataset.

    Returns:
        TOML text whose names are to be changed; it can be used as it is.

    Raises:
        DataError: There is nothing to look at, a file cannot be read, or the masks hold more colors
            than classes can be.
    """
    for name in MASKS:
        if (data / name).is_dir() and any(path.is_file() for path in (data / name).iterdir()):
            return _of_masks(list(find_files(data / name, needs=NEEDS).values()))
    try:
        annotations, _ = find_place(data, "train")
    except AbsentError:
        return _of_labels(data)
    try:
        legend = class_map_of(read_json(annotations))
    except ValueError as error:
        raise unusable(annotations, error) from error
    return _text(
        f"the categories of {annotations.name}",
        [_entry(one.name, one.color) for one in legend.classes],
    )


def _of_masks(paths: Sequence[Path]) -> str:
    seen = _some_of(paths)
    origin = f"{len(seen)} of {len(paths)} masks"
    if any(path.suffix.lower() in JPEG for path in seen):
        return _of_noise(_colors_of(seen).pixels, origin)
    values = Values()
    palette: dict[int, Color] = {}
    try:
        for path in seen:
            values.add(read_ids(path))
            palette = palette or _palette(path)
    except DataError:
        _refuse_deep(path)
        return _of_colors(_colors_of(seen), origin)
    if not palette and (pure := values.without_mixtures()):
        return _of_mixtures(pure, origin)
    _refuse_photographs(values, origin)
    return _of_numbers(sorted(gray for gray, _, _ in values.pixels), palette, origin)


def _refuse_deep(path: Path) -> None:
    """Report of numbers of 16 bits and more, in which there are no colors to look for."""
    with PillowImage.open(path) as image:
        if not image.mode.startswith(("I", "F")):
            return
        numbers = np.asarray(image)
    found = f"{path} holds numbers from {numbers.min()} to {numbers.max()}"
    msg = f"{found}, and the id of a class is within 0 and 255; save the ids as 8-bit gray PNG"
    raise DataError(msg)


def _refuse_photographs(values: Values, origin: str) -> None:
    """Report of masks whose values are many and whose areas are not even."""
    if len(values.pixels) > MANY and not values.are_even():
        msg = (
            f"{origin} hold {len(values.pixels)} values and hardly an even area, as photographs do;"
            " save one class id a pixel as 8-bit PNG"
        )
        raise DataError(msg)


def _of_numbers(numbers: Sequence[int], palette: Mapping[int, Color], origin: str) -> str:
    binary = len(numbers) == 2 and numbers[0] == 0 and numbers[1] in {1, IGNORE_INDEX}
    kept = [number for number in numbers if binary or number != IGNORE_INDEX]
    if not kept:
        msg = f"all {origin} hold nothing but {IGNORE_INDEX}, which is not labeled"
        raise DataError(msg)
    names = [BACKGROUND, "foreground"] if binary else [f"class_{number}" for number in kept]
    colors = [palette.get(number, distinct_color(index)) for index, number in enumerate(kept)]
    entries = [
        _entry(name, color, id=number)
        for name, color, number in zip(names, colors, kept, strict=True)
    ]
    return _text(
        f"the numbers in {origin}",
        entries,
        ignore=[IGNORE_INDEX] if IGNORE_INDEX not in kept else [],
    )


def _of_colors(values: Values, origin: str) -> str:
    if pure := values.without_mixtures():
        return _of_mixtures(pure, origin)
    if len(values.pixels) > MAX_CLASSES:
        msg = (
            f"{origin} hold {len(values.pixels)} colors, which is more than classes can be; are"
            " these masks, and were they never JPEG?"
        )
        raise DataError(msg)
    _refuse_photographs(values, origin)
    return _text(f"the colors in {origin}", _color_entries(sorted(values.pixels)))


def _of_mixtures(pure: Sequence[Color], origin: str) -> str:
    """Take the colors of even areas.

    Each mixture at an edge becomes the nearest gray, or is not labeled where it is far from all.
    """
    gray = all(len(set(color)) == 1 for color in pure)
    reach = reach_between(color[0] for color in pure) if gray else REACH
    head = f"the colors in {origin}, whose edges are smoothed: save masks without smoothing"
    return _text(head, _color_entries(pure), reach=reach)


def _of_noise(counts: Counter[Color], origin: str) -> str:
    """Take the frequent colors that are no neighbors of a more frequent one."""
    centers: list[Color] = []
    for color, count in counts.most_common():
        if count < RARE * counts.total() or len(centers) == MAX_CLASSES:
            break
        if all(
            sum((a - b) ** 2 for a, b in zip(color, center, strict=True)) > REACH**2
            for center in centers
        ):
            centers.append(color)
    return _text(
        f"the colors in {origin}, which JPEG has changed: save masks as PNG",
        _color_entries(sorted(centers)),
        reach=REACH,
    )


def _color_entries(colors: Sequence[Color]) -> list[str]:
    if list(colors) == [(0, 0, 0), (255, 255, 255)]:
        names = [BACKGROUND, "foreground"]
    else:
        names = [f"class_{index}" for index in range(len(colors))]
    return [
        _entry(name, color, mask_color=color) for name, color in zip(names, colors, strict=True)
    ]


def _of_labels(data: Path) -> str:
    """Collect the labels of labelme files."""
    folder = next((data / name for name in LABELS if any((data / name).glob("*.json"))), None)
    if folder is None:
        msg = f"{NEEDS}; looked in {data}"
        raise DataError(msg)
    paths = list(find_files(folder, (".json",), needs=NEEDS).values())
    labels: set[str] = set()
    for path in _some_of(paths):
        try:
            labels |= {str(shape["label"]) for shape in read_json(path)["shapes"]}
        except (TypeError, KeyError) as error:
            msg = f"{path} is no labelme file: it has no shapes with labels"
            raise DataError(msg) from error
    names = [
        BACKGROUND,
        *sorted(label for label in labels - {BACKGROUND} if not label.startswith("_")),
    ]
    entries = [
        _entry(name, distinct_color(index - 1) if index else (0, 0, 0))
        for index, name in enumerate(names[:MAX_CLASSES])
    ]
    return _text(f"the labels in {min(len(paths), SEEN)} of {len(paths)} labelme files", entries)


def _some_of(paths: Sequence[Path]) -> list[Path]:
    """Return up to `SEEN` paths, evenly spaced."""
    return [paths[index] for index in evenly_spaced(len(paths), SEEN)]


def _colors_of(paths: Iterable[Path]) -> Values:
    values = Values()
    for path in paths:
        values.add(read_image(path))
    return values


def _palette(path: Path) -> dict[int, Color]:
    """Return the colors of a palette image; none where it has only gray ones."""
    with PillowImage.open(path) as image:
        values = image.getpalette("RGB") or []
    colors = {
        number: (values[at], values[at + 1], values[at + 2])
        for number, at in enumerate(range(0, len(values), 3))
    }
    return colors if any(len(set(color)) > 1 for color in colors.values()) else {}


def _entry(name: str, color: Color, **others: object) -> str:
    values = {
        "name": name,
        "color": list(color),
        **{
            key: list(value) if isinstance(value, tuple) else value for key, value in others.items()
        },
    }
    return "[[classes]]\n" + lines(values)


def _text(origin: str, entries: Sequence[str], **top: object) -> str:
    head = [f"# Made from {origin}. Name the classes, and put what is no class into ignore."]
    head += [lines({key: value for key, value in top.items() if value})]
    return "\n\n".join(["\n".join(filter(None, head)), *entries]) + "\n"
