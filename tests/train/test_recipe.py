"""A recipe is one value, checked before anything heavy is loaded."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch

from segdeploy import datasets, models
from segdeploy.errors import ConfigError
from segdeploy.train.recipe import Recipe, read_recipe


def test_what_is_written_is_read_again() -> None:
    """recipe.toml of a run makes the same run."""
    recipe = Recipe(
        arguments={"width": 8, "note": 'a "b" \\ ü'},
        imgsz=(180, 240),
        lr=1e-05,
        data="/a b",
        amp=False,
    )

    again = Recipe.from_dict(tomllib.loads(recipe.to_toml()), source="recipe.toml")

    assert again == recipe


def test_a_whole_number_is_good_for_a_broken_one() -> None:
    """TOML tells 1 from 1.0, people do not."""
    recipe = Recipe.from_dict({"lr": 1, "scale": [1, 2]}, source="x")

    assert recipe.lr == 1.0
    assert recipe.scale == (1.0, 2.0)


def test_unknown_key_is_an_error() -> None:
    """A mistyped key that is silently left out is a run wasted."""
    with pytest.raises(ConfigError, match=r"mine\.toml has the unknown key 'epoch'"):
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
def test_value_of_the_wrong_kind_is_told(values: dict[str, Any]) -> None:
    """The message names the key and where it stands."""
    with pytest.raises(ConfigError, match=rf"{next(iter(values))} in mine.toml is"):
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
def test_value_out_of_range_is_told(values: dict[str, Any]) -> None:
    """Each is checked at the door; what is no number, or endless, is out of every range."""
    with pytest.raises(ConfigError, match=next(iter(values))):
        Recipe(**values)


def test_recipe_is_found_by_path_and_by_name(tmp_path: Path) -> None:
    """A file of the user's, or one in the box."""
    (tmp_path / "mine.toml").write_text("epochs = 7\n")

    assert read_recipe(str(tmp_path / "mine.toml")) == {"epochs": 7}
    assert read_recipe("streets-demo")["dataset"] == "streets"


def test_missing_and_damaged_recipes_are_told(tmp_path: Path) -> None:
    """The message lists the recipes in the box, or says where the TOML breaks."""
    (tmp_path / "broken.toml").write_text("epochs = = 7\n")

    with pytest.raises(ConfigError, match="streets-demo"):
        read_recipe("no-such-recipe")
    with pytest.raises(ConfigError, match="line 1"):
        read_recipe(str(tmp_path / "broken.toml"))


BOX = sorted(
    entry.name.removesuffix(".toml")
    for entry in resources.files("segdeploy.train.recipes").iterdir()
    if entry.name.endswith(".toml")
)


def test_box_holds_the_networks_and_data_sets_of_the_documentation() -> None:
    """docs/training.md names them."""
    assert {
        "unet-carvana",
        "unet-cityscapes",
        "unet-camvid",
        "deeplabv3plus-cityscapes",
        "deeplabv3plus-carvana",
    } <= set(BOX)
    assert {"realtime-cityscapes", "deeplabv3plus-ade20k"} <= set(BOX)
    assert {"realtime-camvid", "sanity", "streets-demo"} <= set(BOX)


@pytest.mark.parametrize("name", BOX)
def test_every_recipe_in_the_box_can_be_used(name: str) -> None:
    """None of them has gone stale.

    Its network is built, without memory, and takes what the recipe trains on.
    """
    recipe = Recipe.from_dict(read_recipe(name), source=name)

    with torch.device("meta"):
        network = models.build(recipe.model, 11, **recipe.arguments)

    assert recipe.dataset in datasets.names()
    for height, width in (recipe.imgsz, recipe.seen):
        assert height % network.stride == width % network.stride == 0
    assert not recipe.weights_backbone or hasattr(network, "backbone")
