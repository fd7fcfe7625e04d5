"""Fine-tuning: weights that fit are loaded, and the head of other classes stays random."""

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from segdeploy import models
from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.errors import ModelError
from segdeploy.models.checkpoint import Checkpoint, save_checkpoint
from segdeploy.train.pretrained import load_weights, normalization_warning, recipe_values
from segdeploy.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def labels(names: str) -> tuple[LabelClass, ...]:
    return tuple(LabelClass(name=name, color=(0, 0, 0)) for name in names)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe that begins with a small U-Net of three classes."""
    torch.manual_seed(1)
    arguments = {"width": 2, "depth": 1}
    network = models.build("unet", 3, **arguments)
    spec = InputSpec(height=8, width=8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    card = ModelCard(architecture="unet", arguments=arguments, classes=labels("abc"), input=spec)
    save_checkpoint(
        tmp_path / "best.pt", Checkpoint(card=card, weights=network.state_dict(), state={})
    )
    return Recipe(arguments=arguments, weights=str(tmp_path / "best.pt"))


@pytest.mark.parametrize(
    ("classes", "left"),
    [("abc", []), ("abcde", ["head.bias", "head.weight"]), ("abd", ["head.bias", "head.weight"])],
)
def test_takes_all_but_the_head_of_other_classes(
    recipe: Recipe, classes: str, left: list[str]
) -> None:
    """The head's tensors stay random, and are named.

    The same holds for as many classes with other names.
    """
    torch.manual_seed(2)
    network = models.build("unet", len(classes), **recipe.arguments)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    given = torch.load(recipe.weights, weights_only=True)["weights"]

    random = load_weights(network, recipe, classes=labels(classes))

    assert random == left
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key] if key in left else given[key]), key


def test_anything_else_that_does_not_fit_is_an_error(recipe: Recipe) -> None:
    """A wider network, whether of as many classes or of others; a deeper one; another network."""
    for arguments, classes in (
        ({"width": 4, "depth": 1}, "abc"),
        ({"width": 4, "depth": 1}, "abcde"),
        ({"width": 2, "depth": 2}, "abc"),
    ):
        network = models.build("unet", len(classes), **arguments)
        with pytest.raises(
            ModelError,
            match=(
                r"best\.pt do not fit unet .*train with its arguments, \{'depth': 1, 'width': 2\}"
            ),
        ):
            load_weights(network, replace(recipe, arguments=arguments), classes=labels(classes))
    with pytest.raises(
        ModelError, match="holds a unet and the recipe a other; train with --model unet"
    ):
        load_weights(
            torch.nn.Conv2d(3, 3, 1), replace(recipe, model="other"), classes=labels("abc")
        )


def test_checkpoint_decides_the_network_without_a_model(recipe: Recipe) -> None:
    """`--weights best.pt` alone is enough to fine-tune."""
    assert Recipe(**recipe_values(recipe.weights)) == Recipe(
        model="unet", arguments={"width": 2, "depth": 1}, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )


def test_other_normalization_than_the_backbones_is_a_warning() -> None:
    """ImageNet's weights would get inputs of another distribution."""
    network = models.build("deeplabv3plus", 2, backbone="efficientnet_lite0")
    recipe = Recipe(model="deeplabv3plus", weights_backbone="imagenet")

    assert "--set mean=[0.498,0.498,0.498] --set std=[0.502,0.502,0.502]" in normalization_warning(
        network, recipe
    )
    assert not normalization_warning(network, replace(recipe, mean=(0.498,) * 3, std=(0.502,) * 3))
    assert not normalization_warning(network, replace(recipe, weights_backbone=""))
