"""COCO: polygons and run lengths in JSON, as many annotation tools export them.

The format of Lin et al., "Microsoft COCO", ECCV 2014. Any images and classes: the file's
categories after the class "background", unless a classes.toml lies beside it.

On disk: one JSON for each split, or one for all, of which a fifth of the images becomes the
validation split; see coco_files.py. Images may lie in subfolders, and be named by any path that
ends with theirs.

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
from segdeploy.card import LabelClass, printable_name
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
from segdeploy.datasets.formats.coco_files import (
    find_annotations,
    find_images,
    plain_name,
    without_endings,
)
from segdeploy.datasets.index import BY_FOLDER, DatasetIndex, Pair, find_tree, names_of
from segdeploy.datasets.registry import register_layout
from segdeploy.datasets.split import draw_by_scene
from segdeploy.errors import DataError
from segdeploy.imaging.palettes import distinct_color
from segdeploy.imaging.polygons import Ring, fill_ring
from segdeploy.imaging.rle import decode_counts, fill_runs

K = TypeVar("K")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One annotated object: its class, and either polygons or run lengths.

    Attributes:
        index: Class, or 255.
        rings: Polygons, whose union is filled.
        runs: Pixels outside, inside, outside ... down the columns.
        size: Height and width of the mask that the runs are of; None where the file has none.
    """

    index: int
    rings: tuple[Ring, ...] = ()
    runs: tuple[int, ...] = ()
    size: tuple[int, int] | None = None


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
        """Draw the mask of one image; raises DataError where its shapes cannot be."""
        image = self.images[pair.name]
        mask = np.full((image.height, image.width), self.background, np.uint8)
        for shape in image.shapes:
            try:
                for polygon in shape.rings:
                    fill_ring(mask, polygon, shape.index)
                if shape.runs:
                    _check_size(shape, image)
                    fill_runs(mask, list(shape.runs), shape.index)
            except ValueError as error:
                msg = f"{pair.mask} is damaged at the image {pair.image}: {error}"
                raise DataError(msg) from error
        return mask


class Coco:
    """Images, and one JSON for each split or for all."""

    name = "coco"
    draws_splits = True
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find a split, and read all of its annotations."""
        found = find_annotations(data, split)
        class_map, shapes = _read_annotations(found.file, data / CLASS_MAP_FILE)
        files = find_tree(found.images)
        try:
            places = find_images(shapes, files)
        except ValueError as error:
            raise unusable(found.file, error) from error
        keys = sorted(places)
        pairs = tuple(
            Pair(name=name, image=files[key], mask=found.file)
            for key, name in zip(keys, names_of(without_endings(keys)), strict=True)
        )
        images = {pair.name: shapes[places[key]] for pair, key in zip(pairs, keys, strict=True)}
        missing = [found.images / name for name in shapes.keys() - set(places.values())]
        rule = BY_FOLDER
        if found.is_undivided:
            pairs, rule = draw_by_scene(pairs, split)
        if not found.is_shared:
            missing += [files[key] for key in files.keys() - places.keys()]
        return DatasetIndex(
            classes=class_map.classes,
            pairs=pairs,
            unpaired=tuple(sorted(missing)),
            mask_format=CocoMasks(
                images={pair.name: images[pair.name] for pair in pairs},
                background=background_of(class_map),
            ),
            rule=rule,
        )


def unusable(annotations: Path, error: ValueError) -> DataError:
    """Return the error of a COCO file whose content is malformed."""
    return DataError(
        f"{annotations} is not a COCO file that can be used: {error}; fix it or export it again"
    )


def class_map_of(content: Mapping[str, Any]) -> ClassMap:
    """Return the class map of COCO's categories: the background, then they in order of their ids.

    Categories whose names look alike when they are printed are one class.

    Raises:
        ValueError: The categories are malformed, without a name, or too many.
    """
    categories = sorted(_each(content, "categories", _category))
    printed = {name: printable_name(name) for _, name in categories}
    names = list(dict.fromkeys(name for name in printed.values() if name != BACKGROUND))
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
    indices = {entry.name: index for index, entry in enumerate(classes)}
    labels = indices | {name: indices[shown] for name, shown in printed.items()}
    return ClassMap(classes=classes, ids={}, colors=(), labels=labels, reach=0)


def _category(row: Mapping[str, Any]) -> tuple[int, str]:
    """Return the id and the name of a category."""
    name = str(row["name"])
    if not printable_name(name):
        msg = f"the name is {name[:60]!r}, of which nothing can be printed"
        raise ValueError(msg)
    return int(row["id"]), name


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
        return plain_name(str(row["file_name"])), ImageShapes(
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
    size = None
    if "size" in segmentation:
        height, width = segmentation["size"]
        size = (height, width)
    return Shape(index=index, runs=tuple(runs), size=size)


def _check_size(shape: Shape, image: ImageShapes) -> None:
    """Raise a ValueError where run lengths are of a mask of another size than the image's.

    Where height and width are exchanged, their sum is right and they draw stripes.
    """
    if shape.size is not None and shape.size != (image.height, image.width):
        msg = (
            f"the size of run lengths is {str(list(shape.size))[:40]} and the image's"
            f" {[image.height, image.width]}, height before width"
        )
        raise ValueError(msg)


register_layout(Coco())
