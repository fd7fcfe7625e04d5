"""labelme: polygons in one JSON file for each image, as the annotation tool labelme writes them.

On disk: a classes.toml that names the labels, with NAME.jpg and NAME.json in train/, val/ and
test/, or all in one folder, of which a fifth of the images becomes the validation split. Shapes are
drawn in the order of the file: polygons, rectangles, circles and masks.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.datasets.annotations import (
    BACKGROUND,
    MALFORMED,
    background_of,
    class_of,
    describe_error,
    read_json,
    ring,
    rows,
    size_of,
)
from segdeploy.datasets.class_map import CLASS_MAP_FILE, ClassMap, read_class_map
from segdeploy.datasets.index import BY_FOLDER, DatasetIndex, Pair, find_files, match
from segdeploy.datasets.registry import register_layout
from segdeploy.datasets.split import draw_by_scene
from segdeploy.errors import DataError
from segdeploy.imaging.io import decode_ids
from segdeploy.imaging.polygons import Ring, circle_ring, fill_ring

NEEDS = (
    f"the layout is {CLASS_MAP_FILE}, with NAME.jpg and NAME.json in train/ and val/, or all"
    " together (of which a fifth becomes val), inside the folder named by --data"
)


@dataclass(frozen=True, kw_only=True)
class LabelmeMasks:
    """Masks that are drawn from one JSON file for each image; a `MaskFormat`.

    Shapes are drawn in the order of the file, so that a later one covers an earlier one.

    Attributes:
        labels: Class by label, 255 for what is not labeled.
        background: Value of a pixel that no shape covers.
    """

    labels: Mapping[str, int]
    background: int

    def read(self, pair: Pair) -> Mask:
        """Draw the mask of one image.

        Raises:
            DataError: The JSON is not a labelme file, or has an unknown label.
        """
        assert pair.mask is not None, "a pair without a mask is never read"
        content = read_json(pair.mask)
        try:
            size = size_of(content["imageHeight"], content["imageWidth"])
            mask = np.full(size, self.background, np.uint8)
            for number, shape in enumerate(rows(content, "shapes")):
                _draw_one(mask, number, shape, self.labels)
        except MALFORMED as error:
            msg = (
                f"{pair.mask} is not a labelme file that can be used: {describe_error(error)}; fix"
                " it or export it again"
            )
            raise DataError(msg) from error
        return mask


class Labelme:
    """Images and JSON files of one name, in one folder or in one for each split."""

    name = "labelme"
    draws_splits = True
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find a split; the JSON files are read when their masks are drawn."""
        class_map = read_class_map(data / CLASS_MAP_FILE)
        valid = split == "val" and (data / "valid").is_dir()
        folder = data / ("valid" if valid else split)
        divided = (data / "train").is_dir() or folder.is_dir() or split == "test"
        if not divided:
            folder = data
        pairs, unpaired = match(
            find_files(folder, needs=NEEDS), find_files(folder, (".json",), needs=NEEDS)
        )
        rule = BY_FOLDER
        if not divided:
            pairs, rule = draw_by_scene(pairs, split)
        return DatasetIndex(
            classes=class_map.classes,
            pairs=pairs,
            unpaired=unpaired,
            mask_format=_mask_format(class_map),
            rule=rule,
        )


def _mask_format(class_map: ClassMap) -> LabelmeMasks:
    """Return the format with the labels of the class map, and those of labelme itself."""
    background = background_of(class_map)
    # labelme's own converters give these two labels a meaning.
    labels = {
        "__ignore__": IGNORE_INDEX,
        "_background_": background,
        BACKGROUND: background,
        **class_map.labels,
    }
    return LabelmeMasks(labels=labels, background=background)


def _draw_one(mask: Mask, number: int, shape: Mapping[str, Any], labels: Mapping[str, int]) -> None:
    """Draw a shape; a ValueError says which one is malformed."""
    try:
        _draw(mask, shape, class_of(str(shape["label"]), labels))
    except MALFORMED as error:
        msg = f"shape number {number} ({str(shape.get('label'))[:60]}): {describe_error(error)}"
        raise ValueError(msg) from error


def _draw(mask: Mask, shape: Mapping[str, Any], value: int) -> None:
    kind = shape.get("shape_type", "polygon")
    points = shape["points"]
    if kind == "mask":
        _stamp(mask, points, base64.b64decode(shape["mask"], validate=True), value)
    elif kind in RINGS:
        fill_ring(mask, ring(RINGS[kind](points)), value)
    else:
        msg = f"a shape is a {str(kind)[:20]!r}, which has no area; use {', '.join(RINGS)} or mask"
        raise ValueError(msg)


def _rectangle(points: Any) -> Any:  # noqa: ANN401 - untrusted JSON
    (left, top), (right, bottom) = points
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _circle(points: Any) -> Ring:  # noqa: ANN401 - untrusted JSON
    ring([*points, points[0]])
    center, edge = points
    return circle_ring(center, edge)


RINGS: Mapping[str, Callable[[Any], Any]] = {
    "polygon": lambda points: points,
    "rectangle": _rectangle,
    "circle": _circle,
}


def _stamp(
    mask: Mask,
    points: Any,  # noqa: ANN401 - untrusted JSON
    content: bytes,
    value: int,
) -> None:
    """Write a value where a PNG is not black; the points are its first and last pixel."""
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    width, height = right - left + 1, bottom - top + 1
    stamp = decode_ids(content, name="the mask of a shape")
    if (
        stamp.shape != (height, width)
        or min(left, top) < 0
        or right >= mask.shape[1]
        or bottom >= mask.shape[0]
    ):
        msg = "a mask has another size than its points say, or leaves the image"
        raise ValueError(msg)
    mask[top : bottom + 1, left : right + 1][stamp > 0] = value


register_layout(Labelme())
