"""The moving average of a network's weights, which scores better than the last of them."""

import copy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from segdeploy.models import Deployed


class Average:
    """A second network of which each number follows that of the first (Polyak averaging).

    The norms' means and variances are averaged with the weights, for those of the last steps belong to other weights; whole numbers
    are copied. The decay begins low, min(decay, (1 + n) / (10 + n)), so that the first random weights are soon forgotten, as in
    TensorFlow's `ExponentialMovingAverage`.

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
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        # All at once: hundreds of small tensors one by one would take a device longer than many a step.
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        follow([kept for kept, _ in moving], [given for _, given in moving], None)
        for kept, given in pairs:
            if not kept.is_floating_point():
                kept.copy_(given)
