"""COCO: polygons and run lengths in JSON, as many annotation tools export them.

The format of Lin et al., "Microsoft COCO", ECCV 2014. Any images and classes: the file's
categories after the class "background", unless a classes.toml lies beside it.

On disk: one JSON for each split, or annotations.json for all, of which a fifth of the images
becomes the validation split; see `LOCATIONS`.

License: that of the images and annotations; COCO's own annotations are under CC BY 4.0, and its
images under the terms of Flickr.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.annotations import (
    BACKGROUND,
    BLACK,
    MALFORMED,
    background_of,
    class_of,
    describe_error,
    read_json,
    ring,
    rows,
    size_of,
)
from segdeploy.datasets.class_map import CLASS_MAP_FILE, MAX_CLASSES, ClassMap, read_class_map
from segdeploy.datasets.index import BY_FOLDER, DatasetIndex, Pair, draw_split, find_files
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import DataError, LayoutNotFoundError
from segdeploy.imaging.io import EXTENSIONS
from segdeploy.imaging.palettes import distinct_color
from segdeploy.imaging.polygons import Ring, fill_ring
from segdeploy.imaging.rle import decode_counts, fill_runs

K = TypeVar("K")
R = TypeVar("R")

UNDIVIDED = "annotations.json"
"""The file of a dataset that is not divided into splits."""

LOCATIONS = (
    ("annotations/instances_{split}2017.json", "{split}2017"),
    ("annotations/instances_{split}.json", "images/{split}"),
    ("annotations/instances_{split}.json", "{split}"),
    ("annotations/{split}.json", "images/{split}"),
    ("{split}/_annotations.coco.json", "{split}"),
    ("{valid}/_annotations.coco.json", "{valid}"),
    (UNDIVIDED, "images"),
)
"""Annotations and folder of images of a split: COCO's own, common ones, Roboflow's; the first that
exists is taken."""

NEEDS = (
    "the layout is annotations/instances_SPLIT.json and images/SPLIT/,"
    " annotations/instances_SPLIT2017.json and SPLIT2017/, SPLIT/_annotations.coco.json, or"
    f" {UNDIVIDED} and images/ (of which a fifth becomes val), inside the folder named by --data"
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One annotated object: its class, and either polygons or run lengths.

    Attributes:
        index: Class, or 255.
        rings: Polygons, whose union is filled.
        runs: Pixels outside, inside, outside ... down the columns.
    """

    index: int
    rings: tuple[Ring, ...] = ()
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageShapes:
    """The annotated objects of one image.

    Attributes:
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        shapes: Objects in the order in which they are drawn, larger ones first.
    """

    height: int
    width: int
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, kw_only=True)
class CocoMasks:
    """Masks that are drawn from shapes; a `MaskFormat`.

    Attributes:
        images: Shapes of each image, by the name of its pair.
        background: Value of a pixel that no shape covers.
    """

    images: Mapping[str, ImageShapes]
    background: int

    def read(self, pair: Pair) -> Mask:
        """Draw the mask of one image; raises DataError where run lengths do not fit it."""
        image = self.images[pair.name]
        mask = np.full((image.height, image.width), self.background, np.uint8)
        for shape in image.shapes:
            for polygon in shape.rings:
                fill_ring(mask, polygon, shape.index)
            if shape.runs:
                try:
                    fill_runs(mask, list(shape.runs), shape.index)
                except ValueError as error:
                    msg = f"{pair.mask} is damaged at the image {pair.image.name}: {error}"
                    raise DataError(msg) from error
        return mask


