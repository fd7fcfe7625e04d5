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

from segdeploy.arrays import Mask
from segdeploy.card import printable_name
from segdeploy.datasets.annotations import (
    MALFORMED,
    class_of,
    describe_error,
    read_json,
    ring,
    rows,
    size_of,
)
from segdeploy.datasets.class_map import CLASS_MAP_FILE, ClassMap, read_class_map
from segdeploy.datasets.formats.annotated import (
    AnnotatedImage,
    Outline,
    Shape,
    class_map_of_labels,
    index_of,
)
from segdeploy.datasets.formats.coco_files import find_annotations, plain_name
from segdeploy.datasets.index import DatasetIndex
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import DataError
from segdeploy.imaging.rle import decode_counts, fill_runs

K = TypeVar("K")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class RunLengths:
    """An object as run lengths of a whole mask.

    Attributes:
        index: Class, or 255.
        runs: Pixels outside, inside, outside ... down the columns.
        size: Height and width of the mask that the runs are of; None where the file has none.
    """

    index: int
    runs: tuple[int, ...]
    size: tuple[int, int] | None

    def draw(self, mask: Mask) -> None:
        """Write the class into every second run.

        Raises:
            ValueError: They are of a mask of another size: where height and width are exchanged,
                the sum is right and they draw stripes.
        """
        if not self.runs:
            return
        if self.size is not None and self.size != mask.shape:
            msg = (
                f"the size of run lengths is {str(list(self.size))[:40]} and the image's"
                f" {list(mask.shape)}, height before width"
            )
            raise ValueError(msg)
        fill_runs(mask, list(self.runs), self.index)


class Coco:
    """Images, and one JSON for each split or for all."""

    name = "coco"
    draws_splits = True
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find a split, and read all of its annotations."""
        found = find_annotations(data, split)
        class_map, images = _read_annotations(found.file, data / CLASS_MAP_FILE)
        try:
            return index_of(
                images,
                class_map,
                file=found.file,
                folder=found.images,
                split=split if found.is_undivided else None,
                is_shared=found.is_shared,
            )
        except ValueError as error:
            raise unusable(found.file, error) from error


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
    return class_map_of_labels((name, None) for _, name in categories)


def _category(row: Mapping[str, Any]) -> tuple[int, str]:
    """Return the id and the name of a category."""
    name = str(row["name"])
    if not printable_name(name):
        msg = f"the name is {name[:60]!r}, of which nothing can be printed"
        raise ValueError(msg)
    return int(row["id"]), name


def _read_annotations(
    annotations: Path, class_map_file: Path
) -> tuple[ClassMap, dict[str, AnnotatedImage]]:
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


def _image_shapes(content: Mapping[str, Any], class_map: ClassMap) -> dict[str, AnnotatedImage]:
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

    def image_shapes(row: dict[str, Any]) -> tuple[str, AnnotatedImage]:
        size = size_of(row["height"], row["width"])
        larger_first = sorted(shapes[_id(row["id"])], key=lambda found: -found[0])
        return plain_name(str(row["file_name"])), AnnotatedImage(
            size=size, shapes=tuple(shape for _, shape in larger_first)
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
    if segmentation == []:
        msg = "the object has a box and no outline, so no mask; outline it, or remove it"
        raise ValueError(msg)
    if isinstance(segmentation, list):
        return Outline(index=index, rings=tuple(ring(numbers) for numbers in segmentation))
    if not isinstance(segmentation, dict):
        msg = f"segmentation is {str(segmentation)[:20]!r}, and must be polygons or run lengths"
        raise TypeError(msg)
    counts = segmentation["counts"]
    runs = decode_counts(counts) if isinstance(counts, str) else [int(count) for count in counts]
    size = None
    if "size" in segmentation:
        height, width = segmentation["size"]
        size = (height, width)
    return RunLengths(index=index, runs=tuple(runs), size=size)


register_layout(Coco())
