"""Learning-rate schedule, EMA, frozen layers."""

import copy
import math

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from segdeploy.errors import ConfigError
from segdeploy.models.deployed import Deployed


class Average:
    """A second network of which each number follows that of the first (Polyak averaging).

    The norms' means and variances are averaged with the weights, for those of the last steps belong
    to other weights; whole numbers are copied. The decay begins low, min(decay, (1 + n) / (10 +
    n)), so that the first random weights are soon forgotten, as in TensorFlow's
    `ExponentialMovingAverage`.

    Attributes:
        network: The average, in evaluation mode.
        updates: How often it has followed.
    """

    def __init__(self, network: Deployed, decay: float) -> None:
        """Begin with a copy of a network.

        Args:
            network: What is trained.
            decay: Share of the average that a step keeps, in (0, 1).
        """
        self.network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self.updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: Deployed) -> None:
        """Follow a network after its step."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        pairs = list(
            zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)
        )
        # All at once: hundreds of small tensors one by one would take a device longer than many a
        # step.
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        follow([kept for kept, _ in moving], [given for _, given in moving], None)
        for kept, given in pairs:
            if not kept.is_floating_point():
                kept.copy_(given)


ENCODERS = (("backbone",), ("stem", "encoder"), ("encoder",))
"""Names under which networks hold what makes features of images; the first that are all there
count."""


def encoder_of(network: nn.Module, name: str) -> list[nn.Module]:
    """Return the parts of a network that make features of images, and could be pretrained.

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


def hold(parts: list[nn.Module], *, still: bool) -> None:
    """Freeze parts, the statistics of their norms included, or let them learn."""
    for part in parts:
        part.requires_grad_(not still)
        part.train(not still)


POWER = 0.9
"""Exponent of the polynomial fall, as in DeepLab (Chen et al., 2017, section 4.1)."""

START = 1 / 25
END = 1 / 250_000
"""Shares of the top at which one-cycle starts and ends, as PyTorch's `OneCycleLR` has them."""


def rate_at(step: int, *, steps: int, rate: float, warmup: float, schedule: str = "poly") -> float:
    """Return the learning rate of a step: a rise, then a fall to nearly 0.

    "poly" and "cosine" (Loshchilov and Hutter, SGDR, ICLR 2017, equation 5, without restarts) rise
    in a straight line. "one-cycle" rises and falls by half cosines (Smith and Topin,
    Super-Convergence, 2018, in the two phases of `OneCycleLR`).

    Args:
        step: Number of the step, from 0.
        steps: How many steps the whole run has.
        rate: Learning rate at the top.
        warmup: Share of the steps in which it rises, in [0, 1).
        schedule: Its form, one of `SCHEDULES`.
    """
    rising = round(steps * warmup)
    if schedule == "one-cycle":
        if step < rising:
            return rate * _between(START, 1, step / rising)
        return rate * _between(1, END, (step - rising) / max(1, steps - 1 - rising))
    if step < rising:
        return rate * (step + 1) / (rising + 1)
    done = (step - rising) / (steps - rising)
    return rate * (_between(1, 0, done) if schedule == "cosine" else (1 - done) ** POWER)


def _between(start: float, end: float, done: float) -> float:
    """Go from one value to another along half a cosine; `done` is in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