class Coco:
    """Images, and one JSON for each split or for all."""

    name = "coco"
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find a split, and read all of its annotations."""
        annotations, folder = find_annotations(data, split)
        class_map, shapes = _read_annotations(annotations, data / CLASS_MAP_FILE)
        files = {path.name: path for path in find_files(folder, EXTENSIONS, needs=NEEDS).values()}
        pairs = tuple(
            Pair(name=Path(name).stem, image=files[name], mask=annotations)
            for name in sorted(shapes.keys() & files.keys())
        )
        rule = BY_FOLDER
        if annotations == data / UNDIVIDED:
            pairs, rule = draw_split(pairs, split, group=lambda pair: pair.name, of="images")
        return DatasetIndex(
            classes=class_map.classes,
            pairs=pairs,
            unpaired=tuple(sorted(folder / name for name in shapes.keys() ^ files.keys())),
            mask_format=CocoMasks(
                images={pair.name: shapes[pair.image.name] for pair in pairs},
                background=background_of(class_map),
            ),
            rule=rule,
        )


def find_annotations(data: Path, split: str) -> tuple[Path, Path]:
    """Return the annotations and the folder of images of a split.

    Raises:
        LayoutNotFoundError: There are none.
    """
    valid = "valid" if split == "val" else split
    for annotations, folder in LOCATIONS:
        if annotations == UNDIVIDED and split == "test":
            continue
        file = data / annotations.format(split=split, valid=valid)
        images = data / folder.format(split=split, valid=valid)
        if file.is_file() and images.is_dir():
            return file, images
    msg = f"there are no annotations of {split} in {data}; {NEEDS}"
    raise LayoutNotFoundError(msg)


def unusable(annotations: Path, error: ValueError) -> DataError:
    """Return the error of a COCO file whose content is malformed."""
    return DataError(
        f"{annotations} is not a COCO file that can be used: {error}; fix it or export it again"
    )


def class_map_of(content: Mapping[str, Any]) -> ClassMap:
    """Return the class map of COCO's categories: the background, then they in order of their ids.

    Raises:
        ValueError: The categories are malformed or too many.
    """
    categories = _each(
        content, "categories", lambda category: (int(category["id"]), str(category["name"]))
    )
    names = list(dict.fromkeys(name for _, name in sorted(categories) if name != BACKGROUND))
    if len(names) >= MAX_CLASSES:
        msg = (
            f"there are {len(names)} categories, more than {MAX_CLASSES - 1}; group them in"
            f" {CLASS_MAP_FILE}"
        )
        raise ValueError(msg)
    classes = (
        BLACK,
        *(LabelClass(name=name, color=distinct_color(index)) for index, name in enumerate(names)),
    )
    labels = {entry.name: index for index, entry in enumerate(classes)}
    return ClassMap(classes=classes, ids={}, colors=(), labels=labels, reach=0)


def _read_annotations(
    annotations: Path, class_map_file: Path
) -> tuple[ClassMap, dict[str, ImageShapes]]:
    """Return the class map, and the shapes of each image by the name of its file.

    Raises:
        DataError: A file is malformed.
    """
    content = read_json(annotations)
    try:
        if class_map_file.exists():
            class_map = read_class_map(class_map_file)
        else:
            class_map = class_map_of(content)
        return class_map, _image_shapes(content, class_map)
    except ValueError as error:
        raise unusable(annotations, error) from error


def _image_shapes(content: Mapping[str, Any], class_map: ClassMap) -> dict[str, ImageShapes]:
    """Return the shapes of each image; raises ValueError where the JSON is malformed."""
    categories = _unique(
        _each(
            content,
            "categories",
            lambda row: (_id(row["id"]), class_of(str(row["name"]), class_map.labels)),
        ),
        "categories have the id",
    )
    shapes: dict[int | str, list[tuple[float, Shape]]] = defaultdict(list)
    for image_id, area, shape in _each(content, "annotations", partial(_annotation, categories)):
        shapes[image_id].append((area, shape))

    def image_shapes(row: dict[str, Any]) -> tuple[str, ImageShapes]:
        height, width = size_of(row["height"], row["width"])
        larger_first = sorted(shapes[_id(row["id"])], key=lambda found: -found[0])
        return Path(str(row["file_name"])).name, ImageShapes(
            height=height, width=width, shapes=tuple(shape for _, shape in larger_first)
        )

    return _unique(_each(content, "images", image_shapes), "images are named")


def _each(
    content: Any,  # noqa: ANN401 - untrusted JSON
    key: str,
    convert: Callable[[dict[str, Any]], R],
) -> list[R]:
    """Return what a function makes of each object of a list.

    Raises:
        ValueError: An object is malformed; the message names it.
    """
    values = []
    for number, row in enumerate(rows(content, key)):
        try:
            values.append(convert(row))
        except MALFORMED as error:
            msg = (
                f"{key!r}, number {number} (id {str(row.get('id'))[:20]}): {describe_error(error)}"
            )
            raise ValueError(msg) from error
    return values


def _unique(pairs: Iterable[tuple[K, R]], what: str) -> dict[K, R]:
    """Return a dictionary of the pairs; raises ValueError where a key is there twice."""
    values: dict[K, R] = {}
    for key, value in pairs:
        if key in values:
            msg = f"two {what} {key}"
            raise ValueError(msg)
        values[key] = value
    return values


def _annotation(
    categories: Mapping[int | str, int], row: Mapping[str, Any]
) -> tuple[int | str, float, Shape]:
    """Return the id of an object's image, its area and its shape."""
    category = _id(row["category_id"])
    if category not in categories:
        msg = f"category_id is {str(category)[:20]}, which is not the id of a category"
        raise ValueError(msg)
    shape = _shape(row["segmentation"], categories[category])
    return _id(row["image_id"]), float(row.get("area", 0)), shape


def _id(value: object) -> int | str:
    if not isinstance(value, int | str):
        msg = f"an id is {str(value)[:20]}"
        raise TypeError(msg)
    return value


def _shape(segmentation: Any, index: int) -> Shape:  # noqa: ANN401 - untrusted JSON
    if isinstance(segmentation, list):
        return Shape(index=index, rings=tuple(ring(numbers) for numbers in segmentation))
    if not isinstance(segmentation, dict):
        msg = f"segmentation is {str(segmentation)[:20]!r}, and must be polygons or run lengths"
        raise TypeError(msg)
    counts = segmentation["counts"]
    runs = decode_counts(counts) if isinstance(counts, str) else [int(count) for count in counts]
    return Shape(index=index, runs=tuple(runs))


register_layout(Coco())
