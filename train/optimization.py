"""Optimizer, exponential moving average of the weights, frozen encoder."""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from segdeploy.errors import ConfigError
from segdeploy.models.deployed import Deployed

from .recipe import Recipe

ENCODERS = (("backbone",), ("stem", "encoder"), ("encoder",))
"""Names of the parts of a network that extract features; the first tuple of which all are there
counts."""


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer; norms and biases have no weight decay."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0
        )
    return torch.optim.AdamW(groups, lr=recipe.lr)


class ModelEma:
    """Exponential moving average of a network's weights and of its norms' statistics.

    Integers are copied. The decay starts low, min(decay, (1 + n) / (10 + n)), so that the random
    initial weights are soon forgotten, as in TensorFlow's `ExponentialMovingAverage`.

    Attributes:
        network: The average, in evaluation mode.
        updates: Number of updates so far.
    """

    def __init__(self, network: Deployed, decay: float) -> None:
        """Start with a copy of a network.

        Args:
            network: The network that is trained.
            decay: Share of the average that an update keeps, in (0, 1).
        """
        self.network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self.updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: Deployed) -> None:
        """Include a network's weights after a step."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        pairs = list(
            zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)
        )
        # In one call: hundreds of small ones would take a device longer than many a step.
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        average([kept for kept, _ in floating], [given for _, given in floating], None)
        for kept, given in pairs:
            if not kept.is_floating_point():
                kept.copy_(given)


def encoder_parts(network: nn.Module, name: str) -> list[nn.Module]:
    """Return the parts of a network that extract features, and can be pretrained.

    Args:
        network: The network.
        name: Its name, for the message.

    Raises:
        ConfigError: It has no such part.
    """
    children = dict(network.named_children())
    for names in ENCODERS:
        if children.keys() >= set(names):
            return [children[part] for part in names]
    msg = (
        f"the network {name!r} has no part called backbone or encoder that could be frozen; leave"
        " --freeze out"
    )
    raise ConfigError(msg)


def set_frozen(parts: Sequence[nn.Module], *, frozen: bool) -> None:
    """Freeze parts, the statistics of their norms included, or train them again."""
    for part in parts:
        part.requires_grad_(not frozen)
        part.train(not frozen)
