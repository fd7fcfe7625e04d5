"""TOML in and out: files that people write are read strictly, and values are written back."""

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import date, time
from math import isfinite
from pathlib import Path
from typing import Any

MAX_BYTES = 1024 * 1024
"""Bytes of the largest file that is read: people write these files."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not TOML, or larger than 1 MiB; the message says where and why.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        msg = f"it has more than {MAX_BYTES} bytes"
        raise ValueError(msg)
    # Editors on Windows begin a file with a byte order mark.
    return parse_toml(content.decode("utf-8-sig"))


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of TOML text; a ValueError says where and why it is none."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        msg = "its lists or tables are nested too deeply"
        raise ValueError(msg) from None
    except ValueError as error:
        # Python refuses numbers of more than 4300 digits in words about its own settings.
        if "integer string conversion" in str(error):
            msg = "it holds a number of thousands of digits"
            raise ValueError(msg) from error
        raise


def parse_value(text: str) -> object:
    """Return a TOML value, for example of an option; what is not valid TOML is a string."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def to_toml(values: Mapping[str, object]) -> str:
    """Return keys and values as TOML, tables behind all others; empty tables are left out."""
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    parts = [toml_lines({key: value for key, value in values.items() if key not in tables})]
    parts += [f"[{_toml_key(key)}]\n{toml_lines(table)}" for key, table in tables.items() if table]
    return "\n\n".join(parts) + "\n"


def toml_lines(values: Mapping[str, object]) -> str:
    """Return a line of TOML for each key and its value."""
    return "\n".join(f"{_toml_key(key)} = {_toml_value(value)}" for key, value in values.items())


def _toml_value(value: object) -> str:
    """Return a value as TOML, which mostly has the notation of JSON."""
    if isinstance(value, Mapping):
        pairs = (f"{_toml_key(key)} = {_toml_value(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return text.encode(errors="replace").decode()


def _toml_key(key: str) -> str:
    """Return a key as TOML, quoted where needed."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)
