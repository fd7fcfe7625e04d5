"""Label Studio's JSON of brushes, polygons, rectangles and ellipses, read and written.

On disk: label_studio.json, as its export "JSON" writes it, with the images in images/ or beside it,
of which a fifth becomes the validation split; or such a folder for each split. Of each image the
last annotation that was not cancelled is taken, or the last prediction where nobody has annotated
it. Classes are "background", which is what no shape covers, and the labels in alphabetic order,
unless a classes.toml lies beside it: a label that no image has is not in the file. Shapes are drawn
in the order of the file.

The format: https://labelstud.io/guide/export, and of brushes `brush.py` in label-studio-converter,
whose run lengths are those of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.annotations import (
    BACKGROUND,
    MALFORMED,
    class_of,
    describe_error,
    read_json,
    ring,
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
from segdeploy.datasets.formats.coco_files import plain_name
from segdeploy.datasets.index import DatasetIndex
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import DataError, LayoutNotFoundError
from segdeploy.imaging.polygons import Ring

ANNOTATIONS = "label_studio.json"

NEEDS = (
    f"the layout is {ANNOTATIONS} with images/ (of which a fifth becomes val), or such a folder"
    " for train and for val, inside the folder named by --data"
)

IMAGE, FROM, TO = "image", "tag", "image"
"""Names of the image and of the controls in the labeling configuration; these are in all of Label
Studio's templates."""

PLANES = 4
"""A brush is stored as the bytes of red, green, blue and alpha, of which alpha counts."""

COUNT_BITS, WORD_BITS, SIZE_BITS = 32, 5, 4
"""Bits of the number of bytes, of the length of a word, and of each of the four lengths of runs."""

CORNERS = 90
"""Corners that stand for an ellipse."""


@dataclass(frozen=True, kw_only=True)
class Brush:
    """An object as packed run lengths of the image's bytes.

    Attributes:
        index: Class, or 255.
        packed: The bytes of the packed run lengths.
    """

    index: int
    packed: bytes

    def draw(self, mask: Mask) -> None:
        """Write the class where the brush is not transparent; a ValueError says why it cannot."""
        alpha = unpack(self.packed, PLANES * mask.size)[PLANES - 1 :: PLANES]
        mask[alpha.reshape(mask.shape) > 0] = self.index


class LabelStudio:
    """Images, and one JSON about all of them or about those of a split."""

    name = "label_studio"
    draws_splits = True
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find a split, and read all of its annotations."""
        divided = (data / split / ANNOTATIONS).is_file()
        base = data / split if divided else data
        file = base / ANNOTATIONS
        if not file.is_file() or (split == "test" and not divided):
            msg = f"there is no {file}; {NEEDS}"
            raise LayoutNotFoundError(msg)
        folder = base / "images" if (base / "images").is_dir() else base
        tasks = read_json(file)
        try:
            given = data / CLASS_MAP_FILE
            found = dict(_tasks(tasks))
            class_map = read_class_map(given) if given.exists() else _class_map(found)
            images = {name: _image(name, results, class_map) for name, results in found.items()}
            return index_of(
                images, class_map, file=file, folder=folder, split=None if divided else split
            )
        except MALFORMED as error:
            if isinstance(error, DataError):
                raise
            msg = (
                f"{file} is not a JSON of Label Studio that can be used: {describe_error(error)};"
                " fix it or export it again"
            )
            raise DataError(msg) from error


Results = Sequence[Mapping[str, Any]]
"""The regions of one image that have labels, as the JSON has them."""


def _tasks(tasks: Any) -> Iterator[tuple[str, Results]]:  # noqa: ANN401 - untrusted JSON
    """Yield the name of each image and its regions; raises one of `MALFORMED`."""
    if not isinstance(tasks, list):
        msg = "it is not a list of tasks; export it as JSON, not as JSON-MIN"
        raise TypeError(msg)
    names: set[str] = set()
    for task in tasks:
        name = image_name(next(iter(task["data"].values())) if "data" in task else task["image"])
        if name in names:
            msg = f"the image {name} is there twice"
            raise ValueError(msg)
        names.add(name)
        done = [one for one in task.get("annotations", []) if not one.get("was_cancelled")]
        versions = done or task.get("predictions", [])
        results = versions[-1]["result"] if versions else []
        yield name, [result for result in results if _labels(result)]


def image_name(address: object) -> str:
    """Return the name of an image's file by its address, without what Label Studio adds to it."""
    parts = urlsplit(str(address))
    path = parse_qs(parts.query).get("d", [parts.path])[0]
    return plain_name(unquote(path))


def _labels(result: Mapping[str, Any]) -> list[str]:
    """Return the labels of a region; none of what is no region."""
    value = result.get("value", {})
    return next((value[kind] for kind in KINDS if kind in value), [])


def _class_map(found: Mapping[str, Results]) -> ClassMap:
    names = {str(_labels(result)[0]) for results in found.values() for result in results}
    return class_map_of_labels((name, None) for name in sorted(names))


def _image(name: str, results: Results, class_map: ClassMap) -> AnnotatedImage:
    """Return the shapes of an image; raises ValueError where one is malformed."""
    if not results:
        return AnnotatedImage(size=None, shapes=())
    try:
        first = results[0]
        height, width = size_of(first["original_height"], first["original_width"])
        shapes = [_shape(result, class_map.labels, height, width) for result in results]
    except MALFORMED as error:
        msg = f"a region of {name}: {describe_error(error)}"
        raise ValueError(msg) from error
    return AnnotatedImage(size=(height, width), shapes=tuple(shapes))


