"""Images whose masks are drawn from shapes in one file about many of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass, printable_name
from segdeploy.datasets.annotations import BACKGROUND, BLACK, background_of
from segdeploy.datasets.class_map import CLASS_MAP_FILE, MAX_CLASSES, ClassMap
from segdeploy.datasets.formats.coco_files import find_images, without_endings
from segdeploy.datasets.index import BY_FOLDER, DatasetIndex, Pair, find_tree, names_of
from segdeploy.datasets.split import draw_by_scene
from segdeploy.errors import DataError
from segdeploy.imaging.io import read_image
from segdeploy.imaging.palettes import Color, distinct_color
from segdeploy.imaging.polygons import Ring, fill_ring


class Shape(Protocol):
    """One annotated object; a plain value that can be pickled for a worker process."""

    def draw(self, mask: Mask) -> None:
        """Write the object's class into its pixels of a mask; a ValueError says why it cannot."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outline:
    """An object as polygons, whose union is filled.

    Attributes:
        index: Class, or 255.
        rings: The polygons.
    """

    index: int
    rings: tuple[Ring, ...]

    def draw(self, mask: Mask) -> None:
        """Write the class into the pixels whose centers lie inside a polygon."""
        for ring in self.rings:
            fill_ring(mask, ring, self.index)


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """The annotated objects of one image.

    Attributes:
        size: Height and width of the image, in pixels; None where only its file says it.
        shapes: Objects in the order in which they are drawn.
    """

    size: tuple[int, int] | None
    shapes: Sequence[Shape]


@dataclass(frozen=True, kw_only=True)
class DrawnMasks:
    """Masks that are drawn from shapes; a `MaskFormat`.

    Attributes:
        images: Shapes of each image, by the name of its pair.
        background: Value of a pixel that no shape covers.
    """

    images: Mapping[str, AnnotatedImage]
    background: int

    def read(self, pair: Pair) -> Mask:
        """Draw the mask of one image; raises DataError where its shapes cannot be."""
        image = self.images[pair.name]
        size = image.size or read_image(pair.image).shape[:2]
        mask = np.full(size, self.background, np.uint8)
        for shape in image.shapes:
            try:
                shape.draw(mask)
            except ValueError as error:
                msg = f"{pair.mask} is damaged at the image {pair.image}: {error}"
                raise DataError(msg) from error
        return mask


def index_of(
    images: Mapping[str, AnnotatedImage],
    class_map: ClassMap,
    *,
    file: Path,
    folder: Path,
    split: str | None,
    is_shared: bool = False,
) -> DatasetIndex:
    """Return the index of the images that a file of annotations names.

    Args:
        images: Their shapes, by the names that the annotations give them.
        class_map: The classes.
        file: The annotations.
        folder: Where the images lie, in subfolders or not.
        split: Which part of them is meant, where they are not divided; None where they are.
        is_shared: Whether the folder holds images of other splits too.

    Raises:
        ValueError: Two names are of one file.
        DataError: A single image cannot be split.
    """
    files = find_tree(folder)
    places = find_images(images, files)
    keys = sorted(places)
    pairs = tuple(
        Pair(name=name, image=files[key], mask=file)
        for key, name in zip(keys, names_of(without_endings(keys)), strict=True)
    )
    drawn = {pair.name: images[places[key]] for pair, key in zip(pairs, keys, strict=True)}
    missing = [folder / name for name in images.keys() - set(places.values())]
    rule = BY_FOLDER
    if split is not None:
        pairs, rule = draw_by_scene(pairs, split)
    if not is_shared:
        missing += [files[key] for key in files.keys() - places.keys()]
    return DatasetIndex(
        classes=class_map.classes,
        pairs=pairs,
        unpaired=tuple(sorted(missing)),
        mask_format=DrawnMasks(
            images={pair.name: drawn[pair.name] for pair in pairs},
            background=background_of(class_map),
        ),
        rule=rule,
    )


def class_map_of_labels(labels: Iterable[tuple[str, Color | None]]) -> ClassMap:
    """Return the class map of labels: the class "background", then they in their order.

    Labels whose names look alike when they are printed are one class.

    Args:
        labels: Name and color of each, None for one of ours.

    Raises:
        ValueError: A label has no name, or there are too many.
    """
    colors: dict[str, Color | None] = {}
    printed: dict[str, str] = {}
    for name, color in labels:
        printed[name] = printable_name(name)
        if not printed[name]:
            msg = f"the name of a label is {name[:60]!r}, of which nothing can be printed"
            raise ValueError(msg)
        if printed[name] != BACKGROUND:
            colors.setdefault(printed[name], color)
    if len(colors) >= MAX_CLASSES:
        msg = (
            f"there are {len(colors)} labels, more than {MAX_CLASSES - 1}; group them in"
            f" {CLASS_MAP_FILE}"
        )
        raise ValueError(msg)
    classes = (
        BLACK,
        *(
            LabelClass(name=name, color=color or distinct_color(index))
            for index, (name, color) in enumerate(colors.items())
        ),
    )
    indices = {entry.name: index for index, entry in enumerate(classes)}
    all_labels = indices | {name: indices[shown] for name, shown in printed.items()}
    return ClassMap(classes=classes, ids={}, colors=(), labels=all_labels, reach=0)
