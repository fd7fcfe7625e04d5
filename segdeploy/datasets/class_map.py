"""Class map: names, colors and ids of user-defined classes, in the file classes.toml.

The file is checked by code and not by a schema: a class may have one color or a list of colors,
two array types that msgspec cannot distinguish in a union, and most rules concern several classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.card import LabelClass, printable_name
from segdeploy.datasets.index import MaskFormat
from segdeploy.datasets.mask_formats import Colors, Ids, id_table
from segdeploy.errors import DataError, LayoutNotFoundError
from segdeploy.imaging.palettes import Color, distinct_color
from segdeploy.system.toml import read_toml

CLASS_MAP_FILE = "classes.toml"
MAX_CLASSES = 254
KINDS = {dict: "tables [[classes]]", int: "a whole number", str: "a text"}
KEYS = {"name", "color", "id", "mask_color", "label"}
SHOWN = 60
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """Classes, and the values that stand for each in masks and polygons.

    Attributes:
        classes: Classes in the order of the file.
        ids: Class by id in a mask, 255 for what is not labeled; empty where masks are colors.
        colors: Color in a mask and class, 255 for what is not labeled.
        labels: Class by label of a polygon, 255 for what is not labeled.
        reach: Largest distance of a color from the nearest one of `colors`.
    """

    classes: tuple[LabelClass, ...]
    ids: Mapping[int, int]
    colors: tuple[tuple[Color, int], ...]
    labels: Mapping[str, int]
    reach: int

    def mask_format(self) -> MaskFormat:
        """Return the format that reads masks of these ids or colors."""
        if self.colors:
            return Colors(table=self.colors, reach=self.reach, strict=not self.reach)
        return Ids(table=id_table(self.ids, ignored=()))


def read_class_map(path: Path) -> ClassMap:
    """Read a classes.toml.

    Raises:
        LayoutNotFoundError: There is none.
        DataError: It is not TOML, or a value in it is wrong.
    """
    try:
        values = read_toml(path)
    except FileNotFoundError as error:
        msg = (
            f"there is no {path}, which names the classes; run: segdeploy data init"
            f" {quote(str(path.parent))}"
        )
        raise LayoutNotFoundError(msg) from error
    except (OSError, ValueError) as error:
        msg = (
            f"{path} is not TOML ({error}); fix it, or write a new one: segdeploy data init --force"
            f" {quote(str(path.parent))}"
        )
        raise DataError(msg) from error
    try:
        return _class_map(values)
    except (TypeError, ValueError, KeyError) as error:
        msg = f"{path} is wrong: {error.args[0] if error.args else error}; see docs/datasets.md"
        raise DataError(msg) from error


def _class_map(values: Mapping[str, Any]) -> ClassMap:
    """Check untrusted values; a TypeError or ValueError says what is wrong with them."""
    _refuse_unknown(values, {"classes", "ignore", "reach"}, "the file")
    entries = _list_of(dict, values.get("classes", []), "classes")
    if not 1 <= len(entries) <= MAX_CLASSES:
        msg = f"there are {len(entries)} tables [[classes]], and there must be 1 to {MAX_CLASSES}"
        raise ValueError(msg)
    colored = any("mask_color" in entry for entry in entries)
    for number, entry in enumerate(entries):
        _check_class(entry, number, colored=colored)
    ignored = _ignored(values.get("ignore", []))
    classes = tuple(_label_class(entry, index) for index, entry in enumerate(entries))
    names = [entry.name for entry in classes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"two classes have the same name {twice[0]!r}"
        raise ValueError(msg)
    return ClassMap(
        classes=classes,
        ids={} if colored else _ids(entries, ignored),
        colors=tuple(_colors(entries, ignored).items()) if colored else (),
        labels=_labels(entries, ignored),
        reach=_byte(values.get("reach", 0), "reach"),
    )


def _check_class(entry: Mapping[str, Any], number: int, *, colored: bool) -> None:
    """Check a class by itself; a ValueError names it.

    Args:
        entry: Its values.
        number: Its place in the file, from 0.
        colored: Whether the file gives classes by color.
    """
    try:
        _refuse_unknown(entry, KEYS, "it")
        _label_class(entry, number)
        _ids([dict(entry)], [])
        _colors([dict(entry)], [])
        _labels([dict(entry)], [])
    except (TypeError, ValueError) as error:
        msg = f"in class number {number} ({_shown(entry.get('name'))}): {error}"
        raise ValueError(msg) from error
    if colored and "id" in entry and "mask_color" not in entry:
        msg = (
            f"the class {entry['name']!r} has an id and others have a mask_color; use one of"
            " the two in the whole file"
        )
        raise ValueError(msg)


def _label_class(entry: Mapping[str, Any], index: int) -> LabelClass:
    name = entry.get("name")
    if not isinstance(name, str) or not printable_name(name):
        msg = f"the name of a class is {_shown(name)!r}, and must be a string that can be printed"
        raise TypeError(msg)
    colors = _color_list(entry.get("color", entry.get("mask_color", [])), "color")
    color = colors[0] if colors else distinct_color(index)
    return LabelClass(name=printable_name(name), color=color)


def _ids(entries: list[dict[str, Any]], ignored: list[Any]) -> dict[int, int]:
    """Return the class of each id; where no class has an id, its place in the file is its id."""
    numbered = any("id" in entry for entry in entries)
    claims = [
        (_byte(value, "id"), index)
        for index, entry in enumerate(entries)
        for value in _list_of(int, entry.get("id", [] if numbered else index), "id")
    ]
    claims += [(_byte(i, "ignore"), IGNORE_INDEX) for i in ignored if isinstance(i, int)]
    classes = _unique(claims)
    return classes if IGNORE_INDEX in classes else {**classes, IGNORE_INDEX: IGNORE_INDEX}


def _colors(entries: list[dict[str, Any]], ignored: list[Any]) -> dict[Color, int]:
    """Return the class of each color in masks."""
    void = _color_list([value for value in ignored if isinstance(value, list)], "ignore")
    claims = [
        (color, index)
        for index, entry in enumerate(entries)
        for color in _color_list(entry.get("mask_color", []), "mask_color")
    ]
    return _unique(claims + [(color, IGNORE_INDEX) for color in void])


def _labels(entries: list[dict[str, Any]], ignored: list[Any]) -> dict[str, int]:
    """Return the class of each label of a polygon; the class's name where it has no label."""
    claims = [
        (text, index)
        for index, entry in enumerate(entries)
        for text in _list_of(str, entry.get("label", entry.get("name")), "label")
    ]
    return _unique(claims + [(text, IGNORE_INDEX) for text in ignored if isinstance(text, str)])


