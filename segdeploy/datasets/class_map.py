"""What the user's own masks mean: the file classes.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.card import LabelClass
from segdeploy.datasets.index import Truth
from segdeploy.datasets.mask_formats import Colors, Ids, table
from segdeploy.errors import AbsentError, DataError
from segdeploy.imaging.palettes import Color, distinct_color

LEGEND = "classes.toml"
MAX_CLASSES = 254
MAX_BYTES = 1024 * 1024
KINDS = {dict: "tables [[classes]]", int: "a whole number", str: "a text"}
KEYS = {"name", "color", "id", "mask_color", "label"}


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """Classes, and what stands for each in masks or in polygons.

    Attributes:
        classes: Classes in the order of the file.
        ids: Class by number in a mask, 255 for what is not labeled; empty where colors stand for
            classes.
        colors: Color in a mask and class, 255 for what is not labeled.
        labels: Class by label of a polygon, 255 for what is not labeled.
        reach: How far a color may be from the nearest one that is named.
    """

    classes: tuple[LabelClass, ...]
    ids: Mapping[int, int]
    colors: tuple[tuple[Color, int], ...]
    labels: Mapping[str, int]
    reach: int

    def truth(self) -> Truth:
        """Return what reads such masks."""
        if self.colors:
            return Colors(table=self.colors, reach=self.reach, strict=not self.reach)
        return Ids(table=table(self.ids, ignored=()))


def read_class_map(path: Path) -> ClassMap:
    """Read classes.toml.

    Raises:
        AbsentError: There is none.
        DataError: It says what cannot be.
    """
    try:
        text = path.read_bytes()[: MAX_BYTES + 1].decode("utf-8-sig")
        values = tomllib.loads(text)
    except FileNotFoundError as error:
        msg = (
            f"there is no {path}, which names the classes; run: segdeploy data init"
            f" {quote(str(path.parent))}"
        )
        raise AbsentError(msg) from error
    except (OSError, ValueError, RecursionError) as error:
        msg = (
            f"{path} is no TOML ({error}); mend it, or write it anew: segdeploy data init --force"
            f" {quote(str(path.parent))}"
        )
        raise DataError(msg) from error
    try:
        return _legend(values)
    except (TypeError, ValueError, KeyError) as error:
        msg = (
            f"{path} says what cannot be: {error.args[0] if error.args else error}; see"
            " docs/datasets.md"
        )
        raise DataError(msg) from error


def _legend(values: Mapping[str, Any]) -> ClassMap:
    """Check foreign values; a TypeError or ValueError tells what is wrong with them."""
    _refuse_unknown(values, {"classes", "ignore", "reach"}, "the file")
    entries = _some(values.get("classes", []), dict, "classes")
    if not 1 <= len(entries) <= MAX_CLASSES:
        msg = f"there are {len(entries)} tables [[classes]], and there must be 1 to {MAX_CLASSES}"
        raise ValueError(msg)
    colored = any("mask_color" in entry for entry in entries)
    for number, entry in enumerate(entries):
        _check_class(entry, number)
        if colored and "id" in entry and "mask_color" not in entry:
            msg = (
                f"the class {entry['name']!r} has an id and others have a mask_color; use one of"
                " the two in the whole file"
            )
            raise ValueError(msg)
    ignored = values.get("ignore", [])
    if strange := [value for value in _as_list(ignored) if not isinstance(value, int | list | str)]:
        msg = f"ignore holds {str(strange[0])[:60]!r}, and must hold ids, colors or labels"
        raise ValueError(msg)
    ids = {} if colored else _ids(entries, ignored)
    legend = ClassMap(
        classes=tuple(_label_class(entry, index) for index, entry in enumerate(entries)),
        ids=ids,
        colors=tuple(_colors(entries, ignored).items()) if colored else (),
        labels=_labels(entries, ignored),
        reach=_number(values.get("reach", 0), "reach"),
    )
    if len({entry.name for entry in legend.classes}) < len(legend.classes):
        msg = "two classes have one name"
        raise ValueError(msg)
    return legend


def _check_class(entry: Mapping[str, Any], number: int) -> None:
    """Check a class by itself; a ValueError names it."""
    try:
        _refuse_unknown(entry, KEYS, "it")
        _label_class(entry, number)
        _ids([dict(entry)], [])
        _colors([dict(entry)], [])
        _labels([dict(entry)], [])
    except (TypeError, ValueError) as error:
        msg = f"in class number {number} ({str(entry.get('name'))[:60]}): {error}"
        raise ValueError(msg) from error


def _label_class(entry: Mapping[str, Any], index: int) -> LabelClass:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        msg = f"the name of a class is {str(name)[:60]!r}, and must be a text"
        raise TypeError(msg)
    colors = _color_list(entry.get("color", entry.get("mask_color", [])), "color") or [
        distinct_color(index)
    ]
    return LabelClass(name=name, color=colors[0])


def _ids(entries: list[dict[str, Any]], ignored: object) -> dict[int, int]:
    """Return the class of each number.

    Where no class names any, its place in the file is its number.
    """
    numbered = any("id" in entry for entry in entries)
    claims = [
        (_number(value, "id"), index)
        for index, entry in enumerate(entries)
        for value in _some(
            entry["id"] if numbered and "id" in entry else ([] if numbered else index), int, "id"
        )
    ]
    claims += [
        (_number(value, "ignore"), IGNORE_INDEX)
        for value in _as_list(ignored)
        if isinstance(value, int)
    ]
    known = _once(claims)
    return known if IGNORE_INDEX in known else {**known, IGNORE_INDEX: IGNORE_INDEX}


def _colors(entries: list[dict[str, Any]], ignored: object) -> dict[Color, int]:
    claims = [
        (color, index)
        for index, entry in enumerate(entries)
        for color in _color_list(entry.get("mask_color", []), "mask_color")
    ]
    return _once(
        claims
        + [
            (color, IGNORE_INDEX)
            for color in _color_list(
                [part for part in _as_list(ignored) if isinstance(part, list)], "ignore"
            )
        ]
    )


def _labels(entries: list[dict[str, Any]], ignored: object) -> dict[str, int]:
    claims = [
        (text, index)
        for index, entry in enumerate(entries)
        for text in _some(entry.get("label", entry.get("name")), str, "label")
    ]
    return _once(
        claims + [(text, IGNORE_INDEX) for text in _as_list(ignored) if isinstance(text, str)]
    )


def _once(claims: list[tuple[Any, int]]) -> dict[Any, int]:
    known: dict[Any, int] = {}
    for key, index in claims:
        if known.setdefault(key, index) != index:
            msg = (
                f"{key!r} stands for"
                f" {'a class and is ignored' if IGNORE_INDEX in {known[key], index} else 'two classes'}"
            )
            raise ValueError(msg)
    return known


def _refuse_unknown(values: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(values.keys() - known):
        msg = f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}"
        raise ValueError(msg)


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _some(value: object, kind: type, what: str) -> list[Any]:
    """Take one value of a kind, or a list of them."""
    values = _as_list(value)
    if not all(isinstance(one, kind) and not isinstance(one, bool) for one in values):
        msg = f"{what} is {str(value)[:60]!r}, and must be {KINDS[kind]}"
        raise TypeError(msg)
    return values


def _number(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        msg = f"{what} is {str(value)[:60]!r}, and must be a whole number within 0 and 255"
        raise ValueError(msg)
    return value


def _color_list(value: object, what: str) -> list[Color]:
    """Take one color or a list of them."""
    colors: list[Any] = (
        value
        if isinstance(value, list) and all(isinstance(one, list) for one in value)
        else [value]
    )
    if not all(isinstance(color, list) and len(color) == 3 for color in colors):
        msg = f"{what} is {str(value)[:60]!r}, and must be red, green, blue, or a list of such"
        raise TypeError(msg)
    return [
        (_number(red, what), _number(green, what), _number(blue, what))
        for red, green, blue in colors
    ]
