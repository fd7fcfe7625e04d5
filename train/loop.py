"""The training loop: `Loop.epoch` -> `train_step` -> `forward_backward_step`."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from segdeploy.backends.pytorch import compile_errors, device_name
from segdeploy.errors import SegdeployError
from segdeploy.models.deployed import Deployed

from .batch_size import advice, largest_batch, min_batch
from .data import CoarseClasses
from .diagnosis import cause_of_gradient, cause_of_loss
from .distributed import SINGLE_PROCESS, Processes, data_parallel
from .loader import Batch
from .losses import Objective, Output
from .optimization import (
    ModelEma,
    encoder_parts,
    learning_rate,
    make_optimizer,
    set_frozen,
)
from .precision import Precision, keep_in_float32
from .recipe import Recipe
from .resume import check_steps, load_optimizer

CHECK_EVERY = 50
"""Steps on a CUDA device after which losses are checked: each check waits for the device."""


class Loop:
    """Network, optimizer, gradient scaler and EMA: all that a step changes.

    Attributes:
        network: The network that is trained.
        step: Steps done in the run.
        done: Steps done in the present epoch.
        rate: Learning rate of the last step.
        total: Steps of the whole run, at whose end the rate is nearly 0.
        precision: Half precision of autocast; None for float32.
    """

    def __init__(
        self,
        network: Deployed,
        recipe: Recipe,
        device: torch.device,
        *,
        steps: int,
        precision: Precision = None,
        weights: Tensor | None = None,
        coarse_classes: CoarseClasses = (),
        teacher: Deployed | None = None,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        """Move the network to the device and build its optimizer.

        Args:
            network: The network to train.
            recipe: How it is trained.
            device: Where it is trained.
            steps: Steps in an epoch.
            precision: Half precision of autocast; None for float32.
            weights: Weights of the classes in the loss, (K,); None for equal ones.
            coarse_classes: Classes that the mask indices K, K + 1, ... stand for.
            teacher: Network that decides among the classes of a coarse class; None for none.
            processes: All that take part.

        Raises:
            ConfigError: The recipe freezes a part that the network does not have.
        """
        self._recipe, self._device, self._processes = recipe, device, processes
        if processes.size > 1 and device.type == "cuda":
            convert = nn.SyncBatchNorm.convert_sync_batchnorm
            network.network = convert(network.network)  # type: ignore[no-untyped-call]
        self.network = self._to_device(network)
        self._teacher = None if teacher is None else self._to_device(teacher)
        self.step = self.done = 0
        self.rate = 0.0
        self.total = steps * recipe.epochs
        self.precision = precision
        self._objective = Objective(
            recipe.loss,
            aux_weight=recipe.aux_weight,
            weights=None if weights is None else weights.to(device),
            coarse_classes=coarse_classes,
        )
        self._optimizer = make_optimizer(network, recipe)
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
        self._ema = ModelEma(network, recipe.ema) if recipe.ema else None
        self._encoder = encoder_parts(network.network, recipe.model) if recipe.freeze else []
        if device.type == "cpu":
            keep_in_float32(network)
        else:
            # torchvision is needed on CUDA devices only.
            from .augmentation_gpu import jitter_batch

            self._jitter_batch = jitter_batch
        self._frozen: bool | None = None
        self._parallel: nn.parallel.DistributedDataParallel | None = None
        self._forward: Callable[[Tensor], Output] = self.network
        self._losses: list[Tensor] = []
        self._unchecked: list[Tensor] = []

    def _to_device(self, network: Deployed) -> Deployed:
        # Batches are channels last, and convolutions are faster on them than on planes.
        return network.to(self._device).to(memory_format=torch.channels_last)

    @property
    def left(self) -> int:
        """Steps that are left of the run."""
        return max(0, self.total - self.step)

    @property
    def finished(self) -> bool:
        """Whether no step is left, and the last epoch is closed: it may not be validated yet."""
        return not (self.left or self.done)

    @property
    def on_device(self) -> bool:
        """Whether it trains on a device other than the processor."""
        return self._device.type != "cpu"

    @property
    def evaluated(self) -> Deployed:
        """The network that is validated and saved: the EMA of the weights where there is one."""
        return self.network if self._ema is None else self._ema.network

    def epoch(
        self,
        number: int,
        batches: Iterable[Batch],
        *,
        names: Sequence[str],
        on_step: Callable[[str], None],
    ) -> float:
        """Train on the batches of an epoch, and return its mean loss in this process.

        Args:
            number: Number of the epoch, from 0.
            batches: The batches after the `done` steps that are done already.
            names: Name of each sample of the training split.
            on_step: Called after each step with a short text.

        Raises:
            SegdeployError: A loss is NaN or infinite, or a batch does not fit into memory.
        """
        self._start_epoch(frozen=number < self._recipe.freeze or self._recipe.freeze == -1)
        for group in in_groups(batches, self._recipe.accumulate):
            indices = torch.cat([batch.indices for batch in group])
            try:
                self._losses.append(self._train_step_or_advise(group))
            except FloatingPointError as error:
                raise self._diverged(self.step + 1, indices, names, str(error)) from error
            self._unchecked.append(indices)
            self.done += 1
            if self._device.type == "cpu" or self.done % CHECK_EVERY == 0:
                self.check_losses(names)
            on_step(f"step {self.step} of {self.total}")
        self.check_losses(names)
        return float(torch.stack(self._losses).mean())

    def close_epoch(self) -> None:
        """Start the next epoch with no steps done."""
        self.done = 0
        self._losses.clear()

    def train_step(self, group: Sequence[Batch]) -> Tensor:
        """Take one optimizer step over a group of batches, and return its mean loss.

        The loss stays on a CUDA device: reading it would make the CPU wait.

        Raises:
            FloatingPointError: On a processor the loss or the gradient is NaN or infinite; the
                weights are as they were, and the message says where it began.
        """
        self._set_learning_rate()
        self._optimizer.zero_grad(set_to_none=True)
        losses = []
        for number, batch in enumerate(group, start=1):
            with self._no_sync(last=number == len(group)):
                losses.append(self.forward_backward_step(batch, batches=len(group)))
        loss = torch.stack(losses).sum()
        if self._device.type == "cpu" and not loss.isfinite():
            raise FloatingPointError(cause_of_loss(self.network, partial(self._output, group[-1])))
        if self._recipe.clip:
            self._scaler.unscale_(self._optimizer)
            norm = nn.utils.get_total_norm(
                [weight.grad for weight in self.network.parameters() if weight.grad is not None]
            )
            if self._device.type == "cpu" and not norm.isfinite():
                raise FloatingPointError(cause_of_gradient(self.network))
            nn.utils.clip_grads_with_norm_(self.network.parameters(), self._recipe.clip, norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._ema is not None:
            self._ema.update(self.network)
        self.step += 1
        return loss

    def forward_backward_step(self, batch: Batch, *, batches: int = 1) -> Tensor:
        """Accumulate the gradients of a batch, and return its loss, detached.

        Args:
            batch: The batch.
            batches: Number of batches in the step, by which the loss is divided.
        """
        images = batch.images.to(self._device, non_blocking=True)
        masks = batch.masks.to(self._device, non_blocking=True)
        if batch.jitter.shape[1]:
            images = self._jitter_batch(images, batch.jitter)
        with self._autocast():
            output = self._forward(images)
            with torch.no_grad():
                target = None if self._teacher is None else self._teacher(images)
        loss = self._objective(output, masks, target) / batches
        torch.autograd.backward(self._scaler.scale(loss))
        return loss.detach()

    def _output(self, batch: Batch) -> Output:
        """Return the network's output for the images of a batch on a processor, once more."""
        with self._autocast():
            output: Output = self.network(batch.images)
        return output

    def _autocast(self) -> torch.autocast:
        half = self.precision
        return torch.autocast(self._device.type, dtype=half, enabled=half is not None)

    def trial(self, batch: Batch, precision: Precision) -> list[Tensor]:
        """Return the gradients of a step on a processor that leaves everything as it was.

        Args:
            batch: The batch.
            precision: Half precision of autocast; None for float32.
        """
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        chosen, self.precision = self.precision, precision
        self.network.train()
        try:
            # Dropout draws the same numbers in every trial, and in the first step of the run.
            with torch.random.fork_rng(devices=[]):
                self.forward_backward_step(batch)
            return [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        finally:
            self.precision = chosen
            self._optimizer.zero_grad(set_to_none=True)
            for buffer, before in buffers:
                buffer.copy_(before)

    def _set_learning_rate(self) -> None:
        self.rate = learning_rate(
            self.step,
            steps=self.total,
            rate=self._recipe.lr,
            warmup=self._recipe.warmup,
            schedule=self._recipe.schedule,
        )
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = self.rate

    def _no_sync(self, *, last: bool) -> AbstractContextManager[None]:
        """Average gradients over the processes in the last batch of a step only."""
        return nullcontext() if last or self._parallel is None else self._parallel.no_sync()

    def _start_epoch(self, *, frozen: bool) -> None:
        """Set the network to training mode, with its encoder frozen or not."""
        self.network.train()
        if self._encoder:
            set_frozen(self._encoder, frozen=frozen)
        if frozen == self._frozen:
            return
        self._frozen = frozen
        # Built again when parts are unfrozen: it must know which parameters have gradients.
        if self._processes.size > 1:
            self._parallel = data_parallel(self.network, self._device)
        forward = self._parallel or self.network
        self._forward = torch.compile(forward) if self._recipe.compile else forward

    def _train_step_or_advise(self, group: Sequence[Batch]) -> Tensor:
        """Take a step; where the memory is too small, raise with a batch that fits."""
        compiling = compile_errors(self._recipe.model) if self._recipe.compile else nullcontext()
        with suppress(torch.OutOfMemoryError), compiling:
            return self.train_step(group)
        # Outside of the error, which holds all tensors of the failed step.
        raise self._out_of_memory(group)

    def _out_of_memory(self, group: Sequence[Batch]) -> SegdeployError:
        images, device = len(group[0].images), device_name(self._device)
        if self._processes.size > 1:
            # The others wait in the middle of their step, so that nothing can be tried.
            return SegdeployError(
                f"{images} images at once do not fit into the memory of {device}; halve --batch"
                " and double --accumulate"
            )
        least = min_batch(self.network.network)
        fitting = largest_batch(
            lambda count: self.train_step([Batch(*(part[:count] for part in group[0]))]),
            images,
            least=least,
        )
        return SegdeployError(
            advice(images, fitting, least=least, accumulate=len(group), device=device)
        )

    def check_losses(self, names: Sequence[str]) -> None:
        """Check the losses since the last check.

        Raises:
            SegdeployError: One is NaN or infinite; the images of its step are named.
        """
        if not self._unchecked:
            return
        losses = torch.stack(self._losses[-len(self._unchecked) :]).tolist()
        for place, (loss, indices) in enumerate(zip(losses, self._unchecked, strict=True)):
            if not math.isfinite(loss):
                step = self.step - len(losses) + place + 1
                raise self._diverged(step, indices, names, f"the loss became {loss}")
        self._unchecked.clear()

    def _diverged(
        self, step: int, indices: Tensor, names: Sequence[str], cause: str
    ) -> SegdeployError:
        images = ", ".join(names[index] for index in indices.tolist())
        half = ", train with --no-amp" if self.precision is not None else ""
        return SegdeployError(
            f"training came to NaN or infinity in step {step}: {cause}; lower --lr (it is"
            f" {self._recipe.lr}){half}, or check the images of the step: {images}"
        )

    def state(self) -> dict[str, Any]:
        """Return what the next step depends on, besides images and the weights of `evaluated`."""
        cuda = self._device.type == "cuda"
        random = {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self._device) if cuda else torch.empty(0).byte(),
        }
        weights = self.network.network.state_dict() if self._ema else {}
        return {
            "step": self.step,
            "done": self.done,
            "losses": torch.stack(self._losses).cpu() if self._losses else torch.empty(0),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._ema.updates if self._ema else 0,
            "network": {key: value.cpu() for key, value in weights.items()},
            "random": self._processes.gather(random),
        }

    def restore(self, state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned, and the weights that `evaluated` had.

        Raises:
            Exception: Of many kinds, where the state is not one of this run.
        """
        check_steps(state, self.total)
        self.evaluated.network.load_state_dict(dict(weights))
        if self._ema is not None:
            self._ema.updates = state["average"]
            self.network.network.load_state_dict(state["network"])
        self.step, self.done = state["step"], state["done"]
        self._losses = list(state["losses"].to(self._device))
        load_optimizer(self._optimizer, state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._processes.rank < len(state["random"]):
            random = state["random"][self._processes.rank]
            torch.set_rng_state(random["cpu"])
            if self._device.type == "cuda" and len(random["cuda"]):
                torch.cuda.set_rng_state(random["cuda"], self._device)


def in_groups(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Return lists of `size` batches; the last one of an epoch may be shorter."""
    remaining = iter(batches)
    while group := list(islice(remaining, size)):
        yield group
