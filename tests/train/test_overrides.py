"""Any value of a recipe from the command line."""

import pytest

from segdeploy.errors import ConfigError
from segdeploy.train.recipe import with_overrides


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("lr=0.5", {"lr": 0.5}),
        ("epochs = 3", {"epochs": 3}),
        ("amp=false", {"amp": False}),
        ("imgsz=[24, 32]", {"imgsz": [24, 32]}),
        ("data=/some/where else", {"data": "/some/where else"}),
        ('loss="ce+dice"', {"loss": "ce+dice"}),
        ("arguments.backbone=timm:resnet18", {"arguments": {"backbone": "timm:resnet18"}}),
        ("data=a=b", {"data": "a=b"}),
        ("weights=", {"weights": ""}),
    ],
)
def test_value_is_read_as_toml_reads_it(override: str, expected: dict[str, object]) -> None:
    """What is no value of TOML is a text, since nobody quotes twice for the shell."""
    assert with_overrides({}, [override]) == expected


def test_others_of_a_table_stay_and_the_source_too() -> None:
    """The recipe that was read may be used again."""
    values = {"lr": 0.1, "arguments": {"width": 8, "depth": 3}}

    changed = with_overrides(values, ["arguments.width=16", "lr=1", "lr=2"])

    assert changed == {"lr": 2, "arguments": {"width": 16, "depth": 3}}
    assert values == {"lr": 0.1, "arguments": {"width": 8, "depth": 3}}


@pytest.mark.parametrize("override", ["lr", "=3", "arguments.=3", "lr.x=3"])
def test_what_is_no_pair_is_told(override: str) -> None:
    """The message shows how it is written."""
    with pytest.raises(ConfigError, match="--set"):
        with_overrides({"lr": 0.1}, [override])
