"""PyTorch: checkpoints, TorchScript files and exported programs, and the devices they run on."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import (
    RuntimeOptions,
    card_from_metadata,
    check_batch,
    check_output,
    empty_batch,
    network_budget,
)
from segdeploy.backends.torch_metadata import read_metadata
from segdeploy.backends.torch_program import read_program
from segdeploy.backends.torch_script import read_script
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.errors import ConfigError, DeviceError, ModelError, SegdeployError
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed
from segdeploy.system.budget import VARIABLE
from segdeploy.system.machine import cores, cpu_features, limited_memory

BF16_FEATURES = {"amx_bf16", "avx512_bf16", "bf16"}
"""Processor features that mean bfloat16 arithmetic in hardware (Intel, AMD, Arm). Other processors
emulate it in float32, which is slower."""


E = TypeVar("E", bound="ExportedBackend")

NO_MEMORY = "can't allocate memory"
"""What PyTorch says where the system has no more memory for a tensor."""


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is the first CUDA device, or the CPU without one.

    Raises:
        DeviceError: There is no such device here, or the name is unknown.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        msg = f"there is no device {name!r}; choose auto, cpu, cuda or cuda:n"
        raise DeviceError(msg) from error
    count = torch.cuda.device_count()
    if device.type not in {"cpu", "cuda"} or (
        device.type == "cuda" and (device.index or 0) >= count
    ):
        msg = (
            f"the device {name!r} is not available: PyTorch has the CPU and {count} CUDA devices;"
            " choose another, or auto"
        )
        raise DeviceError(msg)
    return device


def device_name(device: torch.device) -> str:
    """Return a device with its model, for example "cuda:0 (NVIDIA H100)"."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def half_precision(device: torch.device) -> torch.dtype | None:
    """Return the half precision that a device computes faster than float32; None without one."""
    if device.type != "cuda":
        return torch.bfloat16 if has_bf16(cpu_features()) else None
    has_native_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_native_bf16 else torch.float16


def has_bf16(features: tuple[str, ...]) -> bool:
    """Return whether a processor with these features computes bfloat16 in hardware.

    Args:
        features: As `segdeploy.system.machine.features` names them.
    """
    return not BF16_FEATURES.isdisjoint(features)


@contextmanager
def compile_errors(network: str) -> Iterator[None]:
    """Turn what PyTorch's compiler raises inside the block into one sentence.

    Args:
        network: Name of the network that is compiled.

    Raises:
        SegdeployError: The network cannot be compiled here.
    """
    # Importing dynamo takes seconds; only runs that compile pay for it.
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = str(error).partition("\n")[0]
        msg = (
            f"PyTorch cannot compile {network} here ({reason}); install a C++ compiler if that is"
            " missing, or leave --compile out"
        )
        raise SegdeployError(msg) from error


