"""TOML is read strictly, and what is written is read back."""

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdeploy.system.toml import MAX_BYTES, parse_value, read_toml, to_toml


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"lr = = 1", "line 1"),
        (b"seed = " + b"1" * 5000, "thousands of digits"),
        (b"model = " + b"[" * 50_000, "nested too deeply"),
        (b"#" * (MAX_BYTES + 1), "more than 1048576 bytes"),
        (b"name = '\xff'", "utf-8"),
    ],
)
def test_what_is_not_toml_is_a_value_error(tmp_path: Path, content: bytes, reason: str) -> None:
    """Whoever reads a file of somebody catches one kind of error."""
    (tmp_path / "a.toml").write_bytes(content)

    with pytest.raises(ValueError, match=reason):
        read_toml(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("abc", "abc"), ("[" * 50_000, "[" * 50_000), ("1\n2", "1\n2")]
)
def test_an_option_is_a_toml_value_or_a_string(text: str, value: object) -> None:
    """No text that a user gives breaks the reader."""
    assert parse_value(text) == value


@pytest.mark.parametrize(
    "values",
    [
        {"a": {"b": {"c": [1, {"d": 2}]}}},
        {"a": {"low": float("-inf"), "day": date(2024, 2, 29)}},
    ],
)
def test_values_that_json_writes_in_another_way_are_read_back(values: dict[str, Any]) -> None:
    """Inner tables, infinity and dates are no JSON."""
    assert tomllib.loads(to_toml(values)) == values


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
PLAIN = st.one_of(VALUES, st.lists(TEXTS))


@given(st.dictionaries(TEXTS, st.one_of(PLAIN, st.dictionaries(TEXTS, PLAIN, min_size=1))))
def test_toml_is_read_back(values: dict[str, Any]) -> None:
    """Keys with spaces, quotes and controls, any Unicode text, tables."""
    assert tomllib.loads(to_toml(values)) == values


def test_toml_is_readable() -> None:
    """Plain keys first, each on its line; tables behind them, unless they are empty."""
    values = {
        "loss": "ce+dice",
        "unions": {},
        "scale": [0.5, 2.0],
        "arguments": {"width": 96, "living things": ["Car"]},
        "amp": True,
    }

    assert (
        to_toml(values)
        == 'loss = "ce+dice"\nscale = [0.5, 2.0]\namp = true\n\n[arguments]\nwidth = 96\n"living'
        ' things" = ["Car"]\n'
    )
