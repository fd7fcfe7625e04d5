"""Convert values from JSON and TOML to types, with a clear message for a value that does not fit.

The types are `msgspec.Struct`s. `msgspec.structs.replace` and `msgspec.to_builtins` do for them
what `dataclasses.replace` and `asdict` do for dataclasses. A field that has another name in the
file declares it: `msgspec.field(name=...)`.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")

SHOWN = 60
"""Characters of a value that a message shows."""

KINDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "a table",
    "str": "a string",
}
"""Descriptions of the kinds of values in JSON and TOML, by msgspec's names."""


def convert(values: object, kind: type[T], *, refuse: Callable[[str], Exception]) -> T:
    """Return values from JSON or TOML as a value of the given type.

    Nothing is guessed: "3" is not a number and 1 is not a boolean. Lists become tuples where the
    type says so, and whole numbers become floating-point ones. NaN and infinity are accepted.

    Example:
        ```python
        class Camera(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
            fps: float
            size: tuple[int, int] = (640, 480)


        values = tomllib.loads("size = [640, '480']")
        convert(values, Camera, refuse=lambda problem: ConfigError(f"camera.toml: {problem}"))
        # ConfigError: camera.toml: size[1] is '480' and must be a whole number
        ```

    Args:
        values: What `json.loads` or `tomllib.loads` returned.
        kind: A `msgspec.Struct`, or any other type that msgspec converts to.
        refuse: Makes the error that is raised of the problem, which is a part of a sentence such
            as "input.height is '65' and must be a whole number".

    Raises:
        Exception: What `refuse` returned, where a value does not fit its type, and where a key is
            missing, or is unknown to a `Struct` with `forbid_unknown_fields`. Any error other than
            ValueError and TypeError that `__post_init__` of a `Struct` raises comes through as it
            is.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise refuse(_problem(str(error), values, kind)) from error
    except UnicodeEncodeError as error:
        # JSON can encode a lone surrogate.
        msg = f"it holds {error.object[error.start : error.end]!r}, which is not a character"
        raise refuse(msg) from error


def _problem(message: str, values: object, kind: type[Any]) -> str:
    """Return msgspec's message in plain English, with the value and what it must be."""
    reason, _, path = message.partition(" - at `$")
    path = path.removesuffix("`").removeprefix(".")
    if (unknown := re.fullmatch(r"Object contains unknown field `(.*)`", reason)) is not None:
        known = ", ".join(_known_keys(kind, path))
        return f"the key {_joined(path, unknown[1])!r} is unknown; known are {known}"
    if (missing := re.fullmatch(r"Object missing required field `(.*)`", reason)) is not None:
        return f"the key {_joined(path, missing[1])!r} is missing"
    expected = _expected(reason, kind, path)
    if expected is None:
        # The message of a `__post_init__`.
        return f"in {path}: {reason}" if path else reason
    return f"{path or 'it'}{_value_at(values, path)} must be {expected}"


def _expected(reason: str, kind: type[Any], path: str) -> str | None:
    """Return what a value must be; None where the message is not msgspec's."""
    found = re.fullmatch(r"Expected `([^`]*)`(.*?)(?:, got .*)?", reason)
    if found is None and not reason.startswith("Invalid enum value"):
        return None
    if choices := _choices(kind, path):
        return f"one of {', '.join(map(str, choices))}"
    if found is None:
        return None
    return " or ".join(KINDS.get(name, name) for name in found[1].split(" | ")) + found[2]


def _value_at(values: object, path: str) -> str:
    """Return " is 'x' and" for the value at a path such as "a.b[1]".

    Empty where msgspec leaves the key of a table open, as in "a[...]".
    """
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]", path):
        try:
            values = values[int(index)] if index else values[key]  # type: ignore[index]
        except (LookupError, TypeError, ValueError):
            return ""
    return f" is {shown(values)} and"


def shown(value: object) -> str:
    """Return a value as a message shows it, cut short where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # Python writes no number of more than 4300 digits.
        return f"{type(value).__name__} without measure"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _known_keys(kind: type[Any], path: str) -> list[str]:
    """Return the keys that the table at a path may have."""
    return [
        field.encode_name for form in _forms(kind, path) for field in getattr(form, "fields", ())
    ]


def _choices(kind: type[Any], path: str) -> list[object]:
    """Return the values among which the one at a path must be, if it is a choice."""
    return [value for form in _forms(kind, path) for value in getattr(form, "values", ())]


def _forms(kind: type[Any], path: str) -> list[Any]:
    """Return msgspec's descriptions of the types that the value at a path may have."""
    forms = _alternatives(inspect.type_info(kind))
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]", path):
        inner = [_step(form, key, index) for form in forms]
        forms = [other for form in inner if form is not None for other in _alternatives(form)]
    return forms


def _alternatives(form: Any) -> list[Any]:  # noqa: ANN401 - one of msgspec's many type classes
    return list(getattr(form, "types", (form,)))


def _step(form: Any, key: str, index: str) -> Any:  # noqa: ANN401 - msgspec's type classes
    """Return the type of a field, of an item of a list, or of a value of a table."""
    if key:
        fields = {field.encode_name: field.type for field in getattr(form, "fields", ())}
        return fields.get(key)
    items = getattr(form, "item_types", None)
    if items is not None and index.isdigit():
        return items[int(index)]
    return getattr(form, "item_type", getattr(form, "value_type", None))
