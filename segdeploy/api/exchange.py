"""Results in the formats of other tools: COCO, labelme, and plain values for JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.imaging.polygons import Polygon, polygons
from segdeploy.video.annotations import coco_categories, polygon_annotations, rle_annotations

LABELME_VERSION = "5.5.0"
"""Version of labelme whose files ours are like."""

UNLABELED = "__ignore__"
"""What labelme calls pixels that are not labeled."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Region(Polygon):
    """One region of a mask, with the name of its class.

    Example:
        ```python
        largest = max(net("street.jpg").polygons(), key=lambda region: region.area)
        print(largest.name, largest.area, largest.outline.tolist(), len(largest.holes))
        ```

    Attributes:
        name: Name of the class.
    """

    name: str


def named_regions(mask: Mask, classes: Sequence[LabelClass]) -> list[Region]:
    """Return the regions of a mask in the order of the classes."""
    return [
        Region(
            index=region.index,
            outline=region.outline,
            holes=region.holes,
            name=classes[region.index].name,
        )
        for region in polygons(mask, len(classes))
    ]


def region_values(region: Region) -> dict[str, Any]:
    """Return a region as values for JSON."""
    return {
        "class": region.name,
        "index": region.index,
        "area": region.area,
        "outline": region.outline.tolist(),
        "holes": [hole.tolist() for hole in region.holes],
    }


def class_areas(mask: Mask, classes: Sequence[LabelClass]) -> dict[str, int]:
    """Return how many pixels of a mask each class has."""
    counts = np.bincount(mask.ravel(), minlength=256).tolist()
    return {entry.name: counts[index] for index, entry in enumerate(classes)}


def coco_values(
    mask: Mask, classes: Sequence[LabelClass], *, name: str, index: int, as_rle: bool
) -> dict[str, Any]:
    """Return a mask as the values of a COCO file of one image.

    Args:
        mask: Classes, (H, W) uint8.
        classes: The classes.
        name: Name of the image.
        index: Its id.
        as_rle: Whether a class is one annotation of run lengths, or each region one of a polygon.
    """
    annotate = rle_annotations if as_rle else polygon_annotations
    height, width = mask.shape
    return {
        "categories": coco_categories(classes),
        "images": [{"id": index, "file_name": name, "height": height, "width": width}],
        "annotations": [
            {"id": number, "image_id": index, "iscrowd": 0, **values}
            for number, values in enumerate(annotate(mask, len(classes)), start=1)
        ],
    }


def labelme_values(mask: Mask, classes: Sequence[LabelClass], *, name: str) -> dict[str, Any]:
    """Return a mask as the values of a labelme file, whose polygons have no holes.

    Pixels without a label are polygons too, so that the file stands for all of the mask.

    Args:
        mask: Classes, (H, W) uint8.
        classes: The classes.
        name: Name of the image.
    """
    labels = [*(entry.name for entry in classes), UNLABELED]
    height, width = mask.shape
    shapes = [
        {
            "label": labels[region.index],
            "points": region.one_ring().astype(float).tolist(),
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for region in polygons(np.minimum(mask, np.uint8(len(classes))), len(labels))
    ]
    return {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def region_masks(mask: Mask, classes: int, *, min_area: int) -> list[tuple[int, Mask]]:
    """Return the class and the pixels of each region, (H, W) uint8 of 0 and 1.

    Args:
        mask: Classes, (H, W) uint8.
        classes: Number of classes.
        min_area: Regions of fewer pixels are left out.
    """
    found = []
    for index in range(classes):
        count, labels, statistics, _ = cv2.connectedComponentsWithStats(
            cv2.inRange(mask, index, index), connectivity=4
        )
        found += [
            (index, (labels == number).astype(np.uint8))
            for number in range(1, count)
            if statistics[number, cv2.CC_STAT_AREA] >= min_area
        ]
    return found
