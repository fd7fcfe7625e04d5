"""A network as an ONNX file: one graph from uint8 pictures to its answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch.export import ExportedProgram

from segdeploy.backends.onnx_runtime import CONFIDENCE, INPUT
from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.models import Deployed
from segdeploy.pixels import Batch

from .capturing import capture
from .diverging import first_diverging
from .onnx_values import find_values
from .quiet import quiet

SIDES = ("N", "H", "W")

SCOPES = "pkg.torch.onnx.name_scopes"
"""Note on a node: the torch modules that it comes from. All other notes hold paths of this machine."""


@dataclass(frozen=True, kw_only=True)
class OnnxCandidate:
    """A converted network that is not yet proven.

    Attributes:
        model: The graph and its weights.
        program: What PyTorch captured of the network; its values have the graph's names.
        network: The network itself.
        precision: Kind of numbers that the graph computes with.
    """

    model: onnx.ModelProto
    program: ExportedProgram
    network: Deployed
    precision: str = "fp32"

    def write(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write the file, and the texts that it shall carry, by their keys."""
        onnx.helper.set_model_props(self.model, dict(texts))
        path.write_bytes(self.model.SerializeToString())

    def first_diverging(self, path: Path, batch: Batch) -> str:
        """Name the first layer of a written file that answers a batch otherwise than PyTorch."""
        found = find_values(onnx.load(path), self.program, batch)
        return first_diverging(found, self.program, network=self.network, batch=batch, precision=self.precision)


def convert(network: Deployed, card: ModelCard, *, opset: int) -> OnnxCandidate:
    """Turn a network into an ONNX graph.

    The number of pictures is free; height and width are the card's, and free where it says dynamic.

    Args:
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.
        opset: Version of ONNX's operators.

    Raises:
        ExportError: PyTorch cannot capture it, or ONNX has no operators for it.
    """
    captured = capture(network, card)
    try:
        with quiet():
            program = torch.onnx.export(
                captured,
                dynamo=True,
                input_names=[INPUT],
                output_names=[card.output, CONFIDENCE] if card.confidence else [card.output],
                opset_version=opset,
                optimize=True,
                verbose=False,
            )
            assert program is not None
            assert program.exported_program is not None
            model = program.model_proto
            onnx.checker.check_model(model, full_check=True)
    except (torch.onnx.OnnxExporterError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        msg = f"{card.architecture} cannot be turned into ONNX of opset {opset}: {reason}; choose another opset or network"
        raise ExportError(msg) from error
    _strip_notes(model.graph)
    _name_sides(model.graph)
    if card.input.dynamic:
        # Their sizes hold from some size of the picture on, and runtimes share memory by them; ONNX Runtime finds them anew, for all sizes.
        del model.graph.value_info[:]
    return OnnxCandidate(model=model, program=program.exported_program, network=network)


def _strip_notes(graph: onnx.GraphProto) -> None:
    """Drop the exporter's notes, which hold paths of this machine, but for the modules' names."""
    del graph.metadata_props[:]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del value.metadata_props[:]
        value.ClearField("doc_string")
    for node in graph.node:
        kept = [(note.key, note.value) for note in node.metadata_props if note.key == SCOPES]
        del node.metadata_props[:]
        for key, value in kept:
            node.metadata_props.add(key=key, value=value)
        node.ClearField("doc_string")


def _name_sides(graph: onnx.GraphProto) -> None:
    """Call the free sides N, H and W, also in what is computed from them, where the exporter numbered them."""
    sides = zip(graph.input[0].type.tensor_type.shape.dim, SIDES, strict=False)
    names = {side.dim_param: name for side, name in sides if side.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param:
                side.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), side.dim_param)
