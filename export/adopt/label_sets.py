"""Names of classes: of a known set, from a file, or from what the network's own file says."""

import ast
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from segdeploy.card import MAX_CLASSES, LabelClass
from segdeploy.datasets.class_map import read_class_map
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.palettes import distinct_color

KNOWN = ("ade20k", "camvid", "carvana", "cityscapes", "idd_lite", "voc")
"""Datasets whose classes a name of `--classes` stands for."""

AUTO = "auto"

METADATA_KEYS = ("names", "classes", "class_names", "labels", "id2label", "categories")
"""Keys under which files store the names of their classes."""

MAX_TEXT = 1 << 20
"""Largest size of names in metadata, in characters."""

BLACK = (0, 0, 0)


def named_classes(text: str) -> tuple[LabelClass, ...] | None:
    """Return the classes that `--classes` names; None for "auto".

    Args:
        text: "auto", one of KNOWN, a classes.toml, a text file with a name in each line, or names
            with commas between them; a single one has a comma behind it.

    Raises:
        ConfigError: It is none of these.
        DataError: The file cannot be used.
    """
    if text == AUTO:
        return None
    if text in KNOWN:
        module = import_module(f"segdeploy.datasets.formats.{text}")
        classes: tuple[LabelClass, ...] = module.CLASSES
        return classes
    path = Path(text)
    if path.suffix == ".toml":
        return read_class_map(path).classes
    if path.is_file():
        return _read_names(path)
    if "," in text:
        return label_classes([name.strip() for name in text.removesuffix(",").split(",")])
    msg = (
        f"there is no file {text}, and --classes knows no such set; give a classes.toml, names with"
        f" commas (a single one: {text},), auto, or one of {', '.join(KNOWN)}"
    )
    raise ConfigError(msg)


def _read_names(path: Path) -> tuple[LabelClass, ...]:
    try:
        text = path.read_bytes()[: MAX_TEXT + 1].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as names of classes ({error}); write one name in each line"
        raise DataError(msg) from error
    return label_classes([line.strip() for line in text.splitlines() if line.strip()])


def label_classes(names: Sequence[str]) -> tuple[LabelClass, ...]:
    """Return classes of these names, in colors that differ; a first "background" is black.

    Raises:
        ConfigError: A name is empty, not printable, or stands twice; or there are too many.
    """
    if not 1 <= len(names) <= MAX_CLASSES:
        msg = f"there are {len(names)} names of classes; there must be 1 to {MAX_CLASSES}"
        raise ConfigError(msg)
    odd = [name for name in names if not name or not name.isprintable() or names.count(name) > 1]
    if odd:
        msg = f"the class name {odd[0][:40]!r} is empty, not printable, or stands twice; change it"
        raise ConfigError(msg)
    return tuple(
        LabelClass(
            name=name,
            color=BLACK if name.lower() == "background" and not index else distinct_color(index),
        )
        for index, name in enumerate(names)
    )


def numbered_classes(count: int) -> tuple[LabelClass, ...]:
    """Return classes without names of their own."""
    return label_classes([f"class {index}" for index in range(count)])


def with_background(name: str, classes: Sequence[LabelClass]) -> tuple[LabelClass, ...]:
    """Return the classes with a background in front.

    Raises:
        ConfigError: One of them has its name.
    """
    if name in [entry.name for entry in classes]:
        msg = f"the class {name!r} is among --classes already; give --background another name"
        raise ConfigError(msg)
    return (LabelClass(name=name, color=BLACK), *classes)


def metadata_classes(metadata: Mapping[str, str]) -> tuple[LabelClass, ...] | None:
    """Return the classes that a file names in its metadata, as Ultralytics and others do.

    Args:
        metadata: Texts of the file by their keys; a list of names or a mapping from their indices,
            as JSON or as Python writes them.

    Returns:
        None where there are none, or where they cannot be used.
    """
    for key in METADATA_KEYS:
        values = parse_value(metadata.get(key, ""))
        if isinstance(values, dict):
            values = indexed(values)
        if not isinstance(values, list | tuple) or not values:
            continue
        try:
            return label_classes([str(value) for value in values])
        except ConfigError:
            continue
    return None


def indexed(values: Mapping[Any, Any]) -> list[Any]:
    """Return the values of a mapping from indices 0, 1, 2 ...; nothing if it is another one."""
    try:
        pairs = sorted((int(key), value) for key, value in values.items())
    except (TypeError, ValueError):
        return []
    return [value for _, value in pairs] if [i for i, _ in pairs] == [*range(len(pairs))] else []


def parse_value(text: str) -> object:
    """Return the value of a text in JSON, or a literal of Python; None where it is neither."""
    if not 0 < len(text) <= MAX_TEXT:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            value: object = parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return value
    return None
