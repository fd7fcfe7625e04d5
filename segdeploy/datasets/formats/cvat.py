"""CVAT for images 1.1: one XML of polygons, boxes, ellipses and masks, read and written.

On disk: annotations.xml, with the images in images/ or beside it, in subfolders or not, of which a
fifth becomes the validation split; or such a folder for each split. Classes are "background", which
is what no shape covers, and the labels of the task, unless a classes.toml lies beside it. Shapes
are drawn in the order of their `z_order`, and of the file.

The format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import cv2
import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.annotations import BACKGROUND, MALFORMED, class_of, ring, size_of
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
from segdeploy.imaging.palettes import Color
from segdeploy.imaging.rle import fill_runs, find_runs
from segdeploy.system.budget import check_budget

ANNOTATIONS = "annotations.xml"

NEEDS = (
    f"the layout is {ANNOTATIONS} with images/ (of which a fifth becomes val), or such a folder"
    " for train and for val, inside the folder named by --data"
)

DOCUMENT_TYPE = b"<!DOCTYPE"
"""Begins what may define entities, with which a small file fills any memory; CVAT writes none."""

CORNERS = 90
"""Corners that stand for an ellipse, four degrees apart, as CVAT's own converters draw it."""


@dataclass(frozen=True, kw_only=True)
class Patch:
    """An object as run lengths of its box.

    Attributes:
        index: Class, or 255.
        left: First column of the box.
        top: First row of the box.
        width: Columns of the box.
        height: Rows of the box.
        runs: Pixels outside, inside, outside ... along the rows.
    """

    index: int
    left: int
    top: int
    width: int
    height: int
    runs: tuple[int, ...]

    def draw(self, mask: Mask) -> None:
        """Write the class into every second run; a ValueError says why it cannot."""
        rows, columns = mask.shape
        if (
            min(self.left, self.top) < 0
            or min(self.width, self.height) < 1
            or self.left + self.width > columns
            or self.top + self.height > rows
        ):
            msg = f"a mask of {self.width}x{self.height} at {self.left}, {self.top} leaves it"
            raise ValueError(msg)
        box = mask[self.top : self.top + self.height, self.left : self.left + self.width]
        # Down the columns of the transposed box are its rows.
        fill_runs(box.T, list(self.runs), self.index)


class Cvat:
    """Images, and one XML about all of them or about those of a split."""

    name = "cvat"
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
        root = read_xml(file)
        try:
            given = data / CLASS_MAP_FILE
            class_map = (
                read_class_map(given) if given.exists() else class_map_of_labels(labels(root))
            )
            images = dict(_images(root, class_map))
            return index_of(
                images, class_map, file=file, folder=folder, split=None if divided else split
            )
        except ValueError as error:
            msg = (
                f"{file} is not an XML of CVAT for images that can be used: {error}; fix it or"
                " export it again"
            )
            raise DataError(msg) from error


def read_xml(path: Path) -> ET.Element:
    """Return the root of an XML file that defines no entities; raises DataError for another."""
    try:
        size = path.stat().st_size
        check_budget(f"{path} is a file of {size} bytes", size, size=0, error=DataError)
        content = path.read_bytes()
        # A text in UTF-16 has zeros, and would hide one.
        is_plain = DOCUMENT_TYPE not in content and b"\0" not in content
        return ET.fromstring(content if is_plain else b"")  # noqa: S314 - without entities
    except (OSError, ValueError, ET.ParseError, RecursionError) as error:
        msg = f"{path} is not an XML of CVAT in UTF-8 ({error}); export it again"
        raise DataError(msg) from error


def labels(root: ET.Element) -> Iterator[tuple[str, Color | None]]:
    """Yield the labels of the task, and those that only shapes have."""
    known = set()
    for label in root.iterfind("./meta//label"):
        name = label.findtext("name")
        if name is not None and label.findtext("parent") is None:
            known.add(name)
            yield name, _color(label.findtext("color") or "")
    for shape in root.iterfind("./image/*[@label]"):
        if shape.tag in SHAPES and shape.attrib["label"] not in known:
            known.add(shape.attrib["label"])
            yield shape.attrib["label"], None


def _color(text: str) -> Color | None:
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue


