"""TorchScript and .pt2.

PyTorch calls TorchScript deprecated in favor of torch.export. It stays because it is what many
programs in C++ and many phones still load. This file and `backends/torchscript.py` are the only
ones that touch it.
"""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.export import ExportedProgram

from segdeploy.arrays import Batch
from segdeploy.backends.pytorch import load_program
from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.inference.self_test import built_in_image
from segdeploy.models.deployed import Deployed

from .capture import capture, quiet
from .divergence import Captured, Found, first_diverging
from .proof import sizes


@dataclass(frozen=True, kw_only=True)
class Pt2Candidate:
    """A captured network that is not yet proven.

    Attributes:
        program: The graph and its weights.
        network: The network itself.
    """

    program: ExportedProgram
    network: Deployed

    def write(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write the file, and the texts that it shall carry as extra files, by their keys."""
        # To memory first: PyTorch's own writer reports a full disk as a bare RuntimeError.
        content = io.BytesIO()
        with quiet():
            torch.export.save(self.program, content, extra_files=dict(texts))
        path.write_bytes(content.getvalue())

    def first_diverging(self, path: Path, batch: Batch) -> str:
        """Name the first layer of a written file that answers a batch otherwise than PyTorch."""
        # A copy, since the next operation may work in place.
        values = {
            node.name: (node, value.numpy().copy())
            for node, value in Captured(load_program(path)).values(torch.from_numpy(batch))
        }
        found = Found(
            values={name: value for name, (_, value) in values.items()},
            makers={
                name: f"the {node.target} that makes {name!r}" for name, (node, _) in values.items()
            },
            layers={},
        )
        return first_diverging(
            found, self.program, network=self.network, batch=batch, precision="fp32"
        )


def to_pt2(network: Deployed, card: ModelCard) -> Pt2Candidate:
    """Capture a network as a graph of PyTorch's operators; sizes are free as in an ONNX file.

    Args:
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.

    Raises:
        ExportError: PyTorch cannot capture it, or not for all sizes.
    """
    program = capture(network, card)
    _free_proven_sizes(program, card)
    _strip_notes(program)
    return Pt2Candidate(program=program, network=network)


def _free_proven_sizes(program: ExportedProgram, card: ModelCard) -> None:
    """Let a program answer down to the smallest side that it is proven at.

    Its capture asks for two of its coarsest values a side.
    """
    least = min(side for size in sizes(card.input) for side in size)
    for name, limit in program.range_constraints.items():
        program.range_constraints[name] = type(limit)(min(limit.lower, least), limit.upper)


def _strip_notes(program: ExportedProgram) -> None:
    """Drop what is of this machine (paths in stack traces), and what a reader would have to execute or unpickle (guards, the example)."""
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    program.example_inputs = None
    program._guards_code = []  # noqa: SLF001 - there is no other way to leave them out; our runtime checks a batch by its card


@dataclass(frozen=True, kw_only=True)
class TorchScriptCandidate:
    """A converted network that is not yet proven.

    Attributes:
        module: Traced and frozen: weights are constants, and batch norms lie in their convolutions.
    """

    module: torch.jit.ScriptModule

    def write(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write the file, and the texts that it shall carry as extra files, by their keys."""
        # To memory first: PyTorch's own writer reports a full disk as a bare RuntimeError.
        content = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit")
            torch.jit.save(self.module, content, _extra_files=dict(texts))
        path.write_bytes(content.getvalue())

    def first_diverging(self, path: Path, batch: Batch) -> str:  # noqa: ARG002 - a frozen module has no layers left to ask
        """Report that TorchScript cannot name it."""
        return (
            "unknown, since a frozen TorchScript module has lost the names of its layers; --format"
            " onnx can name it"
        )


def to_torchscript(network: Deployed, card: ModelCard) -> TorchScriptCandidate:
    """Trace and freeze a network; the number of images is free, and so are height and width.

    Args:
        network: In evaluation mode, on the processor.
        card: What the file will tell about itself.

    Raises:
        ExportError: PyTorch cannot trace it.
    """
    example = torch.from_numpy(built_in_image(card.input.height, card.input.width))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.filterwarnings("ignore", message=r".*torch\.jit")
            # What a trace warns of, a branch on a size, the proof finds where it changes an answer.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
            frozen: torch.jit.ScriptModule = torch.jit.freeze(traced)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        msg = (
            f"{card.architecture} cannot be turned into TorchScript: {reason}; choose --format onnx"
        )
        raise ExportError(msg) from error
    return TorchScriptCandidate(module=frozen)
