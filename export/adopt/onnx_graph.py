"""ONNX files of other projects: reading them, and wrapping their graph to take uint8 images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segdeploy.backends.base import INPUT
from segdeploy.backends.onnx_metadata import read_metadata
from segdeploy.card import ModelCard
from segdeploy.errors import ModelError

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)

PREFIX = "segdeploy_"
"""First part of the names of added nodes and values."""

Node = tuple[str, list[str], dict[str, Any]]
"""Operator, further inputs and attributes of a node in a chain."""


@dataclass(frozen=True, kw_only=True)
class ExternalModel:
    """An ONNX file of another project.

    Attributes:
        path: The file.
        model: Its graph, with the weights.
        input_name: Name of its input.
        output_name: Name of its first output; others are dropped.
        half: Whether its input is float16.
        size: Height and width of its input, in pixels; None where it accepts any.
    """

    path: Path
    model: onnx.ModelProto
    input_name: str
    output_name: str
    half: bool
    size: tuple[int, int] | None

    @property
    def precision(self) -> str:
        """Precision that it computes in."""
        quantized = any(node.op_type == "QuantizeLinear" for node in self.model.graph.node)
        return "int8" if quantized else "fp16" if self.half else "fp32"


def read_external(path: Path) -> ExternalModel:
    """Read an ONNX file of another project.

    Raises:
        ModelError: It is missing, damaged, refers to files outside its folder, or does not take
            float images in NCHW.
    """
    # It checks what an untrusted file refers to.
    read_metadata(path)
    try:
        model = onnx.load(path)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{path} cannot be read ({reason}); check that its weights lie beside it"
        raise ModelError(msg) from error
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    shape = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim] if inputs else []
    types = [value.type.tensor_type.elem_type for value in inputs]
    if (
        len(inputs) != 1
        or len(shape) != 4
        or shape[0] > 1
        or shape[1] not in (0, 3)
        or types[0] not in FLOATS
    ):
        given = ", ".join(
            f"{value.name} of {TensorProto.DataType.Name(kind)}"
            for value, kind in zip(inputs, types, strict=True)
        )
        msg = (
            f"{path} takes {given or 'nothing'}, {shape}; a network that can be adopted takes one"
            " batch of float images, (N, 3, H, W)"
        )
        raise ModelError(msg)
    return ExternalModel(
        path=path,
        model=model,
        input_name=inputs[0].name,
        output_name=model.graph.output[0].name,
        half=types[0] == TensorProto.FLOAT16,
        size=(shape[2], shape[3]) if shape[2] and shape[3] else None,
    )


def wrap_graph(
    external: ExternalModel, card: ModelCard, *, output_shape: tuple[int, ...], bgr: bool
) -> onnx.ModelProto:
    """Return the graph with nodes added before and behind it.

    It takes uint8 images then, and returns what the card says.

    Args:
        external: The file, whose graph stays as it is.
        card: Card of the new file.
        output_shape: Shape of its output for one image: (K, h, w) logits, or classes, (1, h, w) or
            (h, w).
        bgr: Whether it takes BGR.
    """
    model = onnx.ModelProto()
    model.CopyFrom(external.model)
    graph = model.graph
    renamed = {name: f"{PREFIX}inner_{name}" for name in (INPUT, card.output)}
    _rename(graph, renamed)
    input_name = renamed.get(external.input_name, external.input_name)
    output_name = renamed.get(external.output_name, external.output_name)
    tensor = next(value.type.tensor_type for value in graph.input if value.name == input_name)
    batch = tensor.shape.dim[0].dim_value or "N"
    nodes = [
        *_input_nodes(graph, card, input_name, half=external.half, bgr=bgr),
        *graph.node,
        *_output_nodes(graph, card, output_name, output_shape),
    ]
    others = [value for value in graph.input if value.name != input_name]
    del graph.node[:], graph.output[:], graph.value_info[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend([_input_value(card, batch), *others])
    graph.output.append(_output_value(card, batch, output_shape))
    return model


def _input_value(card: ModelCard, batch: int | str) -> onnx.ValueInfoProto:
    spec = card.input
    shape = [batch, "H", "W", 3] if spec.dynamic else [batch, spec.height, spec.width, 3]
    return helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)


def _output_value(
    card: ModelCard, batch: int | str, output_shape: tuple[int, ...]
) -> onnx.ValueInfoProto:
    spec = card.input
    if card.output == "classes":
        shape = [batch, "H", "W"] if spec.dynamic else [batch, spec.height, spec.width]
        return helper.make_tensor_value_info("classes", TensorProto.UINT8, shape)
    sides = ["h", "w"] if spec.dynamic else output_shape[-2:]
    shape = [batch, len(card.classes), *sides]
    return helper.make_tensor_value_info(card.output, TensorProto.FLOAT, shape)


def _input_nodes(
    graph: onnx.GraphProto, card: ModelCard, input_name: str, *, half: bool, bgr: bool
) -> list[onnx.NodeProto]:
    """Return the nodes from (N, H, W, 3) uint8 RGB to what the graph takes."""
    spec = card.input
    # (x / 255 - mean) / std as one multiplication and one addition, as in `Deployed`.
    scale = [1 / (255 * std) for std in spec.std]
    shift = [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]
    for name, values in (("scale", scale), ("shift", shift)):
        array = np.array(values, np.float32).reshape(1, 3, 1, 1)
        graph.initializer.append(numpy_helper.from_array(array, f"{PREFIX}{name}"))
    nodes: list[Node] = [
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Mul", [f"{PREFIX}scale"], {}),
        ("Add", [f"{PREFIX}shift"], {}),
    ]
    if bgr:
        order = np.array([2, 1, 0], np.int64)
        graph.initializer.append(numpy_helper.from_array(order, f"{PREFIX}order"))
        nodes.append(("Gather", [f"{PREFIX}order"], {"axis": 1}))
    nodes.append(("Cast", [], {"to": TensorProto.FLOAT16 if half else TensorProto.FLOAT}))
    return _chain(INPUT, nodes, input_name)


def _output_nodes(
    graph: onnx.GraphProto, card: ModelCard, output_name: str, output_shape: tuple[int, ...]
) -> list[onnx.NodeProto]:
    """Return the nodes from the graph's output to float32 logits, or to uint8 classes.

    Classes are repeated up to the input's size.
    """
    if card.output != "classes":
        return _chain(output_name, [("Cast", [], {"to": TensorProto.FLOAT})], card.output)
    constants: dict[str, Any] = {
        # The axes before height and width stay: the images, and in some files a single plane.
        "before": np.arange(len(output_shape) - 1, dtype=np.int64),
        "sides": np.array([1, 2], np.int64),
        # Unused inputs of Resize, which are not optional up to opset 12.
        "empty": np.array([], np.float32),
        "first": np.array(0, np.int64),
    }
    graph.initializer.extend(
        numpy_helper.from_array(value, f"{PREFIX}{name}") for name, value in constants.items()
    )
    size = [
        helper.make_node("Shape", [output_name], [f"{PREFIX}small"]),
        helper.make_node("Shape", [INPUT], [f"{PREFIX}large"]),
        helper.make_node("Gather", [f"{PREFIX}small", f"{PREFIX}before"], [f"{PREFIX}kept"]),
        helper.make_node("Gather", [f"{PREFIX}large", f"{PREFIX}sides"], [f"{PREFIX}size"]),
        helper.make_node("Concat", [f"{PREFIX}kept", f"{PREFIX}size"], [f"{PREFIX}sizes"], axis=0),
    ]
    nearest = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    nodes: list[Node] = [
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Resize", [f"{PREFIX}empty", f"{PREFIX}empty", f"{PREFIX}sizes"], dict(nearest)),
        *([("Gather", [f"{PREFIX}first"], {"axis": 1})] if len(output_shape) == 3 else []),
        ("Cast", [], {"to": TensorProto.UINT8}),
    ]
    return [*size, *_chain(output_name, nodes, card.output)]


def _chain(start: str, nodes: Sequence[Node], end: str) -> list[onnx.NodeProto]:
    """Return nodes of which each takes the output of the one before, from one value to another."""
    names = [start, *(f"{PREFIX}{end}_{index}" for index in range(1, len(nodes))), end]
    return [
        helper.make_node(
            operator,
            [names[index], *inputs],
            [names[index + 1]],
            name=f"{PREFIX}{operator}_{end}_{index}",
            **attributes,
        )
        for index, (operator, inputs, attributes) in enumerate(nodes)
    ]


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values of a graph and its subgraphs."""
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
        for attribute in node.attribute:
            subgraphs = [attribute.g] if attribute.HasField("g") else []
            for subgraph in [*subgraphs, *attribute.graphs]:
                _rename(subgraph, names)
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)
