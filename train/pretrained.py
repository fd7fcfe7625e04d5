"""Checkpoints that a run starts from: initial weights, also of other classes, and a teacher."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segdeploy import assets, models
from segdeploy.card import LabelClass, ModelCard
from segdeploy.cli.console import note
from segdeploy.datasets.dataset import Dataset
from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.channels import RGB, take_channels
from segdeploy.models.checkpoint import check_shapes, load_checkpoint, shapes_of
from segdeploy.models.encoders.encoder import IMAGENET, Encoder, load_backbone

from .batch_size import check_batch
from .bundled_weights import bundled_card, is_bundled, load_bundled
from .distributed import Processes
from .recipe import BAND_DEFAULTS, Recipe
from .run_setup import build_network


def initial_network(
    recipe: Recipe,
    train: Dataset,
    device: torch.device,
    *,
    processes: Processes,
    pretrained: bool,
) -> nn.Module:
    """Return the recipe's network, with the weights that the recipe names or random ones.

    Args:
        recipe: Names the network and its weights.
        train: The images to train on.
        device: Where it is trained.
        processes: All that take part; the main one says what was loaded.
        pretrained: Whether the weights are loaded; a resumed run has its own.

    Raises:
        ConfigError: There is no such network, or a batch is too small for it.
        ModelError: The weights do not fit.
    """
    channels = len(recipe.channels) or RGB
    # What was trained on colors is loaded into a network of colors, which is then changed.
    adapts = pretrained and channels != RGB and _starts_from_colors(recipe)
    network = build_network(
        recipe, classes=len(train.classes), channels=RGB if adapts else channels
    )
    # On CUDA devices the loop shares the norms' statistics between the processes.
    shared = device.type == "cuda"
    check_batch(recipe, network, images=len(train), processes=processes.size, shared=shared)
    if not pretrained:
        return network
    if recipe.weights_backbone:
        load_backbone(network, recipe.weights_backbone)
        if processes.is_main and (warning := normalization_warning(network, recipe)):
            note(warning)
    if recipe.weights:
        random = start_weights(network, recipe, train)
        left = f"; random, for other classes: {', '.join(random)}" if random else ""
        if processes.is_main:
            terms = f" ({assets.TERMS})" if is_bundled(recipe.weights) else ""
            note(f"starting from {recipe.weights}{terms}{left}")
    if adapts:
        take_channels(network, channels, name=recipe.model, pretrained=True)
        if processes.is_main:
            note(
                f"the first filters, pretrained on colors, became their mean for each of {channels}"
                " channels"
            )
    return network


def _starts_from_colors(recipe: Recipe) -> bool:
    """Return whether a recipe's weights were trained on red, green and blue."""
    if not recipe.weights:
        return bool(recipe.weights_backbone)
    if is_bundled(recipe.weights):
        return True
    return len(load_checkpoint(Path(recipe.weights)).card.input.channels) == RGB


def start_weights(network: nn.Module, recipe: Recipe, train: Dataset) -> list[str]:
    """Load the weights of a checkpoint or the bundled ones; see `load_weights`.

    Args:
        network: The recipe's network, with random weights.
        recipe: Names the weights.
        train: The images to train on.
    """
    if not is_bundled(recipe.weights):
        return load_weights(network, recipe, classes=train.classes)
    card = bundled_card()
    if recipe.model != card.architecture:
        msg = (
            f"the bundled network is a {card.architecture}; train with --model {card.architecture}"
        )
        raise ModelError(msg)
    return load_bundled(network, train, card=card)


def load_weights(network: nn.Module, recipe: Recipe, *, classes: Sequence[LabelClass]) -> list[str]:
    """Load the weights of the recipe's checkpoint, and return the names of tensors left random.

    Where the checkpoint has other classes, or another order of them, the tensors that depend on
    the classes stay random: the head.

    Args:
        network: The recipe's network, with random weights.
        recipe: Names the checkpoint.
        classes: Classes of the network.

    Raises:
        ModelError: The checkpoint cannot be read, is of another network, or another tensor does
            not fit.
    """
    source = Path(recipe.weights)
    checkpoint = load_checkpoint(source)
    card = checkpoint.card
    if card.architecture != recipe.model:
        msg = (
            f"{source} holds a {card.architecture} and the recipe a {recipe.model}; train with"
            f" --model {card.architecture}"
        )
        raise ModelError(msg)
    own = network.state_dict()
    same_classes = class_names(card.classes) == class_names(classes)
    head = set() if same_classes else class_tensors(card, own, len(classes))
    check_shapes(
        own,
        checkpoint.weights,
        problem=f"the weights of {source} do not fit {recipe.model} with {dict(recipe.arguments)}",
        hint=f"train with its arguments, {dict(card.arguments)}",
        ignored=head,
    )
    network.load_state_dict(
        {key: own[key] if key in head else checkpoint.weights[key] for key in own}
    )
    return sorted(head)


def normalization_warning(network: nn.Module, recipe: Recipe) -> str:
    """Return a warning where pretrained weights were trained with another mean and std, or ""."""
    encoder = getattr(network, "backbone", None)
    if (
        recipe.weights_backbone != IMAGENET
        or not isinstance(encoder, Encoder)
        or (encoder.mean, encoder.std) == (recipe.mean, recipe.std)
    ):
        return ""
    mean, std = (",".join(map(str, values)) for values in (encoder.mean, encoder.std))
    return (
        "warning: the backbone's weights were trained with another mean and std; use --set"
        f" mean=[{mean}] --set std=[{std}]"
    )


def load_teacher(recipe: Recipe, classes: Sequence[LabelClass]) -> models.Deployed:
    """Return the network of the recipe's teacher, in evaluation mode.

    Raises:
        ModelError: The checkpoint cannot be read.
        ConfigError: It has other classes than the run.
    """
    teacher = load_checkpoint(Path(recipe.teacher))
    given, own = class_names(teacher.card.classes), class_names(classes)
    if given != own:
        msg = (
            f"the teacher {recipe.teacher} has the classes {', '.join(given)} and the run"
            f" {', '.join(own)}; name one of the same classes"
        )
        raise ConfigError(msg)
    return teacher.network()


def recipe_values(source: str) -> dict[str, Any]:
    """Return what a checkpoint decides of a recipe: network, arguments, mean and std."""
    card = bundled_card() if is_bundled(source) else load_checkpoint(Path(source)).card
    values = {
        "model": card.architecture,
        "arguments": dict(card.arguments),
        "mean": card.input.mean,
        "std": card.input.std,
    }
    training = card.training
    if card.input.is_plain or training is None:
        return values
    return values | {key: training.recipe[key] for key in BAND_DEFAULTS if key in training.recipe}


def class_tensors(card: ModelCard, weights: Mapping[str, Tensor], classes: int) -> set[str]:
    """Return the names of the tensors whose shape depends on the number of classes.

    Args:
        card: Card of the checkpoint.
        weights: State of the network that is trained.
        classes: Number of its classes.
    """
    with torch.device("meta"):
        fitting, other = (
            shapes_of(
                models.build(
                    card.architecture,
                    count,
                    channels=len(card.input.channels),
                    **card.arguments,
                ).state_dict()
            )
            for count in (classes, classes + 1)
        )
    expected = shapes_of(weights)
    return {
        key
        for key in fitting.keys() & other.keys()
        if fitting[key] != other[key] and expected.get(key) == fitting[key]
    }


def class_names(classes: Sequence[LabelClass]) -> list[str]:
    """Return the names of classes, in order."""
    return [entry.name for entry in classes]
