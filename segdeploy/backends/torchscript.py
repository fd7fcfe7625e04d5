"""TorchScript, which PyTorch calls deprecated in favor of torch.export.

It stays because it is what many programs in C++ and many phones still load, and because a file of it runs
with PyTorch alone, without our code. This file and `to_torchscript.py` are the only ones that touch it.
"""

import warnings
from pathlib import Path

import torch

from segdeploy.backends.archive_file import read_texts
from segdeploy.backends.base import Batch, NetworkAnswer, card_of, check_batch
from segdeploy.backends.eager import choose_device, device_name, to_array, to_tensor
from segdeploy.card import ModelCard
from segdeploy.errors import ModelError
from segdeploy.machine import cores


class TorchScriptBackend:
    """A frozen TorchScript module."""

    def __init__(self, module: torch.jit.ScriptModule, card: ModelCard, *, device: torch.device) -> None:
        """Wrap a loaded module.

        Args:
            module: Takes what `run` is given, on `device`.
            card: What it is.
            device: Where its constants lie.
        """
        self._module = module
        self._card = card
        self._device = device

    @property
    def card(self) -> ModelCard:
        """The card that the file carries."""
        return self._card

    @property
    def device(self) -> str:
        """For example "torchscript cpu"."""
        return f"torchscript {device_name(self._device)}"

    def run(self, batch: Batch) -> NetworkAnswer:
        """Answer (N, H, W, 3) uint8 RGB pictures with (N, K, h, w) float32 logits, or what the card says."""
        check_batch(batch, self._card)
        with torch.inference_mode():
            answer = self._module(to_tensor(batch).to(self._device))
        return to_array(answer, self._card)


def load(
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
        msg = f"{path} is no TorchScript file or a damaged one ({type(error).__name__}); export it again"
        raise ModelError(msg) from error
    return TorchScriptBackend(module, card, device=chosen)
