"""ONNX files in fp32 and fp16."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch.export import ExportedProgram

from segdeploy.arrays import Batch
from segdeploy.backends.base import CONFIDENCE, INPUT
from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.models.deployed import Deployed

from .capture import capture, quiet
from .divergence import CapturedProgram, FileTensors, first_diverging
from .onnx_network import OnnxNetwork
from .plan import ExportPlan

DIMENSIONS = ("N", "H", "W")

UNKNOWN_LAYER = "unknown, since the ONNX file has no network of PyTorch to compare layers with"

SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of a node: the PyTorch modules that it comes from. All other metadata holds paths of
this machine."""


@dataclass(frozen=True, kw_only=True)
class OnnxCandidate:
    """A network as an ONNX graph that is not yet proven.

    Attributes:
        model: The graph and its weights.
        program: The program that PyTorch captured of the network; its tensors have the graph's
            names. None for a graph that no network of PyTorch was converted to.
        network: The network itself; None where there is none.
        precision: Precision that the graph computes in.
    """

    model: onnx.ModelProto
    program: ExportedProgram | None
    network: Deployed | None
    precision: str = "fp32"

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file with the metadata in it."""
        onnx.helper.set_model_props(self.model, dict(metadata))
        path.write_bytes(self.model.SerializeToString())

    def first_diverging(self, path: Path, batch: Batch) -> str:
        """Return a description of the first layer whose output is not PyTorch's."""
        if self.program is None or self.network is None:
            return UNKNOWN_LAYER
        tensors = compute_tensors(onnx.load(path), self.program, batch)
        return first_diverging(
            tensors, self.program, network=self.network, batch=batch, precision=self.precision
        )


def convert(plan: ExportPlan) -> OnnxCandidate:
    """Convert the network of a plan to ONNX, in float16 if the plan's precision is fp16.

    Raises:
        ExportError: PyTorch cannot capture it, or ONNX has no operators for it.
    """
    candidate = to_onnx(plan.network, plan.card, opset=plan.config.opset)
    return to_half(candidate) if plan.card.precision == "fp16" else candidate


def to_onnx(network: Deployed | OnnxNetwork, card: ModelCard, *, opset: int) -> OnnxCandidate:
    """Convert a network to an ONNX graph in float32.

    The number of images is dynamic; height and width are the card's, or dynamic if it says so.

    Args:
        network: In evaluation mode, on the CPU, or an ONNX graph, which keeps its opset; it returns
            what the card says.
        card: Card of the file.
        opset: ONNX opset.

    Raises:
        ExportError: PyTorch cannot capture it, or ONNX has no operators for it.
    """
    if isinstance(network, OnnxNetwork):
        return OnnxCandidate(model=network.model, program=None, network=None)
    return from_program(capture(network, card), network, card, opset=opset)


def from_program(
    captured: ExportedProgram, network: Deployed, card: ModelCard, *, opset: int
) -> OnnxCandidate:
    """Convert a program that `capture` returned for this network and card, as `to_onnx` does.

    Raises:
        ExportError: ONNX has no operators for it.
    """
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
            f"{card.architecture} cannot be converted to ONNX of opset {opset}: {reason}; choose"
            " another opset or network"
        )
        raise ExportError(msg) from error
    _strip_metadata(model.graph)
    _name_dimensions(model.graph)
    if card.input.dynamic:
        # These shapes are valid from some image size on only, and runtimes share memory by them;
        # ONNX Runtime infers them again, for all sizes.
        del model.graph.value_info[:]
    return OnnxCandidate(model=model, program=program.exported_program, network=network)


def _strip_metadata(graph: onnx.GraphProto) -> None:
    """Remove the exporter's metadata, which holds paths of this machine, but for module names."""
    del graph.metadata_props[:]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del value.metadata_props[:]
        value.ClearField("doc_string")
    for node in graph.node:
        scopes = [(entry.key, entry.value) for entry in node.metadata_props if entry.key == SCOPES]
        del node.metadata_props[:]
        for key, value in scopes:
            node.metadata_props.add(key=key, value=value)
        node.ClearField("doc_string")


def _name_dimensions(graph: onnx.GraphProto) -> None:
    """Name the dynamic dimensions N, H and W, also where others are computed from them."""
    dimensions = zip(graph.input[0].type.tensor_type.shape.dim, DIMENSIONS, strict=False)
    names = {dim.dim_param: name for dim, name in dimensions if dim.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(
                    r"\w+", lambda word: names.get(word[0], word[0]), dim.dim_param
                )


def to_half(candidate: OnnxCandidate) -> OnnxCandidate:
    """Return a candidate whose graph computes in float16; images stay uint8, and logits float32.

    A processor without float16 converts to float32 and back, slower than a float32 file, but with
    the rounded weights: the proof shows what a GPU will return but for the rounding of activations.

    Args:
        candidate: A network in float32, which stays as it is.
    """
    # It imports half of ONNX Runtime's transformer tools, which other precisions do not need.
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(candidate.model)
    with quiet():
        half = convert_float_to_float16(copy, keep_io_types=True)
    return replace(candidate, model=half, precision="fp16")


def compute_tensors(model: onnx.ModelProto, program: ExportedProgram, batch: Batch) -> FileTensors:
    """Return every tensor of a file that the captured program has too.

    Args:
        model: The file.
        program: The program that PyTorch captured of the network; its tensors have the file's
            names.
        batch: (N, H, W, 3) uint8.
    """
    nodes = _nodes_by_tensor(model, CapturedProgram(program))
    names = {name: output for name, (_, output) in nodes.items()}
    all_outputs = onnx.ModelProto()
    all_outputs.CopyFrom(model)
    del all_outputs.graph.output[:]
    for value in names.values():
        all_outputs.graph.output.add(name=value)
    session = onnxruntime.InferenceSession(
        all_outputs.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return FileTensors(
        values=dict(zip(names, session.run(None, {INPUT: batch}), strict=True)),
        operators={
            name: f"the {node.op_type} that computes {output!r}"
            for name, (node, output) in nodes.items()
        },
        layers={name: _layer_of(node.input) for name, (node, _) in nodes.items()},
    )


def _nodes_by_tensor(
    model: onnx.ModelProto, captured: CapturedProgram
) -> Mapping[str, tuple[onnx.NodeProto, str]]:
    """Return the file's node for each tensor of the program, and the file's name of the tensor."""
    nodes = {name: node for node in model.graph.node for name in node.output}
    # The outputs have names of their own in the file.
    own = dict(zip(captured.outputs, (value.name for value in model.graph.output), strict=True))
    names = {node.name: own.get(node.name, node.name) for node in captured.nodes}
    return {name: (nodes[output], output) for name, output in names.items() if output in nodes}


def _layer_of(inputs: Sequence[str]) -> str:
    """Return the layer of a node by the name of its weight; "" without one.

    A batch norm is fused into its convolution, and the name of the weight remains.
    """
    # A quantized weight is the input of the node that dequantizes it.
    plain = [
        name.removesuffix("_DequantizeLinear_Output").removesuffix("_quantized") for name in inputs
    ]
    return next(
        (name.rpartition(".")[0] for name in plain if name.endswith((".weight", ".bias"))), ""
    )
