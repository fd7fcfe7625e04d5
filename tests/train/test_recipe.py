"""A recipe is one value, checked before anything heavy is loaded."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch

from segdeploy import datasets, models
from segdeploy.errors import ConfigError
from segdeploy.train.recipe import (
    RENAMED_KEYS,
    Recipe,
    read_loss_terms,
)
from segdeploy.train.recipe_file import load_recipe, read_recipe, with_overrides


def test_what_is_written_is_read_again() -> None:
    """recipe.toml of a run repeats the run."""
    recipe = Recipe(
        arguments={"width": 8, "note": 'a "b" \\ ü'},
        imgsz=(180, 240),
        lr=1e-05,
        data="/a b",
        amp=False,
    )

    again = Recipe.from_dict(tomllib.loads(recipe.to_toml()), source="recipe.toml")

    assert again == recipe


def test_whole_number_is_a_float_where_one_is_expected() -> None:
    """TOML distinguishes 1 from 1.0, users do not."""
    recipe = Recipe.from_dict({"lr": 1, "scale": [1, 2]}, source="x")

    assert recipe.lr == 1.0
    assert recipe.scale == (1.0, 2.0)


def test_unknown_key_is_an_error() -> None:
    """A mistyped key must not be ignored."""
    with pytest.raises(
        ConfigError, match=r"mine\.toml: the key 'epoch' is unknown; known are model, .*epochs"
    ):
        Recipe.from_dict({"epoch": 3}, source="mine.toml")


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": "3"},
        {"epochs": True},
        {"epochs": 2.5},
        {"imgsz": [180]},
        {"imgsz": 180},
        {"imgsz": ["180", "240"]},
        {"amp": 1},
        {"arguments": 3},
        {"model": 1},
    ],
)
def test_value_of_the_wrong_type_is_an_error(values: dict[str, Any]) -> None:
    """The message names the key and where it stands."""
    with pytest.raises(
        ConfigError, match=rf"mine.toml: {next(iter(values))}\S* is .* and must be "
    ):
        Recipe.from_dict(values, source="mine.toml")


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"imgsz": (0, 10)},
        {"batch": 0},
        {"loss": "ohm"},
        {"loss": "ce+"},
        {"loss": "0*ce"},
        {"loss": "-1*ce"},
        {"loss": "x*ce"},
        {"loss": "nan*ce"},
        {"schedule": "step"},
        {"class_weights": "rare"},
        {"accumulate": 0},
        {"aux_weight": -1.0},
        {"ema": 1.0},
        {"max_share": 0.0},
        {"hue": 0.6},
        {"blur": 2.0},
        {"freeze": -2},
        {"overfit": -1},
        {"patience": -1},
        {"val_every": 0},
        {"optimizer": "adam"},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"warmup": 1.0},
        {"weight_decay": -0.1},
        {"clip": -1.0},
        {"scale": (2.0, 1.0)},
        {"scale": (0.0, 1.0)},
        {"flip": 1.5},
        {"color": 1.0},
        {"std": (0.1, 0.0, 0.1)},
        {"seed": -1},
        {"workers": -2},
        {"threads": 0},
        {"memory": -1.0},
    ],
)
def test_value_out_of_range_is_an_error(values: dict[str, Any]) -> None:
    """Each is checked at once; NaN and infinity are out of every range."""
    with pytest.raises(ConfigError, match=next(iter(values))):
        Recipe(**values)


def test_recipe_is_found_by_path_and_by_name(tmp_path: Path) -> None:
    """A file of the user's, or a bundled one."""
    (tmp_path / "mine.toml").write_text("epochs = 7\n")

    assert read_recipe(str(tmp_path / "mine.toml")) == {"epochs": 7}
    assert read_recipe("streets-demo")["dataset"] == "streets"
    assert load_recipe(tmp_path / "mine.toml").epochs == 7
    assert load_recipe(None) == Recipe()


@pytest.mark.parametrize("name", ["bundled-model", "bundled-model-final"])
def test_renamed_bundled_recipe_is_found_by_its_older_name(name: str) -> None:
    """Scripts that call it `model-in-the-box` still run."""
    assert read_recipe(name.replace("bundled-model", "model-in-the-box")) == read_recipe(name)


