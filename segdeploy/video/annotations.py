"""Text formats of masks: JSON lines, COCO's JSON, and GeoJSON.

JSON lines and COCO's JSON are one file about all frames, written frame by frame.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.errors import OutputError
from segdeploy.imaging.polygons import Corners, polygons
from segdeploy.imaging.rle import encode_counts, find_runs
from segdeploy.system.files import PART, cannot_write, make_folder, sync
from segdeploy.system.locks import claim
from segdeploy.video.frames import FrameWriter, SegmentedFrame

NameOf = Callable[[int], str]
"""Returns the name of a frame's image by the frame's index."""


@contextmanager
def incremental_file(path: Path) -> Iterator[Callable[[str], None]]:
    """Write a text file piece by piece, as `NAME.part`, and rename it at the end.

    When the block fails or is interrupted, the file is renamed with what it has. Where it cannot be
    written, for example because the disk is full, `NAME.part` stays. Nothing is left where nothing
    was written.

    Args:
        path: Path of the finished file; its folder is created if it is missing.

    Yields:
        A function that appends text.

    Raises:
        OutputError: The file cannot be written.
        ConfigError: Another process is writing it.
    """
    part = path.with_name(path.name + PART)
    make_folder(path.parent)
    try:
        descriptor = claim(part)
        os.ftruncate(descriptor, 0)
        # A byte of a name that is not UTF-8 becomes an escape of JSON, as in `write_text`.
        file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise cannot_write(path, error) from error
    failed = False

    def write(text: str) -> None:
        nonlocal failed
        try:
            file.write(text)
        except OSError as error:
            failed = True
            raise _unfinished(path, part, error) from error

    try:
        yield write
    finally:
        try:
            file.close()
            if not failed and part.stat().st_size:
                sync(part)
                part.replace(path)
        except OSError as error:
            raise _unfinished(path, part, error) from error
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()


def _unfinished(path: Path, part: Path, error: OSError) -> OutputError:
    """Return the error of a file that cannot be completed; it names what is kept."""
    reason = cannot_write(path, error)
    if not part.exists() or not part.stat().st_size:
        return reason
    return OutputError(f"{reason}; what was done is in {part}")


@contextmanager
def json_lines(path: Path, classes: Sequence[LabelClass], name_of: NameOf) -> Iterator[FrameWriter]:
    """Write one JSON line per frame.

    It has the frame's name, time in seconds and size, the share of its pixels that each class has,
    and the milliseconds of each stage.
    """
    with incremental_file(path) as write:

        def add(result: SegmentedFrame) -> None:
            record = {
                "frame": result.frame.index,
                "name": name_of(result.frame.index),
                "seconds": round(result.frame.seconds, 6),
                "width": result.mask.shape[1],
                "height": result.mask.shape[0],
                "shares": class_shares(result.mask, classes),
                "milliseconds": {
                    stage: round(1000 * seconds, 3)
                    for stage, seconds in result.stage_seconds.items()
                },
            }
            write(json.dumps(record, ensure_ascii=False) + "\n")

        yield add


def class_shares(mask: Mask, classes: Sequence[LabelClass]) -> Mapping[str, float]:
    """Return the share of a mask's pixels that each class has, in [0, 1].

    Unlabeled pixels are the rest to 1.
    """
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
    return {
        entry.name: round(float(counts[index]) / mask.size, 6)
        for index, entry in enumerate(classes)
    }


@contextmanager
def coco_file(
    path: Path, classes: Sequence[LabelClass], name_of: NameOf, *, as_rle: bool, min_area: int = 1
) -> Iterator[FrameWriter]:
    """Write COCO's JSON: a polygon for each region, or run lengths for each class of a frame.

    A category's id is the class index plus one, as many tools take 0 for the background. The
    "images" are written after the "annotations", so that only their names are held until the end.

    Args:
        path: Path of the file.
        classes: Classes in the order of the masks' indices.
        name_of: Returns the name of a frame's image.
        as_rle: Whether run lengths of each class are written, and not its regions.
        min_area: Regions of fewer pixels are left out.
    """
    annotate = rle_annotations if as_rle else partial(polygon_annotations, min_area=min_area)
    images: list[dict[str, Any]] = []
    ids = count(1)
    with incremental_file(path) as write:

        def add(result: SegmentedFrame) -> None:
            if not images:
                names = json.dumps(coco_categories(classes), ensure_ascii=False)
                write(f'{{"categories": {names}, "annotations": [')
            height, width = result.mask.shape
            image_id = result.frame.index
            for fields in annotate(result.mask, len(classes)):
                number = next(ids)
                annotation = {"id": number, "image_id": image_id, "iscrowd": 0, **fields}
                write(("\n" if number == 1 else ",\n") + json.dumps(annotation))
            images.append(
                {
                    "id": image_id,
                    "file_name": name_of(image_id),
                    "height": height,
                    "width": width,
                }
            )

        try:
            yield add
        finally:
            if images:
                write(f'\n], "images": {json.dumps(images, ensure_ascii=False)}}}\n')


def coco_categories(classes: Sequence[LabelClass]) -> list[dict[str, Any]]:
    """Return COCO's categories: the id of a class is its index plus one."""
    return [
        {"id": index + 1, "name": entry.name, "supercategory": ""}
        for index, entry in enumerate(classes)
    ]


def polygon_annotations(mask: Mask, classes: int, *, min_area: int = 1) -> Iterator[dict[str, Any]]:
    """Return COCO's fields of each region of a mask that is large enough, as a polygon."""
    for polygon in polygons(mask, classes, min_area=min_area):
        ring = polygon.one_ring()
        yield {
            "category_id": polygon.index + 1,
            "segmentation": [ring.ravel().tolist()],
            "area": polygon.area,
            "bbox": _bounding_box(polygon.outline),
        }


def rle_annotations(mask: Mask, classes: int) -> Iterator[dict[str, Any]]:
    """Return COCO's fields of each class of a mask, as run lengths."""
    runs = find_runs(mask)
    for index in range(classes):
        lengths = runs.lengths(index)
        if area := sum(lengths[1::2]):
            box = list(cv2.boundingRect(np.asarray(mask == index, dtype=np.uint8)))
            yield {
                "category_id": index + 1,
                "segmentation": {"size": list(mask.shape), "counts": encode_counts(lengths)},
                "area": area,
                "bbox": box,
            }


def _bounding_box(ring: Corners) -> list[int]:
    """Return x, y, width and height of the area that a ring encloses."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def geojson(mask: Mask, classes: Sequence[LabelClass], *, min_area: int = 1) -> str:
    """Return the regions of a mask that are large enough as the text of a GeoJSON file."""
    return json.dumps(feature_collection(mask, classes, min_area=min_area), ensure_ascii=False)


def feature_collection(
    mask: Mask, classes: Sequence[LabelClass], *, min_area: int = 1
) -> dict[str, Any]:
    """Return the regions of a mask that are large enough as a GeoJSON FeatureCollection (RFC 7946).

    Polygons have holes; coordinates are pixels from the top left corner.
    """
    features = [
        {
            "type": "Feature",
            "properties": {
                "class": classes[polygon.index].name,
                "index": polygon.index,
                "area": polygon.area,
            },
            "geometry": {
                "type": "Polygon",
                "coordinates": [_closed(ring) for ring in (polygon.outline, *polygon.holes)],
            },
        }
        for polygon in polygons(mask, len(classes), min_area=min_area)
    ]
    return {"type": "FeatureCollection", "features": features}


def _closed(ring: Corners) -> list[list[int]]:
    """Return the corners with the first one repeated at the end."""
    return [*ring.tolist(), ring[0].tolist()]
