"""What is written as TOML is read again as it was."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segdeploy.system.files import to_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
PLAIN = st.one_of(VALUES, st.lists(TEXTS))


@given(st.dictionaries(TEXTS, st.one_of(PLAIN, st.dictionaries(TEXTS, PLAIN, min_size=1))))
def test_whatever_is_written_is_read_again(values: dict[str, Any]) -> None:
    """Keys with spaces, quotes and controls, texts of any letters, tables."""
    assert tomllib.loads(to_toml(values)) == values


def test_it_is_written_as_a_person_would() -> None:
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
