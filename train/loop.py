"""One optimizer step after the other; out-of-memory advice."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segdeploy.backends.torch_device import compiling, device_name, half_precision
from segdeploy.errors import SegdeployError
from segdeploy.models.deployed import Deployed

from .augmentation_gpu import tint_all
from .data import Unions
from .distributed import ALONE, Processes
from .loader import Batch
from .objective import Answer, Objective
from .optimization import Average, encoder_of, hold, rate_at
from .recipe import Recipe


def largest_batch(learn: Callable[[int], object], batch: int, *, least: int = 1) -> int:
    """Find by halving how many images can be learned from at once, after so many could not.

    0 where not even the least number can.

    Args:
        learn: Takes a whole step with so many images; whatever it changes is of no use any more.
        batch: How many did not fit.
        least: How many the network's norms need.
    """
    while (batch := batch // 2) >= least:
        if fits(learn, batch):
            return batch
    return 0


def fits(learn: Callable[[int], object], batch: int) -> bool:
    """Return whether a step with so many images has enough memory.

    Some norms cannot learn from a single one.
    """
    torch.cuda.empty_cache()
    try:
        learn(batch)
    except (torch.OutOfMemoryError, ValueError):
        return False
    return True


def advice(batch: int, fitting: int, *, least: int = 1, accumulate: int, device: str) -> str:
    """Say what does not fit and what would.

    Args:
        batch: Images that did not fit.
        fitting: Images that do; 0 for none.
        least: How many the network's norms need.
        accumulate: Batches in a step until now.
        device: Name of the device.
    """
    if not fitting:
        few = "one image fits" if least == 1 else f"{least} images, which this network needs, fit"
        return (
            f"not even {few} into the memory of {device}; lower --imgsz or --crop, or choose a"
            " smaller network"
        )
    steps = -(-batch * accumulate // fitting)
    return (
        f"a batch of {batch} does not fit into the memory of {device}, and {fitting} does, as"
        f" trying by halves showed; train with --batch {fitting}, and with --accumulate {steps} for"
        " steps of the same size"
    )


CHECKED = 50
"""Steps on a CUDA device after which the losses are looked at: a look makes the processor wait for
the device."""


class Loop:
    """Network, optimizer, scaler and average: all that a step changes.

    Attributes:
        network: What is trained.
        step: Steps done.
        done: Steps done in the present epoch.
        rate: Learning rate of the last step.
    """

    def __init__(
        self,
        network: Deployed,
        recipe: Recipe,
        device: torch.device,
        *,
        steps: int,
        weights: Tensor | None = None,
        unions: Unions = (),
        teacher: Deployed | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """Move the network to the device and make its optimizer.

        Args:
            network: What is trained.
            recipe: Says how.
            device: Where it is trained.
            steps: Steps of an epoch.
            weights: What each class weighs in the loss, (K,); None for all alike.
            unions: What the masks' indices mean from the number of classes on.
            teacher: What decides among the classes of a union; None for nothing.
            processes: Who takes part.

        Raises:
            ConfigError: A part shall be frozen that the network does not have.
        """
        if processes.size > 1 and device.type == "cuda":
            network.network = nn.SyncBatchNorm.convert_sync_batchnorm(network.network)  # type: ignore[no-untyped-call]
        # Images come channels last, and convolutions are faster on them than on planes.
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.step = 0
        self.done = 0
        self.rate = 0.0
        self._recipe = recipe
        self._device = device
        self._steps = steps
        self._processes = processes
        self._precision = half_precision(device) if recipe.amp else None
        weights = None if weights is None else weights.to(device)
        self._teacher = (
            None if teacher is None else teacher.to(device).to(memory_format=torch.channels_last)
        )
        self._objective = Objective(
            recipe.loss, aux_weight=recipe.aux_weight, weights=weights, unions=unions
        )
        self._optimizer = make_optimizer(network, recipe)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision is torch.float16)
        self._average = Average(network, recipe.ema) if recipe.ema else None
        self._encoder = encoder_of(network.network, recipe.model) if recipe.freeze else []
        self._still: bool | None = None
        self._together: DistributedDataParallel | None = None
        self._forward: Callable[[Tensor], Answer] = self.network
        self._losses: list[Tensor] = []
        self._seen: list[Tensor] = []

    @property
    def answering(self) -> Deployed:
        """What is validated and kept.

        The average of the weights where there is one. It must not be trained meanwhile.
        """
        return self.network if self._average is None else self._average.network

    def epoch(
        self,
        number: int,
        batches: Iterable[Batch],
        *,
        names: Sequence[str],
        on_step: Callable[[str], None],
    ) -> float:
        """Learn from the batches of an epoch, or from those that are left of it, and give the mean loss of the whole epoch.

        Args:
            number: Number of the epoch, from 0.
            batches: Those after the `done` steps that were done before.
            names: Name of each sample of the training split.
            on_step: Called after each step, when nothing is half done, with a few words.

        Raises:
            SegdeployError: The loss is no number any more.
        """
        self._prepare(still=number < self._recipe.freeze or self._recipe.freeze == -1)
        for group in in_groups(batches, self._recipe.accumulate):
            self._losses.append(self._learn_within(group))
            self._seen.append(torch.cat([batch.indices for batch in group]))
            self.done += 1
            if self._device.type == "cpu" or self.done % CHECKED == 0:
                self.check(names)
            on_step(f"step {self.step} of {self._steps * self._recipe.epochs}")
        self.check(names)
        mean = float(torch.stack(self._losses).mean())
        return self._processes.mean(mean)

    def close_epoch(self) -> None:
        """Begin the next epoch with nothing done; what was learned stays."""
        self.done = 0
        self._losses.clear()

    def check(self, names: Sequence[str]) -> None:
        """Look at the losses since the last look.

        Raises:
            SegdeployError: One is no number; the images of its step are named.
        """
        latest = (
            torch.stack(self._losses[len(self._losses) - len(self._seen) :]).tolist()
            if self._seen
            else []
        )
        for place, (loss, indices) in enumerate(zip(latest, self._seen, strict=True)):
            if not math.isfinite(loss):
                step = self.step - len(latest) + place + 1
                pictures = ", ".join(names[index] for index in indices.tolist())
                cure = f"look at them, or lower --lr (it is {self._recipe.lr})"
                msg = f"the loss became {loss} in step {step}, with the images {pictures}; {cure}"
                raise SegdeployError(msg)
        self._seen.clear()

    def _prepare(self, *, still: bool) -> None:
        """Set the network to training, its encoder still or not, with what stands around it in many processes or compiled."""
        self.network.train()
        if self._encoder:
            hold(self._encoder, still=still)
        if still == self._still:
            return
        self._still = still
        # Made anew when parts begin to learn: what waits for the gradients of all devices must know
        # which there are.
        if self._processes.size > 1:
            cuda = self._device.type == "cuda"
            with warnings.catch_warnings():
                # PyTorch 2.15 would have another word for broadcast_buffers, which those before it
                # do not know.
                warnings.simplefilter("ignore", FutureWarning)
                # Norms that take their means together have the same statistics everywhere; others
                # follow those of the first process.
                self._together = DistributedDataParallel(
                    self.network,
                    device_ids=[self._device] if cuda else None,
                    broadcast_buffers=not cuda,
                    gradient_as_bucket_view=True,
                )
        forward = self._together or self.network
        self._forward = torch.compile(forward) if self._recipe.compile else forward

    def _learn_within(self, group: Sequence[Batch]) -> Tensor:
        """Take one step, or tell which batch would have enough memory."""
        told = compiling(self._recipe.model) if self._recipe.compile else nullcontext()
        with suppress(torch.OutOfMemoryError), told:
            return self._learn(group)
        # Outside of the error, which holds on to all that it had computed until then.
        images, device = len(group[0].images), device_name(self._device)
        if self._processes.size > 1:
            # The others wait in the middle of their step, so that nothing can be tried.
            msg = (
                f"{images} images at once do not fit into the memory of {device}; halve --batch"
                " and double --accumulate"
            )
            raise SegdeployError(msg)
        least = getattr(self.network.network, "least_batch", 1)
        fitting = largest_batch(
            lambda count: self._learn([Batch(*(part[:count] for part in group[0]))]),
            images,
            least=least,
        )
        raise SegdeployError(
            advice(images, fitting, least=least, accumulate=len(group), device=device)
        )

    def _learn(self, group: Sequence[Batch]) -> Tensor:
        """Take one step and give its loss, still on the device.

        Asking for the number would make the processor wait.
        """
        whole = self._steps * self._recipe.epochs
        self.rate = rate_at(
            self.step,
            steps=whole,
            rate=self._recipe.lr,
            warmup=self._recipe.warmup,
            schedule=self._recipe.schedule,
        )
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = self.rate
        self._optimizer.zero_grad(set_to_none=True)
        losses = []
        for number, batch in enumerate(group, start=1):
            with self._waiting(last=number == len(group)):
                loss = self._judge(batch) / len(group)
                torch.autograd.backward(self._scaler.scale(loss))
            losses.append(loss.detach())
        if self._recipe.clip:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._recipe.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update(self.network)
        self.step += 1
        return torch.stack(losses).sum()

    def _judge(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        images, masks = (
            part.to(self._device, non_blocking=True) for part in (batch.images, batch.masks)
        )
        if batch.tints.shape[1]:
            images = tint_all(images, batch.tints)
        with torch.autocast(
            self._device.type, dtype=self._precision, enabled=self._precision is not None
        ):
            answer = self._forward(images)
            with torch.no_grad():
                opinion = None if self._teacher is None else self._teacher(images)
        return self._objective(answer, masks, opinion)

    def _waiting(self, *, last: bool) -> AbstractContextManager[None]:
        """Let gradients be exchanged between the processes in the last batch of a step only."""
        return nullcontext() if last or self._together is None else self._together.no_sync()

    def state(self) -> dict[str, Any]:
        """Return what the next step depends on, besides the weights that `answering` has, and the images."""
        random = {
            "cpu": torch.get_rng_state(),
            "cuda": (
                torch.cuda.get_rng_state(self._device)
                if self._device.type == "cuda"
                else torch.empty(0, dtype=torch.uint8)
            ),
        }
        return {
            "step": self.step,
            "done": self.done,
            "losses": torch.stack(self._losses).cpu() if self._losses else torch.empty(0),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.updates if self._average else 0,
            # Beside the average, which the checkpoint holds.
            "network": (
                {key: value.cpu() for key, value in self.network.network.state_dict().items()}
                if self._average
                else {}
            ),
            "random": self._processes.gather(random),
        }

    def restore(self, state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Go back to what `state` gave, and to the weights that `answering` had."""
        self.answering.network.load_state_dict(dict(weights))
        if self._average is not None:
            self._average.updates = state["average"]
            self.network.network.load_state_dict(state["network"])
        self.step, self.done = state["step"], state["done"]
        self._losses = list(state["losses"].to(self._device))
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._processes.rank < len(state["random"]):
            random = state["random"][self._processes.rank]
            torch.set_rng_state(random["cpu"])
            if self._device.type == "cuda" and len(random["cuda"]):
                torch.cuda.set_rng_state(random["cuda"], self._device)


def in_groups(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Put so many batches together; the last group of an epoch may be smaller."""
    ahead = iter(batches)
    while group := list(islice(ahead, size)):
        yield group


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the optimizer; only weights with more than one dimension decay, since norms and biases scale nothing that could grow."""
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
