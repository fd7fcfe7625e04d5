"""Optimizer, learning rate, exponential moving average of the weights, frozen encoder."""

import copy
import math
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


POLY_POWER = 0.9
"""Exponent of the polynomial decay, as in DeepLab (Chen et al., 2017, section 4.1)."""

ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 250_000
"""Shares of the highest rate at which one-cycle starts and ends, as PyTorch's `OneCycleLR` has."""


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer; norms and biases have no weight decay."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    # On a CPU PyTorch would otherwise update one tensor after the other, in a dozen passes each.
    fused = all(parameter.device.type == "cpu" for parameter in network.parameters()) or None
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            fused=fused,
        )
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)


def learning_rate(
    step: int, *, steps: int, rate: float, warmup: float, schedule: str = "poly"
) -> float:
    """Return the learning rate of a step: a warm-up, then a decay to nearly 0.

    "poly" and "cosine" (Loshchilov and Hutter, SGDR, ICLR 2017, equation 5, without restarts) rise
    linearly. "one-cycle" rises and falls by half cosines (Smith and Topin, Super-Convergence,
    2018, in the two phases of `OneCycleLR`).

    Args:
        step: Number of the step, from 0.
        steps: Steps in the whole run.
        rate: Highest learning rate.
        warmup: Share of the steps in which it rises, in [0, 1).
        schedule: One of `SCHEDULES`.
    """
    rising = round(steps * warmup)
    if schedule == "one-cycle":
        if step < rising:
            return rate * _half_cosine(ONE_CYCLE_START, 1, step / rising)
        return rate * _half_cosine(1, ONE_CYCLE_END, (step - rising) / max(1, steps - 1 - rising))
    if step < rising:
        return rate * (step + 1) / (rising + 1)
    done = (step - rising) / (steps - rising)
    return rate * (_half_cosine(1, 0, done) if schedule == "cosine" else (1 - done) ** POLY_POWER)


def _half_cosine(start: float, end: float, done: float) -> float:
    """Return the value between start and end along half a cosine; `done` is in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


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