def _shape(result: Mapping[str, Any], labels: Mapping[str, int], height: int, width: int) -> Shape:
    value = result["value"]
    index = class_of(str(_labels(result)[0]), labels)
    if "rle" in value:
        return Brush(index=index, packed=bytes(value["rle"]))
    corners = ring(_corners(value)) * [width / 100, height / 100]
    turned = _turned(corners, float(value.get("rotation", 0)), is_ellipse="radiusX" in value)
    return Outline(index=index, rings=(turned,))


def _corners(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - untrusted JSON
    """Return the corners of a region, in hundredths of the image."""
    if "points" in value:
        return value["points"]
    if "radiusX" in value:
        angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
        x, y, across, down = (float(value[key]) for key in ("x", "y", "radiusX", "radiusY"))
        return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)
    left, top, width, height = (float(value[key]) for key in ("x", "y", "width", "height"))
    right, bottom = left + width, top + height
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _turned(corners: Ring, degrees: float, *, is_ellipse: bool) -> Ring:
    """Return corners turned clockwise about the first one, or about an ellipse's middle."""
    pivot = corners.mean(axis=0) if is_ellipse else corners[0]
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray((corners - pivot) @ turn + pivot, np.float64)


KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")
"""Keys of the labels of regions that have an area."""


def unpack(packed: bytes, most: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of packed run lengths.

    A stream of bits: the number of words, the bits of a word, the bits of four kinds of run
    lengths; then runs, each a bit that says whether all of its words are the same, its kind and
    its length, and its words.

    Args:
        packed: The bytes of the stream.
        most: How many words there must be.

    Raises:
        ValueError: It is no such stream, or of another number of words.
    """
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    weights = 1 << np.arange(COUNT_BITS - 1, -1, -1, dtype=np.int64)
    place = 0

    def read(count: int) -> int:
        nonlocal place
        if place + count > len(bits):
            msg = "the run lengths of a brush end too early"
            raise ValueError(msg)
        place += count
        return int(bits[place - count : place] @ weights[-count:])

    if (number := read(COUNT_BITS)) != most:
        msg = f"a brush is of {number // PLANES} pixels and the image has {most // PLANES}"
        raise ValueError(msg)
    word = read(WORD_BITS) + 1
    if word != 8:
        msg = f"the words of a brush have {word} bits and must have 8"
        raise ValueError(msg)
    sizes = [read(SIZE_BITS) + 1 for _ in range(4)]
    words = np.zeros(number, np.uint8)
    done = 0
    while done < number:
        is_run = read(1)
        end = done + 1 + read(sizes[read(2)])
        if end > number:
            msg = "the run lengths of a brush are of more pixels than it has"
            raise ValueError(msg)
        if is_run:
            words[done:end] = read(word)
        else:
            count = (end - done) * word
            if place + count > len(bits):
                msg = "the run lengths of a brush end too early"
                raise ValueError(msg)
            words[done:end] = np.packbits(bits[place : place + count])
            place += count
        done = end
    return words


RUN_BITS = (3, 8, 12, 16)
"""Bits of the lengths of runs that are written: at most 65536 words each."""


def pack(inside: npt.NDArray[np.bool_]) -> list[int]:
    """Return the packed run lengths of a brush, (H, W) bool, as `unpack` reads them."""
    edges = np.flatnonzero(np.diff(inside.ravel(), prepend=~inside.ravel()[:1]))
    lengths = np.diff(edges, append=inside.size) * PLANES
    values = inside.ravel()[edges]
    parts = [
        f"{PLANES * inside.size:0{COUNT_BITS}b}{7:0{WORD_BITS}b}",
        *(f"{bits - 1:0{SIZE_BITS}b}" for bits in RUN_BITS),
    ]
    for length, value in zip(lengths.tolist(), values.tolist(), strict=True):
        rest = length
        while rest:
            count = min(rest, 1 << RUN_BITS[-1])
            kind = next(place for place, bits in enumerate(RUN_BITS) if count <= 1 << bits)
            parts.append(f"1{kind:02b}{count - 1:0{RUN_BITS[kind]}b}{255 * value:08b}")
            rest -= count
    text = "".join(parts)
    text += "0" * (-len(text) % 8)
    packed = np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0"))
    numbers: list[int] = packed.tolist()
    return numbers


def task(mask: Mask, classes: Sequence[LabelClass], *, name: str) -> str:
    """Return the JSON of one image to annotate, with a brush of each class as a prediction.

    Args:
        mask: (H, W) uint8.
        classes: The classes; the one called "background" is what no brush covers.
        name: Name of the image's file.
    """
    height, width = mask.shape
    results = [
        {
            "id": f"class{index}",
            "type": "brushlabels",
            "from_name": FROM,
            "to_name": TO,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {"format": "rle", "rle": pack(mask == index), "brushlabels": [entry.name]},
        }
        for index, entry in enumerate(classes)
        if entry.name != BACKGROUND and (mask == index).any()
    ]
    predictions = [{"model_version": "segdeploy", "result": results}]
    return json.dumps({"data": {IMAGE: name}, "predictions": predictions}, ensure_ascii=False)


register_layout(LabelStudio())
