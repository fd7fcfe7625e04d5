"""A first classes.toml for the user's own data, made by looking at masks or labels."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segdeploy.datasets.coco import find_place, legend_of, unusable
from segdeploy.datasets.legend import MAX_CLASSES, distinct_color
from segdeploy.datasets.mixtures import Values, reach_between
from segdeploy.datasets.outlines import BACKGROUND, read_json
from segdeploy.datasets.pairing import find_files
from segdeploy.datasets.truth import Color
from segdeploy.errors import AbsentError, DataError
from segdeploy.pictures import read_ids, read_picture
from segdeploy.scores import IGNORED
from segdeploy.toml import lines

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
NEEDS = f"there are no masks in {', '.join(MASKS)}, no COCO file and no labelme files; put masks into masks/ under their pictures' names"


def propose(data: Path) -> str:
    """Look at the masks, the COCO file or the labelme files of a folder and write what classes.toml may be.

    Args:
        data: Folder of the data set.

    Returns:
        TOML text whose names are to be changed; it can be used as it is.

    Raises:
        DataError: There is nothing to look at, a file cannot be read, or the masks hold more colors than classes can be.
    """
    for name in MASKS:
        if (data / name).is_dir() and any(path.is_file() for path in (data / name).iterdir()):
            return _of_masks(list(find_files(data / name, needs=NEEDS).values()))
    try:
        annotations, _ = find_place(data, "train")
    except AbsentError:
        return _of_labels(data)
    try:
        legend = legend_of(read_json(annotations))
    except ValueError as error:
        raise unusable(annotations, error) from error
    return _text(f"the categories of {annotations.name}", [_entry(one.name, one.color) for one in legend.classes])


def _of_masks(paths: Sequence[Path]) -> str:
    seen = _spread(paths)
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
    return _of_numbers(sorted(grey for grey, _, _ in values.pixels), palette, origin)


def _refuse_deep(path: Path) -> None:
    """Tell of numbers of 16 bits and more, in which there are no colors to look for."""
    with Image.open(path) as image:
        if not image.mode.startswith(("I", "F")):
            return
        numbers = np.asarray(image)
    found = f"{path} holds numbers from {numbers.min()} to {numbers.max()}"
    msg = f"{found}, and the id of a class is within 0 and 255; save the ids as 8-bit grey PNG"
    raise DataError(msg)


def _refuse_photographs(values: Values, origin: str) -> None:
    """Tell of masks whose values are many and whose areas are not even."""
    if len(values.pixels) > MANY and not values.are_even():
        msg = (
            f"{origin} hold {len(values.pixels)} values and hardly an even area, as photographs do; save one class id a pixel as 8-bit PNG"
        )
        raise DataError(msg)


def _of_numbers(numbers: Sequence[int], palette: Mapping[int, Color], origin: str) -> str:
    binary = len(numbers) == 2 and numbers[0] == 0 and numbers[1] in {1, IGNORED}
    kept = [number for number in numbers if binary or number != IGNORED]
    if not kept:
        msg = f"all {origin} hold nothing but {IGNORED}, which is not labelled"
        raise DataError(msg)
    names = [BACKGROUND, "foreground"] if binary else [f"class_{number}" for number in kept]
    colors = [palette.get(number, distinct_color(index)) for index, number in enumerate(kept)]
    entries = [_entry(name, color, id=number) for name, color, number in zip(names, colors, kept, strict=True)]
    return _text(f"the numbers in {origin}", entries, ignore=[IGNORED] if IGNORED not in kept else [])


def _of_colors(values: Values, origin: str) -> str:
    if pure := values.without_mixtures():
        return _of_mixtures(pure, origin)
    if len(values.pixels) > MAX_CLASSES:
        msg = f"{origin} hold {len(values.pixels)} colors, which is more than classes can be; are these masks, and were they never JPEG?"
        raise DataError(msg)
    _refuse_photographs(values, origin)
    return _text(f"the colors in {origin}", _color_entries(sorted(values.pixels)))


def _of_mixtures(pure: Sequence[Color], origin: str) -> str:
    """Take the colors of even areas; each mixture at an edge becomes the nearest grey, or is not labelled where it is far from all."""
    grey = all(len(set(color)) == 1 for color in pure)
    reach = reach_between(color[0] for color in pure) if grey else REACH
    head = f"the colors in {origin}, whose edges are smoothed: save masks without smoothing"
    return _text(head, _color_entries(pure), reach=reach)


def _of_noise(counts: Counter[Color], origin: str) -> str:
    """Take the frequent colors that are no neighbours of a more frequent one."""
    centers: list[Color] = []
    for color, count in counts.most_common():
        if count < RARE * counts.total() or len(centers) == MAX_CLASSES:
            break
        if all(sum((a - b) ** 2 for a, b in zip(color, center, strict=True)) > REACH**2 for center in centers):
            centers.append(color)
    return _text(f"the colors in {origin}, which JPEG has changed: save masks as PNG", _color_entries(sorted(centers)), reach=REACH)


def _color_entries(colors: Sequence[Color]) -> list[str]:
    if list(colors) == [(0, 0, 0), (255, 255, 255)]:
        names = [BACKGROUND, "foreground"]
    else:
        names = [f"class_{index}" for index in range(len(colors))]
    return [_entry(name, color, mask_color=color) for name, color in zip(names, colors, strict=True)]


def _of_labels(data: Path) -> str:
    """Collect the labels of labelme files."""
    folder = next((data / name for name in LABELS if any((data / name).glob("*.json"))), None)
    if folder is None:
        msg = f"{NEEDS}; looked in {data}"
        raise DataError(msg)
    paths = list(find_files(folder, (".json",), needs=NEEDS).values())
    labels: set[str] = set()
    for path in _spread(paths):
        try:
            labels |= {str(shape["label"]) for shape in read_json(path)["shapes"]}
        except (TypeError, KeyError) as error:
            msg = f"{path} is no labelme file: it has no shapes with labels"
            raise DataError(msg) from error
    names = [BACKGROUND, *sorted(label for label in labels - {BACKGROUND} if not label.startswith("_"))]
    entries = [_entry(name, distinct_color(index - 1) if index else (0, 0, 0)) for index, name in enumerate(names[:MAX_CLASSES])]
    return _text(f"the labels in {min(len(paths), SEEN)} of {len(paths)} labelme files", entries)


def _spread(paths: Sequence[Path]) -> list[Path]:
    """Take up to `SEEN` paths, evenly from the first to the last."""
    return [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, min(SEEN, len(paths))).astype(int))]


def _colors_of(paths: Iterable[Path]) -> Values:
    values = Values()
    for path in paths:
        values.add(read_picture(path))
    return values


def _palette(path: Path) -> dict[int, Color]:
    """Give the colors of a palette picture; none where it has only grey ones."""
    with Image.open(path) as image:
        values = image.getpalette("RGB") or []
    colors = {number: (values[at], values[at + 1], values[at + 2]) for number, at in enumerate(range(0, len(values), 3))}
    return colors if any(len(set(color)) > 1 for color in colors.values()) else {}


def _entry(name: str, color: Color, **others: object) -> str:
    values = {
        "name": name,
        "color": list(color),
        **{key: list(value) if isinstance(value, tuple) else value for key, value in others.items()},
    }
    return "[[classes]]\n" + lines(values)


def _text(origin: str, entries: Sequence[str], **top: object) -> str:
    head = [f"# Made from {origin}. Name the classes, and put what is no class into ignore."]
    head += [lines({key: value for key, value in top.items() if value})]
    return "\n\n".join(["\n".join(filter(None, head)), *entries]) + "\n"
