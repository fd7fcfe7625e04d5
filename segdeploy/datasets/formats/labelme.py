"""Outlines in labelme's JSON files, one beside each image, drawn as masks."""

import base64
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.datasets.annotations import (
    BACKGROUND,
    FOREIGN,
    class_of,
    ground,
    in_words,
    read_json,
    ring,
    rows,
    size_of,
)
from segdeploy.datasets.class_map import LEGEND, read_class_map
from segdeploy.datasets.index import DatasetIndex, Pair, draw_split, find_files, match
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import DataError
from segdeploy.imaging.polygons import Ring, circle, fill_ring

NEEDS = (
    f"the layout is {LEGEND}, with NAME.jpg and NAME.json in train/ and val/, or all together (of"
    " which a fifth becomes val), inside the folder named by --data"
)


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """Truth that is drawn from one JSON file an image, in the order of the file, so that a later shape covers an earlier one.

    Attributes:
        labels: Class by label, 255 for what is not labeled.
        ground: Value of a pixel that no shape covers.
    """

    labels: Mapping[str, int]
    ground: int

    def read(self, pair: Pair) -> Mask:
        """Draw the mask of one image.

        Raises DataError where the JSON is no labelme file or has an unknown label.
        """
        assert pair.mask is not None, "a pair without truth is not read"
        content = read_json(pair.mask)
        try:
            mask = np.full(
                size_of(content["imageHeight"], content["imageWidth"]), self.ground, np.uint8
            )
            for number, shape in enumerate(rows(content, "shapes")):
                _draw_one(mask, number, shape, self.labels)
        except FOREIGN as error:
            msg = (
                f"{pair.mask} is no labelme file that can be used: {in_words(error)}; mend it or"
                " export it again"
            )
            raise DataError(msg) from error
        return mask


class Labelme:
    """Images and JSON files of one name, in one folder or in one for each split."""

    name = "labelme"
    splits = ("train", "val", "test")

    def survey(self, data: Path, split: str) -> DatasetIndex:
        """Find a split; the JSON files are read when their masks are drawn."""
        legend = read_class_map(data / LEGEND)
        # labelme's own converters know these two labels.
        labels = {
            "__ignore__": IGNORE_INDEX,
            "_background_": ground(legend),
            BACKGROUND: ground(legend),
            **legend.labels,
        }
        truth = Outlines(labels=labels, ground=ground(legend))
        named = data / ("valid" if split == "val" and (data / "valid").is_dir() else split)
        divided = (data / "train").is_dir() or named.is_dir() or split == "test"
        folder = named if divided else data
        pairs, lonely = match(
            find_files(folder, needs=NEEDS), find_files(folder, (".json",), needs=NEEDS)
        )
        if divided:
            return DatasetIndex(classes=legend.classes, pairs=pairs, lonely=lonely, truth=truth)
        kept, rule = draw_split(pairs, split, group=lambda pair: pair.name, of="pictures")
        return DatasetIndex(
            classes=legend.classes, pairs=kept, lonely=lonely, truth=truth, rule=rule
        )


def _draw_one(mask: Mask, number: int, shape: Mapping[str, Any], labels: Mapping[str, int]) -> None:
    """Draw a shape; raises ValueError that tells which one is foreign."""
    try:
        _draw(mask, shape, class_of(str(shape["label"]), labels))
    except (*FOREIGN, cv2.error) as error:
        msg = f"shape number {number} ({str(shape.get('label'))[:60]}): {in_words(error)}"
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


def _rectangle(points: Any) -> Any:  # noqa: ANN401 - foreign JSON
    (left, top), (right, bottom) = points
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _circle(points: Any) -> Ring:  # noqa: ANN401 - foreign JSON
    ring([*points, points[0]])
    center, edge = points
    return circle(center, edge)


RINGS: Mapping[str, Callable[[Any], Any]] = {
    "polygon": lambda points: points,
    "rectangle": _rectangle,
    "circle": _circle,
}


def _stamp(mask: Mask, points: Any, content: bytes, value: int) -> None:  # noqa: ANN401 - foreign JSON
    """Write a value where a PNG is not black; the points are its first and its last pixel."""
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    width, height = right - left + 1, bottom - top + 1
    if len(content) < 24:
        msg = "a mask is no PNG"
        raise ValueError(msg)
    # The size is checked before anything is unpacked.
    if (
        struct.unpack(">II", content[16:24]) != (width, height)
        or min(left, top) < 0
        or right >= mask.shape[1]
        or bottom >= mask.shape[0]
    ):
        msg = "a mask has another size than its points say, or leaves the image"
        raise ValueError(msg)
    stamp = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if stamp is None:
        msg = "a mask is no PNG"
        raise ValueError(msg)
    mask[top : bottom + 1, left : right + 1][stamp > 0] = value


register_layout(Labelme())
