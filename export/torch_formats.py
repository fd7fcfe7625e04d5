"""PyTorch's own formats: TorchScript, and the .pt2 programs of torch.export.

PyTorch has deprecated TorchScript in favor of torch.export. It stays because many C++ programs and
phones still load it. Only this file and `segdeploy/backends/torch_script.py` use it.
"""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.export import ExportedProgram

from segdeploy.arrays import Batch
from segdeploy.backends.torch_program import read_program
from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.inference.self_test import built_in_batch
from segdeploy.models.deployed import Deployed

from .capture import capture, quiet
from .divergence import CapturedProgram, FileTensors, first_diverging
from .plan import ExportPlan
from .proof import input_sizes


@dataclass(frozen=True, kw_only=True)
class Pt2Candidate:
    """A captured network that is not yet proven.

    Attributes:
        program: The graph and its weights.
        network: The network itself.
    """

    program: ExportedProgram
    network: Deployed

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file with the metadata as extra files."""
        # To memory first: PyTorch's own writer reports a full disk as a bare RuntimeError.
        content = io.BytesIO()
        with quiet():
            torch.export.save(self.program, content, extra_files=dict(metadata))
        path.write_bytes(content.getvalue())

    def first_diverging(self, path: Path, batch: Batch) -> str:
        """Return a description of the first layer whose output is not PyTorch's."""
        # A copy, since the next operator may work in place.
        program = CapturedProgram(read_program(path, trust=True))
        values = {
            node.name: (node, value.numpy().copy())
            for node, value in program.values(torch.from_numpy(batch))
        }
        tensors = FileTensors(
            values={name: value for name, (_, value) in values.items()},
            operators={
                name: f"the {node.target} that computes {name!r}"
                for name, (node, _) in values.items()
            },
        )
        return first_diverging(
            tensors, self.program, network=self.network, batch=batch, precision="fp32"
        )


def to_pt2(plan: ExportPlan) -> Pt2Candidate:
    """Capture the network of a plan; the same dimensions are dynamic as in an ONNX file.

    Raises:
        ExportError: PyTorch cannot capture it, or not for all sizes.
    """
    network = plan.network
    assert isinstance(network, Deployed), "an ONNX file cannot become a program"
    return from_program(capture(network, plan.card), network, plan.card)


def from_program(program: ExportedProgram, network: Deployed, card: ModelCard) -> Pt2Candidate:
    """Return the candidate of a program that `capture` returned, which is changed in place."""
    _allow_proven_sizes(program, card)
    _strip_metadata(program)
    return Pt2Candidate(program=program, network=network)


def _allow_proven_sizes(program: ExportedProgram, card: ModelCard) -> None:
    """Let a program accept sides down to the smallest one that it is proven at.

    Its capture requires at least two rows and columns of its coarsest features.
    """
    least = min(side for size in input_sizes(card.input) for side in size)
    for name, limit in program.range_constraints.items():
        program.range_constraints[name] = type(limit)(min(limit.lower, least), limit.upper)


def _strip_metadata(program: ExportedProgram) -> None:
    """Remove paths of this machine, and what a reader would have to execute or unpickle.

    The paths stand in stack traces; guards are code, and the example is pickled.
    """
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    program.example_inputs = None
    # There is no public way to leave them out; our runtime checks a batch by the card.
    program._guards_code = []  # noqa: SLF001


@dataclass(frozen=True, kw_only=True)
class TorchScriptCandidate:
    """A traced network that is not yet proven.

    Attributes:
        module: Traced and frozen: weights are constants, and batch norms are fused into their
            convolutions.
    """

    module: torch.jit.ScriptModule

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file with the metadata as extra files."""
        # To memory first: PyTorch's own writer reports a full disk as a bare RuntimeError.
        content = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit")
            torch.jit.save(self.module, content, _extra_files=dict(metadata))
        path.write_bytes(content.getvalue())

    def first_diverging(self, path: Path, batch: Batch) -> str:  # noqa: ARG002 - an interface
        """Return that TorchScript cannot name the layer."""
        return (
            "unknown, since a frozen TorchScript module has lost the names of its layers; --format"
            " onnx can name it"
        )


def to_torchscript(plan: ExportPlan) -> TorchScriptCandidate:
    """Trace and freeze the network of a plan; number of images, height and width are dynamic.

    Raises:
        ExportError: PyTorch cannot trace it.
    """
    card = plan.card
    assert isinstance(plan.network, Deployed), "an ONNX file cannot be traced"
    example = torch.from_numpy(built_in_batch(card.input))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.filterwarnings("ignore", message=r".*torch\.jit")
            # A trace warns of every branch on a size; the proof finds those that change an output.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                plan.network, example, check_trace=False
            )
            frozen: torch.jit.ScriptModule = torch.jit.freeze(traced)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        msg = (
            f"{card.architecture} cannot be converted to TorchScript: {reason}; choose --format"
            " onnx"
        )
        raise ExportError(msg) from error
    return TorchScriptCandidate(module=frozen)
