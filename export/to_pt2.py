"""A network as an exported program of PyTorch (torch.export), the successor of TorchScript."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from segdeploy.backends.exported_program import load_program
from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.models import Deployed
from segdeploy.pixels import Batch
from segdeploy.selfcheck import built_in_picture

from .diverging import Captured, Found, first_diverging
from .quiet import quiet


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
        values = {node.name: (node, value.numpy().copy()) for node, value in Captured(load_program(path)).values(torch.from_numpy(batch))}
        found = Found(
            values={name: value for name, (_, value) in values.items()},
            makers={name: f"the {node.target} that makes {name!r}" for name, (node, _) in values.items()},
            layers={},
        )
        return first_diverging(found, self.program, network=self.network, batch=batch, precision="fp32")


def convert(network: Deployed, card: ModelCard) -> Pt2Candidate:
    """Capture a network as a graph of PyTorch's operators; sizes are free as in an ONNX file.

    Args:
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.

    Raises:
        ExportError: PyTorch cannot capture it.
    """
    # Sizes of 0 and 1 are taken for constants by torch.export.
    example = torch.from_numpy(built_in_picture(card.input.height, card.input.width)).repeat(2, 1, 1, 1)
    free = dict.fromkeys((0, 1, 2) if card.input.dynamic else (0,), Dim.DYNAMIC)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(network, (example,), dynamic_shapes={"image": free})
    # torch.export raises whatever the network's code does under it.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        msg = f"{card.architecture} cannot be captured by torch.export: {reason}; choose another format or network"
        raise ExportError(msg) from error
    _strip_notes(program)
    return Pt2Candidate(program=program, network=network)


def _strip_notes(program: ExportedProgram) -> None:
    """Drop what is of this machine (paths in stack traces), and what a reader would have to execute or unpickle (guards, the example)."""
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    program.example_inputs = None
    program._guards_code = []  # noqa: SLF001 - there is no other way to leave them out; our runtime checks a batch by its card
