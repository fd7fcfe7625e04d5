"""Ways of pictures to PyTorch's device and of answers back."""

import threading
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


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
        """Give the present thread's way, within which `send`, the network and `fetch` follow each other."""
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._own.stream)

    def send(self, batch: Tensor) -> Tensor:
        """Give a batch of the processor's memory on the device, which copies it from pinned memory by itself."""
        return batch if self._device.type != "cuda" else batch.pin_memory().to(self._device, non_blocking=True)

    def fetch(self, answer: Tensor) -> Tensor:
        """Give an answer in the processor's memory, once it is whole."""
        if self._device.type != "cuda":
            return answer
        fetched = torch.empty(answer.shape, dtype=answer.dtype, pin_memory=True)
        fetched.copy_(answer, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        return fetched
