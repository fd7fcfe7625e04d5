"""Pascal VOC's folders, as CVAT's "Segmentation mask 1.1" has them, read and written.

On disk: JPEGImages/NAME.jpg, SegmentationClass/NAME.png in the labels' colors, and lists of names
in ImageSets/Segmentation/{train,val,test}.txt; of another list, such as CVAT's default.txt, or of
all masks where there is none, a fifth becomes the validation split. labelmap.txt holds the labels,
one in a line, `label:red,green,blue:parts:actions`; without it, they are Pascal VOC's 20 classes.
Its color (224, 224, 192), of the borders of objects, is not labeled.

Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2015.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.card import LabelClass, printable_name
from segdeploy.datasets.annotations import BACKGROUND, read_lines
from segdeploy.datasets.class_map import MAX_CLASSES
from segdeploy.datasets.index import BY_FOLDER, DatasetIndex, find_files, match
from segdeploy.datasets.mask_formats import Colors
from segdeploy.datasets.registry import register_layout
from segdeploy.datasets.split import draw_by_scene
from segdeploy.errors import DataError
from segdeploy.imaging.palettes import Color, distinct_color

LABELS = "labelmap.txt"
MASKS, IMAGES = "SegmentationClass", "JPEGImages"
LISTS = "ImageSets/Segmentation"

NEEDS = (
    f"the layout is {IMAGES}/NAME.jpg, {MASKS}/NAME.png and {LISTS}/SPLIT.txt, inside the folder"
    " named by --data"
)

VOID: Color = (224, 224, 192)
"""Color of the borders of objects, which are not labeled."""


def voc_color(index: int) -> Color:
    """Return the color of a class of Pascal VOC: its bits, three at a time, from the top down."""
    color = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            color[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    return color[0], color[1], color[2]


NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)

CLASSES = tuple(LabelClass(name=name, color=voc_color(index)) for index, name in enumerate(NAMES))
"""Classes of Pascal VOC, which torchvision's networks are trained for too."""


class Voc:
    """Images and colored masks in one folder each, and lists of the splits' names."""

    name = "voc"
    draws_splits = True
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find the images and masks of a split."""
        masks = find_files(data / MASKS, (".png",), needs=NEEDS)
        images = find_files(data / IMAGES, needs=NEEDS)
        classes, table = read_labels(data / LABELS)
        listed = data / LISTS / f"{split}.txt"
        divided = split == "test" or (data / LISTS / "train.txt").is_file()
        lists = sorted((data / LISTS).glob("*.txt")) if not divided else [listed]
        if names := {name for path in lists for name in _names(path)}:
            masks = {name: path for name, path in masks.items() if name in names}
            images = {name: path for name, path in images.items() if name in names}
        else:
            images = {name: path for name, path in images.items() if name in masks}
        pairs, unpaired = match(images, masks)
        rule = BY_FOLDER
        if not divided:
            pairs, rule = draw_by_scene(pairs, split)
        unpaired += tuple(data / MASKS / f"{name}.png" for name in sorted(names - masks.keys()))
        return DatasetIndex(
            classes=classes,
            pairs=pairs,
            unpaired=tuple(sorted(set(unpaired))),
            mask_format=Colors(table=table, strict=True),
            rule=rule,
        )


def _names(path: Path) -> list[str]:
    return [words[0] for line in read_lines(path) if (words := line.split())]


def read_labels(path: Path) -> tuple[tuple[LabelClass, ...], tuple[tuple[Color, int], ...]]:
    """Return the classes of a labelmap.txt, and the class of each color.

    Without the file, both are Pascal VOC's.

    Raises:
        DataError: It is malformed.
    """
    if not path.exists():
        labels = [(entry.name, entry.color) for entry in CLASSES]
    else:
        try:
            labels = [_label(line) for line in read_lines(path) if line.strip() and line[0] != "#"]
            _check(labels)
        except ValueError as error:
            msg = f"{path} is no list of labels: {error}; export it again"
            raise DataError(msg) from error
    # The class that no object has comes first, as everywhere.
    labels.sort(key=lambda label: label[0] != BACKGROUND)
    classes = tuple(LabelClass(name=name, color=color) for name, color in labels)
    colors = {color: index for index, (_, color) in enumerate(labels)}
    return classes, tuple({VOID: IGNORE_INDEX, **colors}.items())


def _label(line: str) -> tuple[str, Color]:
    name, color, *_ = [*line.split(":"), ""]
    try:
        red, green, blue = (int(number) for number in color.split(","))
        bytes((red, green, blue))
    except ValueError as error:
        msg = f"the line {line[:60]!r} is not LABEL:RED,GREEN,BLUE:PARTS:ACTIONS"
        raise ValueError(msg) from error
    return printable_name(name.strip()), (red, green, blue)


def _check(labels: Sequence[tuple[str, Color]]) -> None:
    """Raise a ValueError where a label has no name, or shares name or color with another."""
    if not 1 <= len(labels) <= MAX_CLASSES:
        msg = f"there are {len(labels)}, and must be 1 to {MAX_CLASSES}"
        raise ValueError(msg)
    kinds: Mapping[str, Sequence[object]] = {
        "name": [name for name, _ in labels],
        "color": [color for _, color in labels],
    }
    for kind, values in kinds.items():
        for value in values:
            if not value or values.count(value) > 1:
                msg = f"the {kind} {value} is of no label alone"
                raise ValueError(msg)


def mask_colors(classes: Sequence[LabelClass]) -> list[Color]:
    """Return a color for each class, no two the same: its own where it can be; background black."""
    used: set[Color] = {VOID}
    colors: list[Color] = []
    for index, entry in enumerate(classes):
        wanted = (0, 0, 0) if entry.name == BACKGROUND else entry.color
        choices = [wanted, *(distinct_color(other) for other in range(index, index + 512))]
        color = next(choice for choice in choices if choice not in used)
        used.add(color)
        colors.append(color)
    return colors


def labels_text(classes: Sequence[LabelClass]) -> str:
    """Return the labelmap.txt of masks in the colors of `mask_colors`.

    CVAT wants a background, which is written even where no class is called so.
    """
    colors = mask_colors(classes)
    lines = [
        f"{entry.name.replace(':', ' ')}:{','.join(map(str, color))}::"
        for entry, color in zip(classes, colors, strict=True)
    ]
    if (0, 0, 0) not in colors and all(entry.name != BACKGROUND for entry in classes):
        lines.insert(0, f"{BACKGROUND}:0,0,0::")
    return "\n".join(["# label:color_rgb:parts:actions", *lines]) + "\n"


register_layout(Voc())
