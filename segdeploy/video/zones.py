"""Zones: polygons in the image of a camera, and the share of each class inside each of them."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError
from segdeploy.imaging.polygons import Ring, fill_ring
from segdeploy.system.budget import check_budget
from segdeploy.system.schema import convert

MAX_BYTES = 1 << 20
MAX_ZONES = 1000
MAX_POINTS = 10_000

Box = tuple[slice, slice]
"""Rows and columns of the image in which a zone lies."""

ZoneShares = Mapping[str, Mapping[str, float]]
"""Share of each class inside each zone, in [0, 1], by the names of zones and classes."""

Point = tuple[float, float]


class Zone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A polygon in the image.

    Attributes:
        name: What reports and alerts call it.
        polygon: Corners, x and y in pixels from the top left corner of the image, of the size that
            `size` says. It may leave the image and cross itself.
        size: Width and height of the image in which the corners were drawn; None where they are
            those of the frames.
        camera: Name of the camera that it belongs to; "" for every camera.
    """

    name: str
    polygon: Annotated[tuple[Point, ...], msgspec.Meta(min_length=3, max_length=MAX_POINTS)]
    size: tuple[int, int] | None = None
    camera: str = ""

    def __post_init__(self) -> None:
        """Check what types do not say.

        Raises:
            ValueError: The name cannot be printed, or a number is impossible.
        """
        if not self.name.strip() or not self.name.isprintable():
            msg = f"the name {self.name[:40]!r} must be printable text"
            raise ValueError(msg)
        if not all(map(isfinite, (number for point in self.polygon for number in point))):
            msg = f"the polygon of {self.name} must have finite numbers"
            raise ValueError(msg)
        if self.size is not None and min(self.size) < 1:
            msg = f"the size of {self.name} must be a width and a height in pixels"
            raise ValueError(msg)


class ZoneFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of zones."""

    zones: Annotated[tuple[Zone, ...], msgspec.Meta(min_length=1, max_length=MAX_ZONES)]


def read_zones(path: Path) -> tuple[Zone, ...]:
    """Return the zones of a JSON file.

    Example:
        ```json
        {"zones": [{"name": "crossing", "camera": "door", "size": [1280, 720],
                    "polygon": [[200, 500], [900, 500], [1100, 720], [0, 720]]}]}
        ```

    Raises:
        ConfigError: The file cannot be read, or is not of that form.
    """

    def refuse(problem: object) -> ConfigError:
        return ConfigError(f"{path} holds no zones ({problem}); see docs/serve.md for an example")

    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        msg = f"the zones in {path} cannot be read ({error.strerror or error}); check the name"
        raise ConfigError(msg) from error
    if len(content) > MAX_BYTES:
        problem = f"it has more than {MAX_BYTES} bytes"
        raise refuse(problem)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise refuse(error) from error
    zones = convert(values, ZoneFile, refuse=refuse).zones
    names = [(zone.camera, zone.name) for zone in zones]
    twice = [
        name
        for index, (camera, name) in enumerate(names)
        if (camera, name) in names[:index] or (camera and ("", name) in names)
    ]
    if twice:
        problem = f"two zones of one camera are called {twice[0]}"
        raise refuse(problem)
    return zones


def zones_of(zones: Sequence[Zone], camera: str) -> tuple[Zone, ...]:
    """Return the zones that belong to a camera."""
    return tuple(zone for zone in zones if zone.camera in ("", camera))


class ZoneMeter:
    """Measures the share of each class in each zone of one camera; several threads may share one.

    Attributes:
        zones: Zones of the camera.
        classes: Classes in the order of the masks' indices.

    Example:
        ```python
        meter = ZoneMeter(read_zones(Path("zones.json")), predictor.card.classes)
        shares = meter.measure(predictor.mask(image))["crossing"]["Pedestrian"]
        ```
    """

    def __init__(self, zones: Sequence[Zone], classes: Sequence[LabelClass]) -> None:
        """Keep the zones.

        Args:
            zones: Zones of the camera.
            classes: Classes in the order of the masks' indices.
        """
        self.zones = tuple(zones)
        self.classes = tuple(classes)
        self._areas = lru_cache(maxsize=4)(self._draw)

    def measure(self, mask: Mask) -> ZoneShares:
        """Return the shares of a mask, (H, W) uint8.

        Pixels that are not labeled are the rest to 1. A zone outside the image has shares of 0.
        """
        shares = {}
        for zone, (box, area, size) in zip(self.zones, self._areas(*mask.shape), strict=True):
            counts = (
                cv2.calcHist([mask[box]], [0], area, [256], [0, 256]).ravel()
                if size
                else np.zeros(256)
            )
            shares[zone.name] = {
                entry.name: round(float(counts[index]) / max(1, size), 6)
                for index, entry in enumerate(self.classes)
            }
        return shares

    def _draw(self, height: int, width: int) -> list[tuple[Box, Mask, int]]:
        """Return where each zone lies in images of a size, and how many pixels it has.

        Raises:
            ConfigError: The zones would take too much memory.
        """
        rings = [
            np.asarray(zone.polygon) * (width / across, height / down)
            for zone in self.zones
            for across, down in [zone.size or (width, height)]
        ]
        boxes = [_box(ring, height, width) for ring in rings]
        needed = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
        what = f"{len(boxes)} zones cover {needed} pixels of an image of {width} x {height}"
        check_budget(what, needed, size=0, error=ConfigError)
        areas = []
        for zone, ring, (left, top, right, bottom) in zip(self.zones, rings, boxes, strict=True):
            area = np.zeros((bottom - top, right - left), np.uint8)
            try:
                fill_ring(area, ring - (left, top), 1)
            except ValueError as error:
                msg = f"the zone {zone.name} cannot be drawn ({error}); give it fewer corners"
                raise ConfigError(msg) from error
            box = slice(top, bottom), slice(left, right)
            areas.append((box, area, int(np.count_nonzero(area))))
        return areas


def _box(ring: Ring, height: int, width: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part of an image in which an outline lies."""
    (left, top), (right, bottom) = np.floor(ring.min(0)), np.ceil(ring.max(0))
    return (
        int(np.clip(left, 0, width)),
        int(np.clip(top, 0, height)),
        int(np.clip(right, 0, width)),
        int(np.clip(bottom, 0, height)),
    )
