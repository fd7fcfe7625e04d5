"""PyTorch itself: the reference for every other runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from segdeploy.backends.base import Batch, NetworkAnswer, check_batch
from segdeploy.backends.lanes import Lanes
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.checkpoint import load_checkpoint
from segdeploy.compiling import compiling
from segdeploy.errors import ConfigError, DeviceError
from segdeploy.machine import cores
from segdeploy.models import Deployed
from segdeploy.precision import half_precision


class ModuleBackend:
    """Whatever PyTorch runs as a module."""

    name = "torch"
    """What stands before the device."""

    def __init__(self, module: torch.nn.Module, card: ModelCard, *, device: torch.device) -> None:
        """Wrap a loaded module.

        Args:
            module: Takes what `run` is given, on `device`.
            card: What it is.
            device: Where its weights lie.
        """
        self._module = module
        self._card = card
        self._device = device
        self._lanes = Lanes(device)

    @property
    def card(self) -> ModelCard:
        """The card that the file carries, or that was given."""
        return self._card

    @property
    def device(self) -> str:
        """For example "torch cpu"."""
        return f"{self.name} {device_name(self._device)}"

    def run(self, batch: Batch) -> NetworkAnswer:
        """Answer (N, H, W, 3) uint8 RGB pictures with (N, K, h, w) float32 logits, or what the card says."""
        check_batch(batch, self._card)
        with torch.inference_mode(), self._lanes.take():
            answer = self._module(self._lanes.send(to_tensor(batch)))
            return to_array(answer, self._card, self._lanes)


class EagerBackend(ModuleBackend):
    """A network as PyTorch runs it, operation by operation."""

    def __init__(self, network: Deployed, card: ModelCard, *, device: str | torch.device = "cpu") -> None:
        """Wrap a network; it is moved to the device, and stays the caller's to train.

        Args:
            network: The network; it must be in evaluation mode whenever `run` is called.
            card: What it is.
            device: Where it runs.
        """
        # Convolutions are faster on channels_last, which a batch of pictures is before it is permuted.
        moved = network.to(torch.device(device)).to(memory_format=torch.channels_last)
        super().__init__(moved, card, device=torch.device(device))
        self._precision: torch.dtype | None = None
        self._compiled = False

    @property
    def device(self) -> str:
        """For example "torch cuda:0 (NVIDIA H100), float16, compiled"."""
        precision = f", {str(self._precision).removeprefix('torch.')}" if self._precision else ""
        return f"{super().device}{precision}{', compiled' if self._compiled else ''}"

    def run(self, batch: Batch) -> NetworkAnswer:
        """Answer as any module does; never in training mode, where norms would follow the batch."""
        assert not self._module.training
        with torch.autocast(self._device.type, dtype=self._precision, enabled=self._precision is not None):
            return super().run(batch)

    def hasten(self, *, autocast: bool = False, compiled: bool = False) -> None:
        """Run faster from now on, with labels that need no longer be those of single precision to the last pixel.

        Args:
            autocast: Whether half precision is used where it is safe.
            compiled: Whether PyTorch compiles the network; it does so at once.

        Raises:
            ConfigError: The device has no half precision that it is fast with.
            SegdeployError: The network cannot be compiled here.
        """
        if autocast:
            self._precision = half_precision(self._device)
            if self._precision is None:
                msg = f"{super().device} has no half precision that it is fast with; leave --autocast out"
                raise ConfigError(msg)
        if compiled:
            self._module.compile()
            self._compiled = True
            spec = self._card.input
            with compiling(self._card.architecture):
                self.run(np.zeros((1, spec.height, spec.width, 3), np.uint8))


def load(
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = True,  # noqa: ARG001 - PyTorch's threads do not spin
    callers: int = 1,  # noqa: ARG001 - PyTorch takes any number
) -> EagerBackend:
    """Load a checkpoint.

    Args:
        path: What `segdeploy train` wrote.
        device: "auto", "cpu", "cuda" or "cuda:n".
        threads: Threads of one operation, for the whole process; all allowed cores where None.
        spinning: Only ONNX Runtime's threads spin.
        callers: How many threads will call `run` at the same time, each with `threads` of its own.

    Raises:
        ModelError: The file is missing, damaged, or no checkpoint of ours.
        DeviceError: The device is not there.
    """
    chosen = choose_device(device)
    checkpoint = load_checkpoint(path)
    torch.set_num_threads(threads or cores())
    return EagerBackend(checkpoint.network(), checkpoint.card, device=chosen)


def read_texts(path: Path) -> Mapping[str, str]:
    """Give the texts that a checkpoint carries by their keys: its card."""
    return {CARD_KEY: load_checkpoint(path).card.to_json()}


def choose_device(name: str) -> torch.device:
    """Find the device that was asked for; "auto" is the first CUDA device where there is one.

    Raises:
        DeviceError: It is not there, or there is none of that name.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        msg = f"there is no device {name!r}; choose auto, cpu, cuda or cuda:n"
        raise DeviceError(msg) from error
    count = torch.cuda.device_count()
    if device.type not in {"cpu", "cuda"} or (device.type == "cuda" and (device.index or 0) >= count):
        msg = f"the device {name!r} was asked for and PyTorch has the CPU and {count} CUDA devices; choose another, or auto"
        raise DeviceError(msg)
    return device


def device_name(device: torch.device) -> str:
    """Name a device as a person knows it, for example "cuda:0 (NVIDIA H100)"."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def to_tensor(batch: Batch) -> torch.Tensor:
    """Give a batch as a tensor, copying it only where it is read-only or strided."""
    return torch.from_numpy(np.require(batch, requirements=["C", "W"]))


def to_array(answer: torch.Tensor | Sequence[torch.Tensor], card: ModelCard, lanes: Lanes) -> NetworkAnswer:
    """Give an answer as a contiguous array in the processor's memory: classes as uint8, all else as float32.

    Args:
        answer: What a network gave; first of all what the card's output says.
        card: The network's card.
        lanes: The way back from the device.
    """
    first = answer if isinstance(answer, torch.Tensor) else answer[0]
    array: NetworkAnswer = lanes.fetch(first if card.output == "classes" else first.float()).contiguous().numpy()
    return array
