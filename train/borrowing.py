"""What other checkpoints give: weights to begin with, also of other classes, and a teacher."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segdeploy import models
from segdeploy.card import LabelClass, ModelCard
from segdeploy.checkpoint import load_checkpoint
from segdeploy.errors import ConfigError, ModelError

from .recipe import Recipe


def borrow(network: nn.Module, recipe: Recipe, *, classes: int) -> list[str]:
    """Give a network the weights of the recipe's checkpoint and the names of the tensors that stay fresh.

    Fresh may stay what depends on the number of classes, which is the head; the checkpoint's network says what that is.

    Args:
        network: Of the recipe's kind, with fresh weights.
        recipe: Names the checkpoint.
        classes: Number of the network's classes.

    Raises:
        ModelError: The checkpoint cannot be read, is of another network, or another tensor does not fit.
    """
    source = Path(recipe.weights)
    checkpoint = load_checkpoint(source)
    card = checkpoint.card
    if card.architecture != recipe.model:
        msg = f"{source} holds a {card.architecture} and the recipe a {recipe.model}; train with --model {card.architecture}"
        raise ModelError(msg)
    own = network.state_dict()
    wanted, given = shapes(own), shapes(checkpoint.weights)
    head = heads(card, wanted, classes) if len(card.classes) != classes else set()
    for key in sorted(wanted.keys() | given.keys()):
        if wanted.get(key) != given.get(key) and key not in head:
            msg = (
                f"the weights of {source} do not fit {recipe.model} with {dict(recipe.arguments)}: {key} is {given.get(key, 'missing')} "
                f"in the file and {wanted.get(key, 'unknown')} in the network; train with its arguments, {dict(card.arguments)}"
            )
            raise ModelError(msg)
    network.load_state_dict({key: own[key] if key in head else checkpoint.weights[key] for key in own})
    return sorted(head)


def teacher_of(recipe: Recipe, classes: Sequence[LabelClass]) -> models.Deployed:
    """Give the network of the recipe's teacher, ready to answer.

    Raises:
        ModelError: The checkpoint cannot be read.
        ConfigError: It has other classes than the run.
    """
    teacher = load_checkpoint(Path(recipe.teacher))
    theirs, ours = ([one.name for one in both] for both in (teacher.card.classes, classes))
    if theirs != ours:
        msg = f"the teacher {recipe.teacher} knows {', '.join(theirs)} and the run {', '.join(ours)}; name one of the same classes"
        raise ConfigError(msg)
    return teacher.network()


def kind_of(source: Path) -> dict[str, Any]:
    """Give those values of a recipe that a checkpoint decides: network, its arguments, and the colors' mean and deviation."""
    card = load_checkpoint(source).card
    return {"model": card.architecture, "arguments": dict(card.arguments), "mean": card.input.mean, "std": card.input.std}


def shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Give the shape of each tensor."""
    return {key: tuple(value.shape) for key, value in weights.items()}


def heads(card: ModelCard, wanted: Mapping[str, tuple[int, ...]], classes: int) -> set[str]:
    """Give the names of those tensors that change their shape with the number of classes.

    Args:
        card: What the checkpoint holds.
        wanted: Shapes of the network that borrows.
        classes: Number of its classes.
    """
    with torch.device("meta"):
        one, other = (
            shapes(models.build(card.architecture, count, **card.arguments).state_dict()) for count in (len(card.classes), classes)
        )
    return {key for key in one.keys() & other.keys() if one[key] != other[key] and wanted.get(key) == other[key]}
