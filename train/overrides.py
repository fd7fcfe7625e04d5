"""Values of a recipe given on the command line, as `a.b=c`."""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from segdeploy.errors import ConfigError


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Give the values of a recipe with some of them changed.

    Args:
        values: Keys and values, as TOML gives them.
        overrides: Each a key, with dots for a table's, and a value as in TOML; a text needs no quotes. For example `arguments.width=16`.

    Raises:
        ConfigError: One is no such pair, or a dot goes into what is no table.
    """
    changed = dict(values)
    for override in overrides:
        name, equals, text = override.partition("=")
        keys = name.strip().split(".")
        if not equals or not all(keys):
            msg = f"--set {override!r} is no key=value; write for example --set lr=0.01 or --set arguments.width=16"
            raise ConfigError(msg)
        _put(changed, keys, read_value(text.strip()), override)
    return changed


def _put(table: dict[str, Any], keys: list[str], value: object, override: str) -> None:
    """Put a value into a table of tables, leaving those that it came from as they are."""
    first, *rest = keys
    if not rest:
        table[first] = value
        return
    inner = table.get(first, {})
    if not isinstance(inner, Mapping):
        msg = f"--set {override!r} goes into {first}, which is {inner!r} and no table; leave out what is behind the dot"
        raise ConfigError(msg)
    table[first] = dict(inner)
    _put(table[first], rest, value, override)


def read_value(text: str) -> object:
    """Read a value as TOML does; what is none is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
