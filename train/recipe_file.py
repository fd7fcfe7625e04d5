"""Recipes from files: TOML of the user or of the package, and overrides of single values."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from segdeploy.errors import ConfigError
from segdeploy.system.toml import parse_value, read_toml

from .recipe import RENAMED_KEYS, Recipe, with_new_keys

RENAMED_RECIPES = {
    "model-in-the-box": "bundled-model",
    "model-in-the-box-final": "bundled-model-final",
}
"""Bundled recipes of version 0.1.0 and their present names."""


def load_recipe(name: str | Path | None) -> Recipe:
    """Return the recipe of a TOML file, or a bundled one by its name; None is all defaults.

    Raises:
        ConfigError: There is no such recipe, or it cannot be used.
    """
    if name is None:
        return Recipe()
    return Recipe.from_dict(read_recipe(str(name)), source=str(name))


def read_recipe(name: str) -> dict[str, Any]:
    """Return the keys and values of a recipe's file, or of a bundled recipe by its name.

    Raises:
        ConfigError: There is no such recipe, or it is not TOML.
    """
    try:
        return with_new_keys(_read_file(name))
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        msg = f"the recipe {name} cannot be read ({error}); correct the file"
        raise ConfigError(msg) from error


def _read_file(name: str) -> dict[str, Any]:
    """Return the content of a file, or of a bundled recipe; an OSError or ValueError says why not.

    Raises:
        ConfigError: There is neither.
    """
    with suppress(FileNotFoundError, IsADirectoryError):
        return read_toml(Path(name))
    bundled = resources.files("segdeploy.train.recipes")
    endings = [entry.name for entry in bundled.iterdir() if entry.name.endswith(".toml")]
    names = sorted(entry.removesuffix(".toml") for entry in endings)
    known = RENAMED_RECIPES.get(name, name)
    if known not in names:
        msg = f"there is no recipe {name}; name a TOML file, or one of {', '.join(names)}"
        raise ConfigError(msg)
    with resources.as_file(bundled / f"{known}.toml") as path:
        return read_toml(path)


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return the values of a recipe with some of them changed.

    Args:
        values: Keys and values, as TOML gives them.
        overrides: Each a key, with dots for a table's, and a value as in TOML; a string
            needs no quotes. For example `arguments.width=16`.

    Raises:
        ConfigError: One has no key or no value, or a dot follows the key of a value that is no
            table.
    """
    changed = with_new_keys(values)
    for override in overrides:
        name, equals, text = override.partition("=")
        keys = name.strip().split(".")
        if not equals or not all(keys):
            msg = (
                f"--set {override!r} is not KEY=VALUE; write for example --set lr=0.01 or --set"
                " arguments.width=16"
            )
            raise ConfigError(msg)
        keys[0] = RENAMED_KEYS.get(keys[0], keys[0])
        _set_value(changed, keys, parse_value(text.strip()), override)
    return changed


def _set_value(table: dict[str, Any], keys: list[str], value: object, override: str) -> None:
    """Set a value in a table of tables; inner tables are copied before they change."""
    *outer, last = keys
    for key in outer:
        inner = table.get(key, {})
        if not isinstance(inner, Mapping):
            msg = (
                f"--set {override!r} sets a key of {key}, which is {inner!r} and not a table; leave"
                " out the part behind the dot"
            )
            raise ConfigError(msg)
        table[key] = dict(inner)
        table = table[key]
    table[last] = value
