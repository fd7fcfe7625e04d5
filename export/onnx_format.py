"""ONNX, fp32 and fp16."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnxruntime
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch.export import ExportedProgram

from segdeploy.arrays import Batch
from segdeploy.backends.onnx_runtime import CONFIDENCE, INPUT
from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.models.deployed import Deployed

from .capture import capture, quiet
from .divergence import Captured, Found, first_diverging


def find_values(model: onnx.ModelProto, program: ExportedProgram, batch: Batch) -> Found:
    """Answer a batch with every value of a file that PyTorch's capture has too.

    Args:
        model: The file.
        program: What PyTorch captured of the network; its values have the file's names.
        batch: (N, H, W, 3) uint8.
    """
    makers = _makers(model, Captured(program))
    names = {name: output for name, (_, output) in makers.items()}
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    del open_model.graph.output[:]
    for value in names.values():
        open_model.graph.output.add(name=value)
    session = onnxruntime.InferenceSession(
        open_model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return Found(
        values=dict(zip(names, session.run(None, {INPUT: batch}), strict=True)),
        makers={
            name: f"the {maker.op_type} that makes {output!r}"
            for name, (maker, output) in makers.items()
        },
        layers={name: _layer(maker.input) for name, (maker, _) in makers.items()},
    )


def _layer(inputs: Sequence[str]) -> str:
    """Name a layer by its weight where it has one.

    Batch norms are folded into convolutions, and the name of the weight is left.
    """
    # A quantized weight stands behind the node that makes numbers of it again.
    plain = [
        name.removesuffix("_DequantizeLinear_Output").removesuffix("_quantized") for name in inputs
    ]
    return next(
        (name.rpartition(".")[0] for name in plain if name.endswith((".weight", ".bias"))), ""
    )


def _makers(model: onnx.ModelProto, captured: Captured) -> Mapping[str, tuple[onnx.NodeProto, str]]:
    """Return the node of the file that makes a value of the program, and the file's name of it, by the program's name."""
    made = {name: node for node in model.graph.node for name in node.output}
    # The file gives its answers names of its own.
    own = dict(zip(captured.answers, (value.name for value in model.graph.output), strict=True))
    names = {node.name: own.get(node.name, node.name) for node in captured.nodes}
    return {name: (made[output], output) for name, output in names.items() if output in made}


SIDES = ("N", "H", "W")

SCOPES = "pkg.torch.onnx.name_scopes"
"""Note on a node: the torch modules that it comes from. All other notes hold paths of this
machine."""


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
        return first_diverging(
            found, self.program, network=self.network, batch=batch, precision=self.precision
        )


def convert(network: Deployed, card: ModelCard, *, opset: int) -> OnnxCandidate:
    """Turn a network into an ONNX graph.

    The number of images is free; height and width are the card's, and free where it says dynamic.

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
    except (
        torch.onnx.OnnxExporterError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        RuntimeError,
    ) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        msg = (
            f"{card.architecture} cannot be turned into ONNX of opset {opset}: {reason}; choose"
            " another opset or network"
        )
        raise ExportError(msg) from error
    _strip_notes(model.graph)
    _name_sides(model.graph)
    if card.input.dynamic:
        # Their sizes hold from some size of the image on, and runtimes share memory by them; ONNX
        # Runtime finds them anew, for all sizes.
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
                side.dim_param = re.sub(
                    r"\w+", lambda word: names.get(word[0], word[0]), side.dim_param
                )


def to_half(candidate: OnnxCandidate) -> OnnxCandidate:
    """Return a candidate whose graph computes in float16; images stay uint8, and logits float32.

    A processor without float16 answers too, by way of float32: slower than a float32 file, but by
    the rounded weights, so that the proof holds what a GPU will answer but for the rounding in
    between.

    Args:
        candidate: A network in float32, which stays as it is.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(candidate.model)
    with quiet():
        half = convert_float_to_float16(copy, keep_io_types=True)
    return replace(candidate, model=half, precision="fp16")
