"""Files that grow by a record a frame, as text: JSON lines, and COCO's annotations."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.errors import OutputError
from segdeploy.imaging.polygons import Corners, polygons
from segdeploy.imaging.rle import find_runs, pack
from segdeploy.system.files import sync
from segdeploy.video.frames import Segmented, Write

Name = Callable[[int], str]
"""Gives the name of a frame by its index."""


@contextmanager
def growing(path: Path) -> Iterator[Callable[[str], None]]:
    """Return a function that writes text behind what is there, into `NAME.part`, which gets its name in the end.

    When the block fails or is interrupted, the file gets its name with what it has: what was done
    stays. Nothing is left where nothing was written, or the file itself failed.

    Raises:
        OutputError: The file cannot be written, for example because the disk is full.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("w", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error
    whole = True

    def write(text: str) -> None:
        nonlocal whole
        try:
            file.write(text)
        except OSError as error:
            whole = False
            raise _unwritable(path, error) from error

    try:
        yield write
    finally:
        try:
            file.close()
            if whole and part.stat().st_size:
                sync(part)
                part.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from error
        finally:
            part.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror or error}; free some space or choose another folder"
    )


@contextmanager
def json_lines(path: Path, classes: Sequence[LabelClass], name: Name) -> Iterator[Write]:
    """Keep one line a frame: its name, time and size, the share of its pixels that each class has, and how long each stage took."""
    with growing(path) as write:

        def add(result: Segmented) -> None:
            record = {
                "frame": result.frame.index,
                "name": name(result.frame.index),
                "seconds": round(result.frame.seconds, 6),
                "width": result.mask.shape[1],
                "height": result.mask.shape[0],
                "shares": shares(result.mask, classes),
                "milliseconds": {
                    stage: round(1000 * seconds, 3) for stage, seconds in result.spent.items()
                },
            }
            write(json.dumps(record, ensure_ascii=False) + "\n")

        yield add


def shares(mask: Mask, classes: Sequence[LabelClass]) -> Mapping[str, float]:
    """Return the share of a mask's pixels that each class has, in [0, 1].

    What is not labeled is the rest to 1.
    """
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
    return {
        entry.name: round(float(counts[index]) / mask.size, 6)
        for index, entry in enumerate(classes)
    }


@contextmanager
def coco_file(
    path: Path, classes: Sequence[LabelClass], name: Name, *, runs: bool
) -> Iterator[Write]:
    """Keep COCO's JSON: an annotation for each region as a polygon, or for each class of a frame as run lengths.

    A class's id is its index and one more, as many tools take 0 for the background. Images stand
    behind the annotations, so that only their names are held until the end.

    Args:
        path: Name of the file.
        classes: Classes in the order of the masks' indices.
        name: Gives the name of a frame's image.
        runs: Whether regions are kept as run lengths.
    """
    annotate = _as_runs if runs else _as_polygons
    images: list[dict[str, Any]] = []
    numbers = count(1)
    categories = [
        {"id": index + 1, "name": entry.name, "supercategory": ""}
        for index, entry in enumerate(classes)
    ]
    with growing(path) as write:

        def add(result: Segmented) -> None:
            if not images:
                write(
                    f'{{"categories": {json.dumps(categories, ensure_ascii=False)},'
                    ' "annotations": ['
                )
            height, width = result.mask.shape
            for annotation in annotate(result.mask, len(classes)):
                number = next(numbers)
                whole = {"id": number, "image_id": result.frame.index, "iscrowd": 0, **annotation}
                write(("\n" if number == 1 else ",\n") + json.dumps(whole))
            images.append(
                {
                    "id": result.frame.index,
                    "file_name": name(result.frame.index),
                    "height": height,
                    "width": width,
                }
            )

        try:
            yield add
        finally:
            if images:
                write(f'\n], "images": {json.dumps(images, ensure_ascii=False)}}}\n')


def _as_polygons(mask: Mask, classes: int) -> Iterator[dict[str, Any]]:
    for polygon in polygons(mask, classes):
        ring = polygon.one_ring()
        yield {
            "category_id": polygon.index + 1,
            "segmentation": [ring.ravel().tolist()],
            "area": polygon.area,
            "bbox": _box(polygon.outline),
        }


def _as_runs(mask: Mask, classes: int) -> Iterator[dict[str, Any]]:
    runs = find_runs(mask)
    for index in range(classes):
        lengths = runs.lengths(index)
        if area := sum(lengths[1::2]):
            box = list(cv2.boundingRect(np.asarray(mask == index, dtype=np.uint8)))
            yield {
                "category_id": index + 1,
                "segmentation": {"size": list(mask.shape), "counts": pack(lengths)},
                "area": area,
                "bbox": box,
            }


def _box(ring: Corners) -> list[int]:
    """Return x, y, width and height of what a ring encloses."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def geojson(mask: Mask, classes: Sequence[LabelClass]) -> str:
    """Return the regions of a mask as a GeoJSON FeatureCollection (RFC 7946).

    Polygons with holes, in pixels from the top left corner.
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
        for polygon in polygons(mask, len(classes))
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)


def _closed(ring: Corners) -> list[list[int]]:
    """Return the corners with the first one again behind the last one."""
    return [*ring.tolist(), ring[0].tolist()]