def _images(root: ET.Element, class_map: ClassMap) -> Iterator[tuple[str, AnnotatedImage]]:
    """Yield the shapes of each image by its name; a ValueError says what is malformed."""
    names: set[str] = set()
    for number, image in enumerate(root.iterfind("image")):
        try:
            name = plain_name(image.attrib["name"])
            if name in names:
                msg = "it is there twice"
                raise ValueError(msg)
            names.add(name)
            size = size_of(int(image.attrib["height"]), int(image.attrib["width"]))
            shapes = [shape for shape in image if shape.tag in SHAPES]
            shapes.sort(key=lambda shape: int(shape.get("z_order", "0")))
            drawn = tuple(_shape(shape, class_map.labels) for shape in shapes)
        except MALFORMED as error:
            msg = f"image number {number} ({image.get('name', '')[:60]}): {_reason(error)}"
            raise ValueError(msg) from error
        yield name, AnnotatedImage(size=size, shapes=drawn)


def _reason(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)


def _shape(shape: ET.Element, labels: Mapping[str, int]) -> Shape:
    values = shape.attrib
    index = class_of(values["label"], labels)
    if shape.tag == "mask":
        left, top, width, height = (int(values[key]) for key in ("left", "top", "width", "height"))
        runs = tuple(int(length) for length in values["rle"].split(","))
        return Patch(index=index, left=left, top=top, width=width, height=height, runs=runs)
    return Outline(index=index, rings=(ring(SHAPES[shape.tag](values)),))


def _polygon(values: Mapping[str, str]) -> list[list[float]]:
    return [[float(number) for number in point.split(",")] for point in values["points"].split(";")]


def _box(values: Mapping[str, str]) -> list[list[float]]:
    left, top, right, bottom = (float(values[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return _turned(corners, float(values.get("rotation", 0)))


def _ellipse(values: Mapping[str, str]) -> list[list[float]]:
    x, y, across, down = (float(values[key]) for key in ("cx", "cy", "rx", "ry"))
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    corners = np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)
    return _turned(corners.tolist(), float(values.get("rotation", 0)))


def _turned(corners: list[list[float]], degrees: float) -> list[list[float]]:
    """Return corners turned clockwise about their middle."""
    points = np.array(corners)
    middle, angle = points.mean(axis=0), np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: list[list[float]] = ((points - middle) @ turn + middle).tolist()
    return turned


SHAPES = {"polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _polygon}
"""Shapes that have an area, and what returns the corners of all but masks."""


def header(classes: Sequence[LabelClass]) -> str:
    """Return the beginning of the XML of masks of these classes."""
    rows = "".join(
        f"<label><name>{escape(entry.name)}</name>"
        f"<color>#{bytes(entry.color).hex()}</color><attributes></attributes></label>\n"
        for entry in classes
        if entry.name != BACKGROUND
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><labels>\n{rows}</labels></task></meta>\n"
    )


FOOTER = "</annotations>\n"


def image_element(mask: Mask, classes: Sequence[LabelClass], *, name: str, number: int) -> str:
    """Return the XML of one image: a mask of run lengths for each class that occurs in it.

    Args:
        mask: (H, W) uint8.
        classes: The classes; the one called "background" is what no shape covers.
        name: Name of the image's file.
        number: Its number in the task.
    """
    height, width = mask.shape
    shapes = "".join(
        _mask_element(mask, index, entry.name)
        for index, entry in enumerate(classes)
        if entry.name != BACKGROUND
    )
    return (
        f'<image id="{number}" name={quoteattr(name)} width="{width}" height="{height}">\n'
        f"{shapes}</image>\n"
    )


def _mask_element(mask: Mask, index: int, name: str) -> str:
    left, top, width, height = cv2.boundingRect(cv2.inRange(mask, index, index))
    if not width:
        return ""
    box = mask[top : top + height, left : left + width]
    lengths = find_runs(np.ascontiguousarray(box.T)).lengths(index)
    return (
        f'<mask label={quoteattr(name)} source="auto" occluded="0"'
        f' rle="{", ".join(map(str, lengths))}" left="{left}" top="{top}" width="{width}"'
        f' height="{height}" z_order="0"></mask>\n'
    )


register_layout(Cvat())
