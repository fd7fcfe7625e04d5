"""Values written as TOML, which `tomllib` reads again."""

import json
import re
from collections.abc import Mapping


def to_toml(values: Mapping[str, object]) -> str:
    """Write keys and values, and tables behind them; tables that hold nothing are left out."""
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    parts = [lines({key: value for key, value in values.items() if key not in tables})]
    parts += [f"[{spell_key(key)}]\n{lines(table)}" for key, table in tables.items() if table]
    return "\n\n".join(parts) + "\n"


def lines(values: Mapping[str, object]) -> str:
    """Write a line for each key and its value."""
    return "\n".join(f"{spell_key(key)} = {spell(value)}" for key, value in values.items())


def spell(value: object) -> str:
    """Write one value: TOML spells numbers, truth, lists and nearly all texts as JSON does."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f").encode(errors="replace").decode()


def spell_key(key: str) -> str:
    """Write a key, quoted where TOML needs it."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else spell(key)
