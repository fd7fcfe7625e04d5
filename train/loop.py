"""The network on its device, and one step after the other."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segdeploy.errors import SegdeployError
from segdeploy.models import Deployed

from .loader import Batch
from .losses import make_loss
from .recipe import Recipe
from .schedule import rate_at


class Loop:
    """Network, optimizer and scaler: all that a step changes.

    Attributes:
        network: What is trained.
        step: Steps done.
        rate: Learning rate of the last step.
    """

    def __init__(self, network: Deployed, recipe: Recipe, device: torch.device, *, steps: int, weights: Tensor | None = None) -> None:
        """Move the network to the device and make its optimizer.

        Args:
            network: What is trained.
            recipe: Says how.
            device: Where it is trained.
            steps: Steps of the whole run, for the schedule.
            weights: What each class weighs in the loss, (K,); None for all alike.
        """
        # Pictures come channels last, and convolutions are faster on them than on planes.
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.step = 0
        self.rate = 0.0
        self._recipe = recipe
        self._device = device
        self._steps = steps
        self._precision = half_precision(device) if recipe.amp else None
        self._loss = make_loss(recipe.loss, None if weights is None else weights.to(device))
        self._optimizer = make_optimizer(network, recipe)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision is torch.float16)

    def epoch(self, batches: Iterable[Batch], *, on_step: Callable[[str], None]) -> float:
        """Learn from the batches of an epoch and give their mean loss.

        Args:
            batches: Pictures and masks.
            on_step: Called after each step, with a few words.

        Raises:
            SegdeployError: The loss is no number any more.
        """
        self.network.train()
        losses = []
        for images, masks in batches:
            losses.append(self._learn(images.to(self._device, non_blocking=True), masks.to(self._device, non_blocking=True)))
            on_step(f"step {self.step} of {self._steps}")
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            msg = f"the loss became {mean} before step {self.step}; lower --lr (it is {self._recipe.lr})"
            raise SegdeployError(msg)
        return mean

    def _learn(self, images: Tensor, masks: Tensor) -> Tensor:
        """Take one step and give its loss, still on the device: asking for the number would make the processor wait."""
        self.rate = rate_at(self.step, steps=self._steps, rate=self._recipe.lr, warmup=self._recipe.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, dtype=self._precision, enabled=self._precision is not None):
            loss = self._loss(self.network(images), masks)
        torch.autograd.backward(self._scaler.scale(loss))
        if self._recipe.clip:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._recipe.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.step += 1
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Give what the next step depends on, besides the weights and the pictures."""
        return {
            "step": self.step,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave."""
        self.step = state["step"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        if self._device.type == "cuda" and state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"])


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the optimizer; only weights with more than one dimension decay, since norms and biases scale nothing that could grow."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    return torch.optim.AdamW(groups, lr=recipe.lr)


def half_precision(device: torch.device) -> torch.dtype | None:
    """Give the half precision that a CUDA device is fast with; None on a processor."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