def _unique(claims: list[tuple[Any, int]]) -> dict[Any, int]:
    """Return the class of each value; a ValueError names a value that has two."""
    classes: dict[Any, int] = {}
    for value, index in claims:
        if classes.setdefault(value, index) != index:
            both = {classes[value], index}
            meanings = "a class and is ignored" if IGNORE_INDEX in both else "two classes"
            msg = f"{value!r} stands for {meanings}"
            raise ValueError(msg)
    return classes


def _refuse_unknown(values: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(values.keys() - known):
        msg = f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}"
        raise ValueError(msg)


def _ignored(value: object) -> list[Any]:
    """Return the ids, colors and labels that are not labeled."""
    values = _as_list(value)
    for entry in values:
        if not isinstance(entry, int | list | str):
            msg = f"ignore holds {_shown(entry)!r}, and must hold ids, colors or labels"
            raise TypeError(msg)
    return values


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _list_of(kind: type, value: object, key: str) -> list[Any]:
    """Return one value of a kind, or a list of them, as a list."""
    values = _as_list(value)
    if not all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in values):
        msg = f"{key} is {_shown(value)!r}, and must be {KINDS[kind]}"
        raise TypeError(msg)
    return values


def _byte(value: object, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        msg = f"{key} is {_shown(value)!r}, and must be a whole number within 0 and 255"
        raise ValueError(msg)
    return value


def _color_list(value: object, key: str) -> list[Color]:
    """Return one color, or a list of colors, as a list."""
    values = _as_list(value)
    colors: list[Any] = values if all(isinstance(entry, list) for entry in values) else [value]
    if not all(isinstance(color, list) and len(color) == 3 for color in colors):
        msg = f"{key} is {_shown(value)!r}, and must be red, green, blue, or a list of such"
        raise TypeError(msg)
    return [(_byte(red, key), _byte(green, key), _byte(blue, key)) for red, green, blue in colors]


def _shown(value: object) -> str:
    return str(value)[:SHOWN]
