"""Proposal of a class map: a first classes.toml, from the masks or annotations of a folder."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, sqrt
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.datasets.annotations import BACKGROUND, read_json
from segdeploy.datasets.class_map import MAX_CLASSES
from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.datasets.formats.coco import class_map_of, unusable
from segdeploy.datasets.formats.coco_files import find_annotations
from segdeploy.datasets.index import find_files
from segdeploy.errors import DataError, LayoutNotFoundError
from segdeploy.imaging.header import open_image
from segdeploy.imaging.io import read_ids, read_image
from segdeploy.imaging.palettes import Color, distinct_color
from segdeploy.system.toml import toml_lines

SAMPLES = 100
"""Masks or label files that are read, evenly spaced over all."""

MASK_FOLDERS = ("masks", "masks/train", "train/masks")
LABEL_FOLDERS = ("train", ".")
NEEDS = (
    f"there are no masks in {', '.join(MASK_FOLDERS)}, no COCO file and no labelme files; put masks"
    " into masks/ under their images' names"
)

INTERIOR = 0.25
"""Share of a class's pixels that are surrounded by their own value; of a blend, which lies along an
edge, hardly one is."""

FLAT = 0.5
"""Share of all pixels of masks that are surrounded by their own value."""

SPAN = 100
"""Distance of the extreme grays from which on the grays between them are blends; ids, which are
counted from 0, lie closer together."""

MANY = 64
"""Number of values from which on masks are accepted only if they are flat."""

MOST_COLORS = 1 << 20
"""Colors of one mask; a mask saved as JPEG has some ten thousand. All 16 million would fill the
memory with their counts."""

JPEG = {".jpg", ".jpeg"}
JPEG_REACH = 48
"""Distance by which JPEG moves a flat color, at usual qualities."""

RARE = 0.002
"""Share of the pixels below which a color in JPEG masks is a blend."""


def propose_class_map(data: Path) -> str:
    """Return a proposal for classes.toml from a folder's masks, COCO file or labelme files.

    Args:
        data: Folder of the dataset.

    Returns:
        TOML text that can be used as it is; its names are to be changed.

    Raises:
        DataError: There is nothing to read, a file cannot be read, or the masks hold more colors
            than there can be classes.
    """
    for name in MASK_FOLDERS:
        if (data / name).is_dir() and any(path.is_file() for path in (data / name).iterdir()):
            return _from_masks(list(find_files(data / name, needs=NEEDS).values()))
    try:
        annotations = find_annotations(data, "train").file
    except LayoutNotFoundError:
        return _from_labelme(data)
    try:
        class_map = class_map_of(read_json(annotations))
    except ValueError as error:
        raise unusable(annotations, error) from error
    entries = [_entry(entry.name, entry.color) for entry in class_map.classes]
    return _toml(f"the categories of {annotations.name}", entries)


def _from_labelme(data: Path) -> str:
    """Propose the labels of labelme files."""
    folder = next(
        (data / name for name in LABEL_FOLDERS if any((data / name).glob("*.json"))), None
    )
    if folder is None:
        msg = f"{NEEDS}; searched {data}"
        raise DataError(msg)
    paths = list(find_files(folder, (".json",), needs=NEEDS).values())
    sample = _sample_of(paths)
    labels: set[str] = set()
    for path in sample:
        try:
            labels |= {str(shape["label"]) for shape in read_json(path)["shapes"]}
        except (TypeError, KeyError) as error:
            msg = f"{path} is not a labelme file: it has no shapes with labels"
            raise DataError(msg) from error
    named = sorted(label for label in labels - {BACKGROUND} if not label.startswith("_"))
    entries = [_entry(BACKGROUND, (0, 0, 0))]
    entries += [_entry(name, distinct_color(index)) for index, name in enumerate(named)]
    origin = f"the labels in {len(sample)} of {len(paths)} labelme files"
    return _toml(origin, entries[:MAX_CLASSES])


def _from_masks(paths: Sequence[Path]) -> str:
    """Propose the ids or colors of masks."""
    sample = _sample_of(paths)
    origin = f"{len(sample)} of {len(paths)} masks"
    if any(path.suffix.lower() in JPEG for path in sample):
        return _from_jpeg(_colors_of(sample).pixels, origin)
    values = PixelValues()
    palette: dict[int, Color] = {}
    for path in sample:
        try:
            ids = read_ids(path)
        except DataError:
            # Raises where the file is damaged, and does not just hold colors or deep ids.
            read_image(path)
            _refuse_deep(path)
            return _from_colors(_colors_of(sample), origin)
        values.add(ids, path)
        palette = palette or _palette(path)
    if not palette and (pure := values.without_blends()):
        return _from_blended(pure, origin)
    _refuse_photographs(values, origin)
    return _from_ids(sorted(gray for gray, _, _ in values.pixels), palette, origin)


def _sample_of(paths: Sequence[Path]) -> list[Path]:
    return [paths[index] for index in evenly_spaced(len(paths), SAMPLES)]


def _refuse_deep(path: Path) -> None:
    """Raise a DataError for ids of 16 bits and more, which are not colors either."""
    with open_image(path) as image:
        if not image.mode.startswith(("I", "F")):
            return
        ids = np.asarray(image)
    msg = (
        f"{path} holds numbers from {ids.min()} to {ids.max()}, and the id of a class is within 0"
        " and 255; save the ids as 8-bit gray PNG"
    )
    raise DataError(msg)


def _refuse_photographs(values: "PixelValues", origin: str) -> None:
    """Raise a DataError for masks that hold many values and are not flat."""
    if len(values.pixels) > MANY and not values.are_flat():
        msg = (
            f"{origin} hold {len(values.pixels)} values and hardly a flat area, as photographs do;"
            " save one class id per pixel as 8-bit PNG"
        )
        raise DataError(msg)


def _from_ids(ids: Sequence[int], palette: Mapping[int, Color], origin: str) -> str:
    """Propose one class for each id."""
    binary = len(ids) == 2 and ids[0] == 0 and ids[1] in {1, IGNORE_INDEX}
    used = [number for number in ids if binary or number != IGNORE_INDEX]
    if not used:
        msg = f"all {origin} hold nothing but {IGNORE_INDEX}, which means not labeled"
        raise DataError(msg)
    names = [BACKGROUND, "foreground"] if binary else [f"class_{number}" for number in used]
    colors = [palette.get(number, distinct_color(index)) for index, number in enumerate(used)]
    entries = [
        _entry(name, color, id=number)
        for name, color, number in zip(names, colors, used, strict=True)
    ]
    ignore = [] if IGNORE_INDEX in used else [IGNORE_INDEX]
    return _toml(f"the numbers in {origin}", entries, ignore=ignore)


def _from_colors(values: "PixelValues", origin: str) -> str:
    """Propose one class for each color."""
    if pure := values.without_blends():
        return _from_blended(pure, origin)
    if len(values.pixels) > MAX_CLASSES:
        msg = (
            f"{origin} hold {len(values.pixels)} colors, more than there can be classes; check that"
            " these are masks, and that they were never saved as JPEG"
        )
        raise DataError(msg)
    _refuse_photographs(values, origin)
    return _toml(f"the colors in {origin}", _color_entries(sorted(values.pixels)))


def _from_blended(pure: Sequence[Color], origin: str) -> str:
    """Propose the colors of flat areas, with a reach for the blends at their edges.

    A blend becomes the nearest gray, or is not labeled where it is far from every color.
    """
    gray = all(len(set(color)) == 1 for color in pure)
    reach = reach_between(color[0] for color in pure) if gray else JPEG_REACH
    origin = f"the colors in {origin}, whose edges are smoothed: save masks without smoothing"
    return _toml(origin, _color_entries(pure), reach=reach)


def reach_between(grays: Iterable[int]) -> int:
    """Return the smallest reach that covers every gray between the extremes of these.

    The distance of two colors of three equal channels is sqrt(3) times that of the grays.
    """
    gap = max(high - low for low, high in pairwise(sorted(grays)))
    return ceil(sqrt(3) * gap / 2)


def _from_jpeg(counts: Counter[Color], origin: str) -> str:
    """Propose the frequent colors that are not near a more frequent one."""
    centers: list[Color] = []
    for color, count in counts.most_common():
        if count < RARE * counts.total() or len(centers) == MAX_CLASSES:
            break
        if all(_squared_distance(color, center) > JPEG_REACH**2 for center in centers):
            centers.append(color)
    origin = f"the colors in {origin}, which JPEG has changed: save masks as PNG"
    return _toml(origin, _color_entries(sorted(centers)), reach=JPEG_REACH)


def _squared_distance(color: Color, other: Color) -> int:
    return sum((a - b) ** 2 for a, b in zip(color, other, strict=True))


@dataclass(frozen=True)
class PixelValues:
    """The values that masks hold.

    Attributes:
        pixels: How many pixels have each value: red, green and blue, a gray three times.
        interior: How many of them are surrounded by their own value, as no blend at an edge is.
    """

    pixels: Counter[Color] = field(default_factory=Counter)
    interior: Counter[Color] = field(default_factory=Counter)

    def add(self, mask: Mask | Image, path: Path) -> None:
        """Count a mask, (H, W) of ids or (H, W, 3) blue-green-red.

        Raises:
            DataError: The file holds more colors than any mask.
        """
        edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        if mask.ndim == 2:
            ids = np.asarray(mask, np.uint8)
            _count_grays(self.pixels, ids.ravel())
            _count_grays(self.interior, ids[~edges])
            return
        codes = (cv2.cvtColor(mask, cv2.COLOR_BGR2BGRA).view(np.uint32)[:, :, 0] & 0xFFFFFF).astype(
            np.int32
        )
        if (found := len(np.unique(codes))) > MOST_COLORS:
            msg = (
                f"{path} holds {found} colors, as photographs do; save one class id per pixel as"
                " 8-bit PNG"
            )
            raise DataError(msg)
        _count_colors(self.pixels, codes.ravel())
        _count_colors(self.interior, codes[~edges.any(axis=2)])

    def are_flat(self) -> bool:
        """Return whether most pixels lie in flat areas, as in masks and not in photographs."""
        return self.interior.total() >= FLAT * self.pixels.total()

    def without_blends(self) -> list[Color] | None:
        """Return the values that stand for classes, sorted.

        None where the other values do not look like blends of them.
        """
        pure = sorted(
            value
            for value, count in self.pixels.items()
            if self.interior[value] >= INTERIOR * count
        )
        blends = sorted(self.pixels.keys() - set(pure))
        if len(pure) < 2 or not self.are_flat():
            return None
        if any(len(set(color)) > 1 for color in self.pixels):
            return pure if len(blends) > 2 * len(pure) else None
        many = len(blends) >= max(2, len(pure)) and pure[-1][0] - pure[0][0] >= SPAN
        return pure if many and pure[0] < blends[0] and blends[-1] < pure[-1] else None


def _count_grays(counter: Counter[Color], values: Mask) -> None:
    counts = enumerate(np.bincount(values).tolist())
    counter.update({(gray, gray, gray): count for gray, count in counts if count})


def _count_colors(counter: Counter[Color], codes: npt.NDArray[np.int32]) -> None:
    """Count numbers of 24 bits, of which red's are the highest."""
    unique, counts = np.unique(codes, return_counts=True)
    pairs = zip(unique.tolist(), counts.tolist(), strict=True)
    counter.update({(code >> 16, code >> 8 & 255, code & 255): count for code, count in pairs})


