"""What the layouts of outlines share.

Checked numbers out of foreign JSON, and labels that stand for classes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.card import LabelClass
from segdeploy.datasets.class_map import LEGEND, ClassMap
from segdeploy.errors import DataError
from segdeploy.imaging.polygons import Ring

BACKGROUND = "background"
BLACK = LabelClass(name=BACKGROUND, color=(0, 0, 0))
MAX_PIXELS = 2 * 89_478_485
"""What Pillow, which reads the images, takes for a decompression bomb."""

FARTHEST = 1_000_000
"""Largest coordinate, in pixels: thirty times the longest side that an image may have."""


def read_json(path: Path) -> Any:  # noqa: ANN401 - foreign JSON
    """Read a JSON file; raises DataError where it is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        msg = f"there is no {path}; check the name"
        raise DataError(msg) from error
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} is no JSON ({error}); export it again"
        raise DataError(msg) from error


def size_of(height: object, width: object) -> tuple[int, int]:
    """Check the size of an image; raises TypeError or ValueError."""
    if not isinstance(height, int) or not isinstance(width, int):
        msg = f"an image's size is {str(width)[:20]!r} by {str(height)[:20]!r}"
        raise TypeError(msg)
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        msg = f"an image's size is {width}x{height}"
        raise ValueError(msg)
    return height, width


def ring(numbers: Any) -> Ring:  # noqa: ANN401 - foreign JSON
    """Check the corners of an outline, a flat list or one of pairs.

    Raises TypeError or ValueError.
    """
    corners = np.array(numbers, dtype=np.float64)
    if corners.size % 2 or corners.size < 6 or corners.ndim > 2:
        msg = f"an outline has {corners.size} numbers; it must have an even number from 6"
        raise ValueError(msg)
    # Not a number compares as False.
    if not (np.abs(corners) <= FARTHEST).all():
        msg = f"an outline leaves {FARTHEST} pixels"
        raise ValueError(msg)
    return corners.reshape(-1, 2)


FOREIGN = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)
"""What foreign JSON makes our code raise."""


def in_words(error: Exception) -> str:
    """Say what is wrong with foreign JSON, without Python's own words where there are better ones."""
    if isinstance(error, KeyError):
        return f"there is no {error}"
    if isinstance(error, TypeError | AttributeError | IndexError):
        return f"a value is of the wrong kind: {error}"
    return str(error)


def rows(content: Any, key: str) -> list[dict[str, Any]]:  # noqa: ANN401 - foreign JSON
    """Return a list of objects out of an object; raises ValueError where there is none."""
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        msg = (
            f"{key!r} is"
            f" {'no list of objects' if isinstance(content, dict) and key in content else 'not there'}"
        )
        raise ValueError(msg)
    return found


def class_of(label: str, labels: Mapping[str, int]) -> int:
    """Return the class of a label; raises ValueError where it has none."""
    if label not in labels:
        msg = f"the label {label[:60]!r} is no class's; name it in {LEGEND} as label or in ignore"
        raise ValueError(msg)
    return labels[label]


def ground(legend: ClassMap) -> int:
    """Return what a pixel outside all outlines is.

    The class named "background", or else not labeled.
    """
    return legend.labels.get(BACKGROUND, IGNORE_INDEX)
