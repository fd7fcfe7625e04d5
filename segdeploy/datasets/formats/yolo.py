"""YOLO's segmentation labels as Ultralytics reads them: polygons in a text file for each image.

On disk: data.yaml with the `names` of the classes, images/SPLIT/NAME.jpg and labels/SPLIT/NAME.txt,
or SPLIT/images and SPLIT/labels; val may be called valid. Each line is a class and the corners of a
polygon, x and y as shares of the image's width and height. Classes are "background", which is what
no polygon covers, and the names. Polygons are drawn in the order of the file; an image without a
file is background.

The format: https://docs.ultralytics.com/datasets/segment/
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.annotations import BACKGROUND, background_of, class_of, read_lines, ring
from segdeploy.datasets.class_map import CLASS_MAP_FILE, read_class_map
from segdeploy.datasets.formats.annotated import class_map_of_labels
from segdeploy.datasets.index import DatasetIndex, Pair, find_files, match
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import DataError, LayoutNotFoundError, MissingExtraError
from segdeploy.imaging.io import read_image
from segdeploy.imaging.polygons import fill_ring, polygons

CONFIG = "data.yaml"

NEEDS = (
    f"the layout is {CONFIG}, images/SPLIT/NAME.jpg and labels/SPLIT/NAME.txt, or SPLIT/images and"
    " SPLIT/labels, inside the folder named by --data"
)


@dataclass(frozen=True, kw_only=True)
class YoloMasks:
    """Masks that are drawn from one text file for each image; a `MaskFormat`.

    Attributes:
        classes: Class by number in the files, 255 for what is not labeled.
        background: Value of a pixel that no polygon covers.
    """

    classes: tuple[int, ...]
    background: int

    def read(self, pair: Pair) -> Mask:
        """Draw the mask of one image; raises DataError where its polygons cannot be."""
        assert pair.mask is not None, "a pair without a mask is never read"
        mask = np.full(read_image(pair.image).shape[:2], self.background, np.uint8)
        for number, line in enumerate(read_lines(pair.mask), start=1):
            try:
                self._draw(mask, line.split())
            except ValueError as error:
                msg = f"{pair.mask}, line {number}: {error}; fix it or export it again"
                raise DataError(msg) from error
        return mask

    def _draw(self, mask: Mask, words: Sequence[str]) -> None:
        """Draw one line; a ValueError says what is wrong with it."""
        if not words:
            return
        if not (words[0].isdecimal() and int(words[0]) < len(self.classes)):
            msg = f"the class is {words[0][:20]!r} and must be 0 to {len(self.classes) - 1}"
            raise ValueError(msg)
        if len(words) == 5:
            msg = "it is a box, which has no outline, so no mask"
            raise ValueError(msg)
        height, width = mask.shape
        corners = ring([float(word) for word in words[1:]]) * [width, height]
        fill_ring(mask, corners, self.classes[int(words[0])])


class Yolo:
    """Images, and a text file of polygons for each."""

    name = "yolo"
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find a split; the files of polygons are read when their masks are drawn."""
        if not (data / CONFIG).is_file():
            msg = f"there is no {data / CONFIG}; {NEEDS}"
            raise LayoutNotFoundError(msg)
        folder, labels = _folders(data, split)
        names = read_names(data / CONFIG)
        given = data / CLASS_MAP_FILE
        try:
            class_map = (
                read_class_map(given)
                if given.exists()
                else class_map_of_labels((name, None) for name in names)
            )
            classes = tuple(class_of(name, class_map.labels) for name in names)
        except ValueError as error:
            msg = f"{data / CONFIG} cannot be used: {error}"
            raise DataError(msg) from error
        images = find_files(folder, needs=NEEDS)
        pairs, unpaired = match(images, find_files(labels, (".txt",), needs=NEEDS))
        return DatasetIndex(
            classes=class_map.classes,
            pairs=pairs,
            unpaired=unpaired,
            mask_format=YoloMasks(classes=classes, background=background_of(class_map)),
        )


def _folders(data: Path, split: str) -> tuple[Path, Path]:
    """Return the folders of a split's images and polygons."""
    for name in (split, "valid") if split == "val" else (split,):
        for images in (f"images/{name}", f"{name}/images"):
            if (data / images).is_dir():
                return data / images, data / images.replace("images", "labels")
    msg = f"there are no images of {split} in {data}; {NEEDS}"
    raise LayoutNotFoundError(msg)


def read_names(path: Path) -> list[str]:
    """Return the names of the classes in a data.yaml, by their numbers.

    Raises:
        MissingExtraError: PyYAML is not installed.
        DataError: The file is malformed.
    """
    try:
        import yaml
    except ImportError as error:
        library = "PyYAML"
        raise MissingExtraError(library, "yolo") from error
    try:
        content: Any = yaml.safe_load("\n".join(read_lines(path)))
        names = content["names"]
        if isinstance(names, Mapping):
            names = [names[number] for number in range(len(names))]
        return [str(name) for name in (names if isinstance(names, list) else [names])]
    except (ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        msg = f"{path} names no classes ({text}); write names: [road, car] into it"
        raise DataError(msg) from error


def lines(mask: Mask, classes: Sequence[LabelClass], *, min_area: int = 1) -> Iterator[str]:
    """Yield a line for each region of a mask: its class and its outline, to holes by a bridge.

    Args:
        mask: (H, W) uint8.
        classes: The classes; the one called "background" is what no polygon covers.
        min_area: Regions of fewer pixels are left out.
    """
    height, width = mask.shape
    for polygon in polygons(mask, len(classes), min_area=min_area):
        if classes[polygon.index].name != BACKGROUND:
            shares = polygon.one_ring() / [width, height]
            yield f"{polygon.index} {' '.join(f'{share:.7g}' for share in shares.ravel())}\n"


def config(classes: Sequence[LabelClass]) -> str:
    """Return the data.yaml of files with these classes; JSON's strings are YAML's too."""
    names = "".join(
        f"  {index}: {json.dumps(entry.name, ensure_ascii=False)}\n"
        for index, entry in enumerate(classes)
    )
    return f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}"


register_layout(Yolo())
