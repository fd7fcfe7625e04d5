"""What other checkpoints give: weights to begin with, also of other classes, and a teacher."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segdeploy import models
from segdeploy.card import LabelClass, ModelCard
from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.encoders.encoder import IMAGENET, Encoder

from .recipe import Recipe


def borrow(network: nn.Module, recipe: Recipe, *, classes: Sequence[LabelClass]) -> list[str]:
    """Return a network the weights of the recipe's checkpoint and the names of the tensors that stay fresh.

    Where the classes have other names, or another order, what depends on them stays fresh, which is
    the head; the checkpoint's network says what that is.

    Args:
        network: Of the recipe's kind, with fresh weights.
        recipe: Names the checkpoint.
        classes: The network's classes.

    Raises:
        ModelError: The checkpoint cannot be read, is of another network, or another tensor does not
            fit.
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
    wanted, given = shapes(own), shapes(checkpoint.weights)
    head = (
        set() if names_of(card.classes) == names_of(classes) else heads(card, wanted, len(classes))
    )
    for key in sorted(wanted.keys() | given.keys()):
        if wanted.get(key) != given.get(key) and key not in head:
            msg = (
                f"the weights of {source} do not fit {recipe.model} with {dict(recipe.arguments)}:"
                f" {key} is {given.get(key, 'missing')} in the file and"
                f" {wanted.get(key, 'unknown')} in the network; train with its arguments,"
                f" {dict(card.arguments)}"
            )
            raise ModelError(msg)
    network.load_state_dict(
        {key: own[key] if key in head else checkpoint.weights[key] for key in own}
    )
    return sorted(head)


def other_colors(network: nn.Module, recipe: Recipe) -> str:
    """Say so where a backbone's published weights were learned with other colors than the recipe's; "" where all is well."""
    encoder = getattr(network, "backbone", None)
    if (
        recipe.weights_backbone != IMAGENET
        or not isinstance(encoder, Encoder)
        or (encoder.mean, encoder.std) == (recipe.mean, recipe.std)
    ):
        return ""
    mean, std = (",".join(map(str, values)) for values in (encoder.mean, encoder.std))
    return (
        f"careful: the backbone's weights were learned with other colors; take --set mean=[{mean}]"
        f" --set std=[{std}]"
    )


def teacher_of(recipe: Recipe, classes: Sequence[LabelClass]) -> models.Deployed:
    """Return the network of the recipe's teacher, ready to answer.

    Raises:
        ModelError: The checkpoint cannot be read.
        ConfigError: It has other classes than the run.
    """
    teacher = load_checkpoint(Path(recipe.teacher))
    theirs, ours = names_of(teacher.card.classes), names_of(classes)
    if theirs != ours:
        msg = (
            f"the teacher {recipe.teacher} knows {', '.join(theirs)} and the run {', '.join(ours)};"
            " name one of the same classes"
        )
        raise ConfigError(msg)
    return teacher.network()


def kind_of(source: Path) -> dict[str, Any]:
    """Return those values of a recipe that a checkpoint decides.

    Network, its arguments, and the colors' mean and deviation.
    """
    card = load_checkpoint(source).card
    return {
        "model": card.architecture,
        "arguments": dict(card.arguments),
        "mean": card.input.mean,
        "std": card.input.std,
    }


def shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {key: tuple(value.shape) for key, value in weights.items()}


def heads(card: ModelCard, wanted: Mapping[str, tuple[int, ...]], classes: int) -> set[str]:
    """Return the names of those tensors that change their shape with the number of classes.

    Args:
        card: What the checkpoint holds.
        wanted: Shapes of the network that borrows.
        classes: Number of its classes.
    """
    with torch.device("meta"):
        fitting, other = (
            shapes(models.build(card.architecture, count, **card.arguments).state_dict())
            for count in (classes, classes + 1)
        )
    return {
        key
        for key in fitting.keys() & other.keys()
        if fitting[key] != other[key] and wanted.get(key) == fitting[key]
    }


def names_of(classes: Sequence[LabelClass]) -> list[str]:
    """Return the names of classes, in order."""
    return [one.name for one in classes]
