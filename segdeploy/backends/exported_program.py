"""An exported program of PyTorch (torch.export), the successor of TorchScript: a graph of operators, and no Python of the network."""

import logging
from pathlib import Path

import torch
from torch.export.passes import move_to_device_pass

from segdeploy.backends.base import Batch, NetworkAnswer, card_of
from segdeploy.backends.eager import ModuleBackend, choose_device
from segdeploy.backends.pt2_file import read_texts
from segdeploy.errors import ConfigError, ModelError
from segdeploy.machine import cores


class ExportedProgramBackend(ModuleBackend):
    """A graph of operators as PyTorch runs it, one after the other."""

    name = "pt2"

    def run(self, batch: Batch) -> NetworkAnswer:
        """Answer as any module does; a file of free sizes answers down to the smallest that it was proven at.

        Raises:
            ConfigError: The batch is smaller, or none that the card allows.
        """
        try:
            return super().run(batch)
        except RuntimeError as error:
            if "Expected input at" not in str(error):
                raise
            msg = f"a batch of shape {batch.shape} was given, and this exported program takes larger ones ({error}); or export it as ONNX"
            raise ConfigError(msg) from error


def load(
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
        ModelError: The file is missing, damaged, no exported program, or holds what could be executed.
        CardError: It carries no usable card.
        DeviceError: The device is not there.
    """
    chosen = choose_device(device)
    card = card_of(read_texts(path), source=str(path))
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
        # An open file: of a path PyTorch wants the ending .pt2, which a file has only once it is proven.
        with path.open("rb") as file:
            return torch.export.load(file)
    # Whatever a damaged graph makes PyTorch's reader stumble over; nothing of it was executed.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{path} is no exported program that PyTorch {torch.__version__} reads, or a damaged one ({reason}); export it again"
        raise ModelError(msg) from error
    finally:
        logging.disable(before)
