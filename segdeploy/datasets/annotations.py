"""Checked values from COCO and labelme JSON: sizes, polygons, labels.

Untrusted JSON is checked value by value, where it is used: the files are large, hold many keys that
do not matter here, and a message names the malformed object.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.card import LabelClass
from segdeploy.datasets.class_map import CLASS_MAP_FILE, ClassMap
from segdeploy.errors import ConfigError, DataError, MissingFileError
from segdeploy.imaging.header import IDS
from segdeploy.imaging.polygons import Ring
from segdeploy.system.budget import check_budget

BACKGROUND = "background"
BLACK = LabelClass(name=BACKGROUND, color=(0, 0, 0))
"""The class of pixels that no polygon covers."""

MAX_COORDINATE = 1_000_000
"""Largest coordinate, in pixels: thirty times the longest side that an image may have."""

MALFORMED = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    DataError,
)
"""What malformed JSON makes our code raise, and the reader of an image in it."""


def read_json(path: Path) -> Any:  # noqa: ANN401 - untrusted JSON
    """Return the content of a JSON file; raises DataError where it is none."""
    try:
        size = path.stat().st_size
        check_budget(f"{path} is a file of {size} bytes", size, size=0, error=DataError)
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        msg = f"there is no {path}; check the name"
        raise MissingFileError(msg) from error
    except ConfigError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} is not JSON ({error}); export it again"
        raise DataError(msg) from error


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file; raises DataError where it is none, or too large."""
    try:
        size = path.stat().st_size
        check_budget(f"{path} is a file of {size} bytes", size, size=0, error=DataError)
        return path.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as lines of text ({error}); export it again"
        raise DataError(msg) from error


def describe_error(error: Exception) -> str:
    """Return what is wrong with malformed JSON, clearer than Python's message where possible."""
    if isinstance(error, KeyError):
        return f"there is no {error}"
    if isinstance(error, TypeError | AttributeError | IndexError):
        return f"a value is of the wrong kind: {error}"
    return str(error)


def rows(content: Any, key: str) -> list[dict[str, Any]]:  # noqa: ANN401 - untrusted JSON
    """Return the list of objects at a key; raises ValueError where there is none."""
    if not isinstance(content, dict) or key not in content:
        msg = f"{key!r} is not there"
        raise ValueError(msg)
    found = content[key]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        msg = f"{key!r} is not a list of objects"
        raise ValueError(msg)
    return found


def size_of(height: object, width: object) -> tuple[int, int]:
    """Return the checked height and width of an image; raises one of `MALFORMED`."""
    # JSON's true is an int in Python.
    is_flag = isinstance(height, bool) or isinstance(width, bool)
    if is_flag or not isinstance(height, int) or not isinstance(width, int):
        msg = f"an image's size is {str(width)[:20]!r} by {str(height)[:20]!r}"
        raise TypeError(msg)
    if min(height, width) < 1:
        msg = f"an image's size is {width}x{height}"
        raise ValueError(msg)
    check_budget(f"an image of {width}x{height}", IDS * height * width, size=0, error=DataError)
    return height, width


def ring(numbers: Any) -> Ring:  # noqa: ANN401 - untrusted JSON
    """Return the checked corners of a polygon, (N, 2) float64 of x and y.

    Args:
        numbers: A flat list x, y, x, y ... as in COCO, or a list of pairs as in labelme.

    Raises:
        TypeError: They are not numbers.
        ValueError: There are less than three corners, or one is far outside any image.
    """
    corners = np.array(numbers, dtype=np.float64)
    if corners.size % 2 or corners.size < 6 or corners.ndim > 2:
        msg = f"a polygon has {corners.size} numbers; it must have an even number from 6"
        raise ValueError(msg)
    # NaN compares as False.
    if not (np.abs(corners) <= MAX_COORDINATE).all():
        msg = f"a polygon leaves {MAX_COORDINATE} pixels"
        raise ValueError(msg)
    return corners.reshape(-1, 2)


def class_of(label: str, labels: Mapping[str, int]) -> int:
    """Return the class of a label; raises ValueError where it has none."""
    if label not in labels:
        msg = (
            f"the label {label[:60]!r} belongs to no class; name it in {CLASS_MAP_FILE} as label or"
            " in ignore"
        )
        raise ValueError(msg)
    return labels[label]


def background_of(class_map: ClassMap) -> int:
    """Return the value of a pixel outside all polygons.

    The class named "background", or 255, not labeled, where there is none.
    """
    return class_map.labels.get(BACKGROUND, IGNORE_INDEX)