def test_missing_and_damaged_recipes_are_errors(tmp_path: Path) -> None:
    """The message lists the bundled recipes, or says where the TOML breaks."""
    (tmp_path / "broken.toml").write_text("epochs = = 7\n")

    with pytest.raises(ConfigError, match="streets-demo"):
        read_recipe("no-such-recipe")
    with pytest.raises(ConfigError, match="line 1"):
        read_recipe(str(tmp_path / "broken.toml"))


BUNDLED = sorted(
    entry.name.removesuffix(".toml")
    for entry in resources.files("segdeploy.train.recipes").iterdir()
    if entry.name.endswith(".toml")
)


def test_bundled_recipes_are_those_of_the_documentation() -> None:
    """docs/training.md names them."""
    assert {
        "unet-carvana",
        "unet-cityscapes",
        "unet-camvid",
        "deeplabv3plus-cityscapes",
        "deeplabv3plus-carvana",
    } <= set(BUNDLED)
    assert {"realtime-cityscapes", "deeplabv3plus-ade20k"} <= set(BUNDLED)
    assert {"realtime-camvid", "sanity", "streets-demo"} <= set(BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_recipe_can_be_used(name: str) -> None:
    """No recipe is outdated.

    Its network is built, without memory, and takes what the recipe trains on.
    """
    recipe = Recipe.from_dict(read_recipe(name), source=name)

    with torch.device("meta"):
        network = models.build(recipe.model, 11, **recipe.arguments)

    assert recipe.dataset in datasets.names()
    for height, width in (recipe.imgsz, recipe.train_size):
        assert height % network.stride == width % network.stride == 0
    assert not recipe.weights_backbone or hasattr(network, "backbone")


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
    """A value that is not TOML is a string, so that a shell needs no second quotes."""
    assert with_overrides({}, [override]) == expected


def test_other_keys_of_a_table_and_the_source_stay() -> None:
    """The recipe that was read may be used again."""
    values = {"lr": 0.1, "arguments": {"width": 8, "depth": 3}}

    changed = with_overrides(values, ["arguments.width=16", "lr=1", "lr=2"])

    assert changed == {"lr": 2, "arguments": {"width": 16, "depth": 3}}
    assert values == {"lr": 0.1, "arguments": {"width": 8, "depth": 3}}


@pytest.mark.parametrize("override", ["lr", "=3", "arguments.=3", "lr.x=3"])
def test_override_without_key_or_value_is_an_error(override: str) -> None:
    """The message shows how it is written."""
    with pytest.raises(ConfigError, match="--set"):
        with_overrides({"lr": 0.1}, [override])


def test_terms_are_read_with_their_weights() -> None:
    """With weights and spaces."""
    assert read_loss_terms("ce") == ((1.0, "ce"),)
    assert read_loss_terms("0.5*ohem + lovasz+2 * dice") == (
        (0.5, "ohem"),
        (1.0, "lovasz"),
        (2.0, "dice"),
    )
    with pytest.raises(
        ConfigError,
        match=r"loss is 'ce\+bce'; it must be one of ce, ohem, focal, dice, lovasz, or a sum",
    ):
        read_loss_terms("ce+bce")


def test_keys_of_the_first_version_are_still_read() -> None:
    """Recipes and cards that were written before the keys were renamed."""
    old = {
        "helper": "idd_lite",
        "helper_data": "/idd",
        "unions": {"vehicles": ["Car", "Bicyclist"]},
        "repeat": 3,
    }

    recipe = Recipe.from_dict(old, source="old.toml")

    assert (recipe.extra_dataset, recipe.extra_data) == ("idd_lite", "/idd")
    assert recipe.coarse_classes == {"vehicles": ["Car", "Bicyclist"]}
    assert not RENAMED_KEYS.keys() & recipe.to_dict().keys()


def test_keys_of_the_first_version_can_be_set() -> None:
    """The last value of a key counts, whichever of its two names it was given by."""
    changed = with_overrides(
        {"helper_data": "/a", "extra_dataset": "idd_lite"},
        ["helper_data=/b", 'unions.sky=["Sky"]'],
    )

    assert changed == {
        "extra_data": "/b",
        "extra_dataset": "idd_lite",
        "coarse_classes": {"sky": ["Sky"]},
    }