class DeviceStreams:
    """One CUDA stream per thread, so that copies and kernels of several threads overlap."""

    def __init__(self, device: torch.device) -> None:
        """Create no stream yet.

        Args:
            device: Where the network lies; on the CPU there is nothing to copy.
        """
        self._device = device
        self._local = threading.local()

    def use(self) -> AbstractContextManager[object]:
        """Return a context in which PyTorch works on the stream of the current thread."""
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._local.stream)

    def to_device(self, batch: Tensor) -> Tensor:
        """Return a CPU tensor on the device, copied asynchronously from pinned memory."""
        if self._device.type != "cuda":
            return batch
        return batch.pin_memory().to(self._device, non_blocking=True)

    def to_host(self, output: Tensor) -> Tensor:
        """Return a tensor in CPU memory, once its copy is complete."""
        if self._device.type != "cuda":
            return output
        copied = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
        copied.copy_(output, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        return copied


class ModuleBackend:
    """A backend for anything that PyTorch runs as a module."""

    name = "torch"
    """Name of the runtime, which stands before the device."""

    def __init__(self, module: nn.Module, card: ModelCard, *, device: torch.device) -> None:
        """Wrap a loaded module.

        Args:
            module: Takes (N, H, W, 3) uint8 RGB images on `device`.
            card: Card of the network.
            device: Where its weights lie.
        """
        self._module = module
        self._card = card
        self._device = device
        self._streams = DeviceStreams(device)

    @property
    def card(self) -> ModelCard:
        """Return the card of the network."""
        return self._card

    @property
    def device(self) -> str:
        """Return for example "torch cpu"."""
        return f"{self.name} {device_name(self._device)}"

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output for (N, H, W, 3) uint8 RGB images; see `Backend.run`."""
        check_batch(batch, self._card)
        with torch.inference_mode(), self._streams.use():
            output = self._module(self._streams.to_device(to_tensor(batch)))
            return to_array(output, self._card, self._streams)


class EagerBackend(ModuleBackend):
    """A network that PyTorch runs in eager mode, operator by operator."""

    def __init__(
        self, network: Deployed, card: ModelCard, *, device: str | torch.device = "cpu"
    ) -> None:
        """Wrap a network; it is moved to the device, and the caller may keep training it.

        Args:
            network: The network; it must be in evaluation mode whenever `run` is called.
            card: Its card.
            device: Where it runs.
        """
        # Convolutions are faster in channels_last, the layout that a batch of images already has.
        moved = network.to(torch.device(device)).to(memory_format=torch.channels_last)
        super().__init__(moved, card, device=torch.device(device))
        self._precision: torch.dtype | None = None
        self._compiled = False

    @property
    def device(self) -> str:
        """Return for example "torch cuda:0 (NVIDIA H100), float16, compiled"."""
        precision = f", {str(self._precision).removeprefix('torch.')}" if self._precision else ""
        return f"{super().device}{precision}{', compiled' if self._compiled else ''}"

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output for (N, H, W, 3) uint8 RGB images; see `Backend.run`."""
        # In training mode batch norm would use the statistics of the batch.
        assert not self._module.training
        with torch.autocast(
            self._device.type, dtype=self._precision, enabled=self._precision is not None
        ):
            return super().run(batch)

    def accelerate(self, *, autocast: bool = False, compiled: bool = False) -> None:
        """Run faster from now on; single labels may then differ from those in float32.

        Args:
            autocast: Whether half precision is used where it is safe.
            compiled: Whether PyTorch compiles the network, which happens at once.

        Raises:
            ConfigError: The device computes no half precision faster than float32.
            SegdeployError: The network cannot be compiled here.
        """
        if autocast:
            self._precision = half_precision(self._device)
            if self._precision is None:
                msg = (
                    f"{super().device} has no half precision that is faster than float32; leave"
                    " --autocast out"
                )
                raise ConfigError(msg)
        if compiled:
            self._module.compile()
            self._compiled = True
            with compile_errors(self._card.architecture):
                self.run(empty_batch(self._card.input))


class ExportedBackend(ModuleBackend):
    """A module that was read from an exported file, which may be damaged."""

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output for (N, H, W, 3) uint8 RGB images; see `Backend.run`.

        Raises:
            ConfigError: The card does not allow the batch, or it is smaller than the smallest that
                a dynamic program was exported for.
            ModelError: PyTorch cannot run the file, or its output contradicts the card.
        """
        try:
            output = super().run(batch)
        except (SegdeployError, torch.OutOfMemoryError):
            raise
        # A damaged graph raises anything when it runs.
        except Exception as error:
            raise self._failure(error, batch) from error
        check_output(output, batch, self._card, source=f"the {self.name} file")
        return output

    def _failure(self, error: Exception, batch: Batch) -> SegdeployError:
        message = " ".join(str(error).split())
        # The interpreter of TorchScript puts the code before the reason.
        reason = message.rpartition("RuntimeError: ")[2][:300]
        if NO_MEMORY in message:
            return ModelError(
                f"the {self.name} file takes more memory than it may; set {VARIABLE} to a larger"
                " size if you trust it"
            )
        if "Expected input at" in reason:
            return ConfigError(
                f"the batch has shape {batch.shape}, and this exported program takes larger ones"
                f" ({reason}); or export it as ONNX"
            )
        return ModelError(
            f"PyTorch {torch.__version__} cannot run the {self.name} file ({type(error).__name__}:"
            f" {reason}); export it again"
        )


class TorchScriptBackend(ExportedBackend):
    """A frozen TorchScript module."""

    name = "torchscript"


class ExportedProgramBackend(ExportedBackend):
    """A graph of operators that `torch.export` captured."""

    name = "pt2"


def to_tensor(batch: Batch) -> Tensor:
    """Return a batch as a tensor, copied only where it is read-only or strided."""
    return torch.from_numpy(np.require(batch, requirements=["C", "W"]))


def to_array(
    output: Tensor | Sequence[Tensor], card: ModelCard, streams: DeviceStreams
) -> NetworkOutput:
    """Return the first output of a network as a contiguous array in CPU memory.

    Args:
        output: What the module returned; the first tensor is the one that `card.output` names.
        card: The network's card.
        streams: Copies from the device.

    Returns:
        uint8 classes, or float32 logits or probabilities.
    """
    first = output if isinstance(output, Tensor) else output[0]
    typed = first if card.output == "classes" else first.float()
    array: NetworkOutput = streams.to_host(typed).contiguous().numpy()
    return array


def read_checkpoint_metadata(path: Path) -> Mapping[str, str]:
    """Return the metadata of a checkpoint: its card alone."""
    return {CARD_KEY: load_checkpoint(path).card.to_json()}


def load_eager(path: Path, options: RuntimeOptions) -> EagerBackend:
    """Load a checkpoint that `segdeploy train` wrote.

    Raises:
        ModelError: The file is missing, damaged, or not a segdeploy checkpoint.
        DeviceError: The device is not available.
    """
    device = choose_device(options.device)
    checkpoint = load_checkpoint(path)
    torch.set_num_threads(options.threads or cores())
    return EagerBackend(checkpoint.network(), checkpoint.card, device=device)


def load_torchscript(path: Path, options: RuntimeOptions) -> TorchScriptBackend:
    """Load a file that `segdeploy export --format torchscript` wrote.

    Raises:
        ModelError: The file is missing, damaged, or not a TorchScript file.
        UntrustedError: It holds more than the operators of a network, and is not trusted.
        CardError: It has no usable card.
        DeviceError: The device is not available.
    """
    device = choose_device(options.device)
    card = card_from_metadata(read_metadata(path), source=str(path))
    torch.set_num_threads(options.threads or cores())
    module = read_script(path, device=device, trust=options.trust)
    return _tried(TorchScriptBackend(module, card, device=device), path, options)


def load_exported_program(path: Path, options: RuntimeOptions) -> ExportedProgramBackend:
    """Load a file that `segdeploy export --format pt2` wrote.

    Raises:
        ModelError: The file is missing, damaged, or not an exported program.
        UntrustedError: It holds more than the operators of a network, and is not trusted.
        CardError: It has no usable card.
        DeviceError: The device is not available.
    """
    device = choose_device(options.device)
    card = card_from_metadata(read_metadata(path), source=str(path))
    torch.set_num_threads(options.threads or cores())
    program = read_program(path, trust=options.trust)
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    module = program.module(check_guards=False)
    return _tried(ExportedProgramBackend(module, card, device=device), path, options)


def _tried(backend: E, path: Path, options: RuntimeOptions) -> E:
    """Return a backend that ran on a black image within the memory that a network may take.

    The operators of a file are harmless, but sizes may be anything. A file that is trusted is not
    tried, and neither are devices with memory of their own.
    """
    spec = backend.card.input
    if choose_device(options.device).type == "cpu" and not options.trust:
        with limited_memory(network_budget(spec.height * spec.width, path.stat().st_size)):
            backend.run(empty_batch(spec))
    return backend
