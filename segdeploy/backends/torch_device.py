"""Device, half precision, streams, torch.compile."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from segdeploy.errors import DeviceError, SegdeployError
from segdeploy.system.machine import cpu_features


class Lanes:
    """A way for each thread: on a CUDA device its copies and kernels overlap with those of the others."""

    def __init__(self, device: torch.device) -> None:
        """Build none yet.

        Args:
            device: Where the network lies; on a processor there is nothing to copy.
        """
        self._device = device
        self._own = threading.local()

    def take(self) -> AbstractContextManager[object]:
        """Return the present thread's way, within which `send`, the network and `fetch` follow each other."""
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._own.stream)

    def send(self, batch: Tensor) -> Tensor:
        """Return a batch of the processor's memory on the device, which copies it from pinned memory by itself."""
        return (
            batch
            if self._device.type != "cuda"
            else batch.pin_memory().to(self._device, non_blocking=True)
        )

    def fetch(self, answer: Tensor) -> Tensor:
        """Return an answer in the processor's memory, once it is whole."""
        if self._device.type != "cuda":
            return answer
        fetched = torch.empty(answer.shape, dtype=answer.dtype, pin_memory=True)
        fetched.copy_(answer, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        return fetched


@contextmanager
def compiling(network: str) -> Iterator[None]:
    """Say in one sentence what PyTorch's compiler stumbles over in the block.

    Args:
        network: Name of what is compiled.

    Raises:
        SegdeployError: It cannot be compiled.
    """
    # Who does not compile need not wait for this import.
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


BF16 = {"amx_bf16", "avx512_bf16", "bf16"}
"""Features of processors that multiply bfloat16 by themselves: Intel, AMD, and Arm. Others compute
it by single precision, and slower."""


def half_precision(device: torch.device) -> torch.dtype | None:
    """Return the half precision that a device is fast with; None where it has none."""
    if device.type != "cuda":
        return torch.bfloat16 if has_bf16(cpu_features()) else None
    return (
        torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    )


def has_bf16(features: tuple[str, ...]) -> bool:
    """Report by a processor's features, as segdeploy.system.machine names them, whether it multiplies bfloat16 by itself."""
    return not BF16.isdisjoint(features)


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
    if device.type not in {"cpu", "cuda"} or (
        device.type == "cuda" and (device.index or 0) >= count
    ):
        msg = (
            f"the device {name!r} was asked for and PyTorch has the CPU and {count} CUDA devices;"
            " choose another, or auto"
        )
        raise DeviceError(msg)
    return device


def device_name(device: torch.device) -> str:
    """Name a device as a person knows it, for example "cuda:0 (NVIDIA H100)"."""
    return (
        f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    )