def _colors_of(paths: Iterable[Path]) -> PixelValues:
    values = PixelValues()
    for path in paths:
        values.add(read_image(path), path)
    return values


def _palette(path: Path) -> dict[int, Color]:
    """Return the colors of a palette image; none where it has only gray ones."""
    with open_image(path) as image:
        values = image.getpalette("RGB") or []
    colors = {
        number: (values[at], values[at + 1], values[at + 2])
        for number, at in enumerate(range(0, len(values), 3))
    }
    return colors if any(len(set(color)) > 1 for color in colors.values()) else {}


def _color_entries(colors: Sequence[Color]) -> list[str]:
    names = [f"class_{index}" for index in range(len(colors))]
    if list(colors) == [(0, 0, 0), (255, 255, 255)]:
        names = [BACKGROUND, "foreground"]
    return [
        _entry(name, color, mask_color=color) for name, color in zip(names, colors, strict=True)
    ]


def _entry(name: str, color: Color, **others: object) -> str:
    """Return the TOML table of one class."""
    values = {"name": name, "color": color, **others}
    return "[[classes]]\n" + toml_lines(
        {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    )


def _toml(origin: str, entries: Sequence[str], **top: object) -> str:
    """Return the text of a classes.toml.

    Args:
        origin: What it was generated from, for its first line.
        entries: The TOML table of each class.
        top: Values at the top; empty ones are left out.
    """
    head = [
        f"# Generated from {origin}. Name the classes, and list under ignore what is not a class."
    ]
    head += [toml_lines({key: value for key, value in top.items() if value})]
    return "\n\n".join(["\n".join(filter(None, head)), *entries]) + "\n"
