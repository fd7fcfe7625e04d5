"""PyTorch eager, TorchScript, exported programs.

It stays because it is what many programs in C++ and many phones still load, and because a file of
it runs with PyTorch alone, without our code. This file and `to_torchscript.py` are the only ones
that touch it.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from segdeploy.backends.base import Batch, NetworkOutput, card_of, check_batch
from segdeploy.backends.torch_device import (
    Lanes,
    choose_device,
    compiling,
    device_name,
    half_precision,
)
from segdeploy.backends.torch_metadata import read_program_texts, read_texts
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed
from segdeploy.system.machine import cores


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

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer (N, H, W, 3) uint8 RGB images with (N, K, h, w) float32 logits, or what the card says."""
        check_batch(batch, self._card)
        with torch.inference_mode(), self._lanes.take():
            answer = self._module(self._lanes.send(to_tensor(batch)))
            return to_array(answer, self._card, self._lanes)


class EagerBackend(ModuleBackend):
    """A network as PyTorch runs it, operation by operation."""

    def __init__(
        self, network: Deployed, card: ModelCard, *, device: str | torch.device = "cpu"
    ) -> None:
        """Wrap a network; it is moved to the device, and stays the caller's to train.

        Args:
            network: The network; it must be in evaluation mode whenever `run` is called.
            card: What it is.
            device: Where it runs.
        """
        # Convolutions are faster on channels_last, which a batch of images is before it is
        # permuted.
        moved = network.to(torch.device(device)).to(memory_format=torch.channels_last)
        super().__init__(moved, card, device=torch.device(device))
        self._precision: torch.dtype | None = None
        self._compiled = False

    @property
    def device(self) -> str:
        """For example "torch cuda:0 (NVIDIA H100), float16, compiled"."""
        precision = f", {str(self._precision).removeprefix('torch.')}" if self._precision else ""
        return f"{super().device}{precision}{', compiled' if self._compiled else ''}"

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer as any module does; never in training mode, where norms would follow the batch."""
        assert not self._module.training
        with torch.autocast(
            self._device.type, dtype=self._precision, enabled=self._precision is not None
        ):
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
                msg = (
                    f"{super().device} has no half precision that it is fast with; leave"
                    " --autocast out"
                )
                raise ConfigError(msg)
        if compiled:
            self._module.compile()
            self._compiled = True
            spec = self._card.input
            with compiling(self._card.architecture):
                self.run(np.zeros((1, spec.height, spec.width, 3), np.uint8))


def load_eager(
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


def read_checkpoint_texts(path: Path) -> Mapping[str, str]:
    """Return the texts that a checkpoint carries by their keys: its card."""
    return {CARD_KEY: load_checkpoint(path).card.to_json()}


def to_tensor(batch: Batch) -> torch.Tensor:
    """Return a batch as a tensor, copying it only where it is read-only or strided."""
    return torch.from_numpy(np.require(batch, requirements=["C", "W"]))


def to_array(
    answer: torch.Tensor | Sequence[torch.Tensor], card: ModelCard, lanes: Lanes
) -> NetworkOutput:
    """Return an answer as a contiguous array in the processor's memory.

    Classes as uint8, all else as float32.

    Args:
        answer: What a network gave; first of all what the card's output says.
        card: The network's card.
        lanes: The way back from the device.
    """
    first = answer if isinstance(answer, torch.Tensor) else answer[0]
    array: NetworkOutput = (
        lanes.fetch(first if card.output == "classes" else first.float()).contiguous().numpy()
    )
    return array


class ExportedProgramBackend(ModuleBackend):
    """A graph of operators as PyTorch runs it, one after the other."""

    name = "pt2"

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer as any module does.

        A file of free sizes answers down to the smallest that it was proven at.

        Raises:
            ConfigError: The batch is smaller, or none that the card allows.
        """
        try:
            return super().run(batch)
        except RuntimeError as error:
            if "Expected input at" not in str(error):
                raise
            msg = (
                f"a batch of shape {batch.shape} was given, and this exported program takes larger"
                f" ones ({error}); or export it as ONNX"
            )
            raise ConfigError(msg) from error


def load_exported_program(
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = True,  # noqa: ARG001 - PyTorch's threads do not spin
    callers: int = 1,  # noqa: ARG001 - PyTorch takes any number
) -> ExportedProgramBackend:
    """Load an exported program.

    Args:
        path: What `segdeploy export --format pt2` wrote.
        device: "auto", "cpu", "cuda" or "cuda:n".
        threads: Threads of one operation, for the whole process; all allowed cores where None.
        spinning: Only ONNX Runtime's threads spin.
        callers: How many threads will call `run` at the same time, each with `threads` of its own.

    Raises:
        ModelError: The file is missing, damaged, no exported program, or holds what could be
            executed.
        CardError: It carries no usable card.
        DeviceError: The device is not there.
    """
    chosen = choose_device(device)
    card = card_of(read_program_texts(path), source=str(path))
    torch.set_num_threads(threads or cores())
    program = load_program(path)
    if chosen.type != "cpu":
        program = move_to_device_pass(program, chosen)
    return ExportedProgramBackend(program.module(check_guards=False), card, device=chosen)


def load_program(path: Path) -> torch.export.ExportedProgram:
    """Read the program of a file that `read_texts` found harmless.

    Raises:
        ModelError: It is damaged, or of another version of PyTorch.
    """
    before = logging.root.manager.disable
    # PyTorch logs a traceback of its own before it raises.
    logging.disable(logging.CRITICAL)
    try:
        # An open file: of a path PyTorch wants the ending .pt2, which a file has only once it is
        # proven.
        with path.open("rb") as file:
            return torch.export.load(file)
    # Whatever a damaged graph makes PyTorch's reader stumble over; nothing of it was executed.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        msg = (
            f"{path} is no exported program that PyTorch {torch.__version__} reads, or a damaged"
            f" one ({reason}); export it again"
        )
        raise ModelError(msg) from error
    finally:
        logging.disable(before)


class TorchScriptBackend(ModuleBackend):
    """A frozen TorchScript module."""

    name = "torchscript"


def load_torchscript(
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = True,  # noqa: ARG001 - PyTorch's threads do not spin
    callers: int = 1,  # noqa: ARG001 - PyTorch takes any number
) -> TorchScriptBackend:
    """Load a TorchScript file.

    Args:
        path: What `segdeploy export --format torchscript` wrote.
        device: "auto", "cpu", "cuda" or "cuda:n".
        threads: Threads of one operation, for the whole process; all allowed cores where None.
        spinning: Only ONNX Runtime's threads spin.
        callers: How many threads will call `run` at the same time, each with `threads` of its own.

    Raises:
        ModelError: The file is missing, damaged, or no TorchScript file.
        CardError: It carries no usable card.
        DeviceError: The device is not there.
    """
    chosen = choose_device(device)
    card = card_of(read_texts(path), source=str(path))
    torch.set_num_threads(threads or cores())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit")
            module = torch.jit.load(path, map_location=chosen)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        msg = (
            f"{path} is no TorchScript file or a damaged one ({type(error).__name__}); export it"
            " again"
        )
        raise ModelError(msg) from error
    return TorchScriptBackend(module, card, device=chosen)
