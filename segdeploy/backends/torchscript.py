"""TorchScript, which PyTorch calls deprecated in favor of torch.export.

It stays because it is what many programs in C++ and many phones still load, and because a file of it runs
with PyTorch alone, without our code. This file and `to_torchscript.py` are the only ones that touch it.
"""

import warnings
from pathlib import Path

import torch

from segdeploy.backends.archive_file import read_texts
from segdeploy.backends.base import card_of
from segdeploy.backends.eager import ModuleBackend, choose_device
from segdeploy.errors import ModelError
from segdeploy.machine import cores


class TorchScriptBackend(ModuleBackend):
    """A frozen TorchScript module."""

    name = "torchscript"


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
