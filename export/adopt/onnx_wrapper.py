"""The graph of another project, wrapped: uint8 RGB images in, logits of all classes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segdeploy.backends.base import INPUT
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError

from .answers import Answers, bend
from .onnx_file import ExternalModel

PREFIX = "segdeploy_"
"""First part of the names of added nodes and values."""

RESIZE_OPSET = 11
"""First opset whose Resize takes the size of its result."""

Node = tuple[str, list[str], dict[str, Any]]
"""Operator, further inputs and attributes of a node in a chain."""


def wrap_graph(
    external: ExternalModel, card: ModelCard, *, answers: Answers, shape: tuple[int, ...]
) -> onnx.ModelProto:
    """Return the graph with nodes added before and behind it.

    It takes uint8 images then, and returns what the card says.

    Args:
        external: The file, whose graph stays as it is.
        card: Card of the new file.
        answers: What the graph returns.
        shape: (C, h, w) of its output for one image of the card's size.

    Raises:
        ConfigError: Its opset has no operator for what the card wants.
    """
    model = onnx.ModelProto()
    model.CopyFrom(external.model)
    graph = model.graph
    renamed = {name: f"{PREFIX}inner_{name}" for name in (INPUT, card.output)}
    _rename(graph, renamed)
    input_name = renamed.get(external.input_name, external.input_name)
    output_name = renamed.get(external.output_name, external.output_name)
    tensor = next(value.type.tensor_type for value in graph.input if value.name == input_name)
    batch = (tensor.shape.dim[0].dim_value or "N") if answers.layout.batch else 1
    wrapper = _Wrapper(graph=graph, card=card, opset=external.opset)
    nodes = [
        *wrapper.input_nodes(input_name, external),
        *graph.node,
        *wrapper.output_nodes(output_name, answers, shape=shape),
    ]
    del graph.node[:], graph.output[:], graph.value_info[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.append(_input_value(card, batch))
    graph.output.append(_output_value(card, batch, shape))
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


@dataclass(frozen=True, kw_only=True)
class _Wrapper:
    """Makes the nodes around a graph, and adds their constants to it.

    Attributes:
        graph: The graph.
        card: Card of the new file.
        opset: Version of the operators.
    """

    graph: onnx.GraphProto
    card: ModelCard
    opset: int

    def constant(self, name: str, values: object, dtype: type[np.generic]) -> str:
        """Add a constant, and return the name of its value."""
        array = np.array(values, dtype)
        self.graph.initializer.append(numpy_helper.from_array(array, f"{PREFIX}{name}"))
        return f"{PREFIX}{name}"

    def axes(self, operator: str, axes: list[int], since: int, **others: int) -> Node:
        """Return a node whose axes became an input in a certain opset."""
        if self.opset < since:
            return operator, [], {"axes": axes, **others}
        name = self.constant(f"axes_{operator}_{'_'.join(map(str, axes))}", axes, np.int64)
        return operator, [name], others

    def input_nodes(self, input_name: str, external: ExternalModel) -> list[onnx.NodeProto]:
        """Return the nodes from (N, H, W, 3) uint8 RGB to what the graph takes."""
        spec, first = self.card.input, external.layout == "NCHW"
        nodes: list[Node] = [("Transpose", [], {"perm": [0, 3, 1, 2]})] if first else []
        if external.element != TensorProto.UINT8:
            # (x / 255 - mean) / std as one multiplication and one addition, as in `Deployed`.
            shape = (1, 3, 1, 1) if first else (1, 1, 1, 3)
            scale = np.array([1 / (255 * std) for std in spec.std]).reshape(shape)
            shift = [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]
            nodes += [
                ("Cast", [], {"to": TensorProto.FLOAT}),
                ("Mul", [self.constant("scale", scale, np.float32)], {}),
                ("Add", [self.constant("shift", np.reshape(shift, shape), np.float32)], {}),
            ]
        if spec.bgr:
            order = self.constant("order", [2, 1, 0], np.int64)
            nodes.append(("Gather", [order], {"axis": 1 if first else 3}))
        nodes.append(("Cast", [], {"to": external.element}))
        return _chain(INPUT, nodes, input_name)

    def output_nodes(
        self, output_name: str, answers: Answers, *, shape: tuple[int, ...]
    ) -> list[onnx.NodeProto]:
        """Return the nodes from the graph's output to float32 scores, or to uint8 classes."""
        nodes: list[Node] = [("Cast", [], {"to": TensorProto.FLOAT})]
        if not answers.layout.batch:
            nodes.append(self.axes("Unsqueeze", [0], 13))
        if answers.layout.channels is None:
            nodes.append(self.axes("Unsqueeze", [1], 13))
        elif answers.layout.channels == 2:
            nodes.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
        if answers.kind == "classes":
            return self._class_nodes(output_name, nodes, shape)
        if answers.threshold is None:
            return _chain(output_name, nodes, self.card.output)
        scores = f"{PREFIX}scores"
        before = _chain(output_name, nodes, scores)
        if answers.kind == "logits":
            return [*before, *self._logit_nodes(scores, answers.threshold)]
        return [*before, *self._sigmoid_nodes(scores, answers.threshold)]

    def _logit_nodes(self, scores: str, threshold: float) -> list[onnx.NodeProto]:
        """Return nodes that put zero before the logits, less that of the threshold."""
        shift = self.constant("threshold", np.log((1 - threshold) / threshold), np.float32)
        first, zero = self.constant("first", [0], np.int64), self.constant("zero", 0, np.float32)
        return [
            *_chain(
                scores,
                [("Gather", [first], {"axis": 1}), ("Mul", [zero], {})],
                f"{PREFIX}background",
            ),
            *_chain(scores, [("Add", [shift], {})], f"{PREFIX}shifted"),
            self._concat(f"{PREFIX}background", f"{PREFIX}shifted"),
        ]

    def _sigmoid_nodes(self, scores: str, threshold: float) -> list[onnx.NodeProto]:
        """Return nodes that put 1 less the largest probability before all."""
        (low, _), (high, offset) = bend(threshold)
        names = {
            name: self.constant(name, value, np.float32)
            for name, value in (("low", low), ("high", high), ("offset", offset), ("one", 1))
        }
        bent = f"{PREFIX}bent"
        largest = [
            self.axes("ReduceMax", [1], 18, keepdims=1),
            ("Neg", [], {}),
            ("Add", [names["one"]], {}),
        ]
        return [
            *_chain(scores, [("Mul", [names["low"]], {})], f"{PREFIX}below"),
            *_chain(
                scores,
                [("Mul", [names["high"]], {}), ("Add", [names["offset"]], {})],
                f"{PREFIX}above",
            ),
            helper.make_node(
                "Min" if low > high else "Max", [f"{PREFIX}below", f"{PREFIX}above"], [bent]
            ),
            *_chain(bent, largest, f"{PREFIX}background"),
            self._concat(f"{PREFIX}background", bent),
        ]

    def _concat(self, *parts: str) -> onnx.NodeProto:
        return helper.make_node("Concat", parts, [self.card.output], name=f"{PREFIX}Concat", axis=1)

    def _class_nodes(
        self, output_name: str, nodes: list[Node], shape: tuple[int, ...]
    ) -> list[onnx.NodeProto]:
        """Return nodes that repeat classes up to the input's size."""
        spec, plane = self.card.input, f"{PREFIX}plane"
        ends: list[Node] = [
            ("Gather", [self.constant("plane_0", 0, np.int64)], {"axis": 1}),
            ("Cast", [], {"to": TensorProto.UINT8}),
        ]
        if not spec.dynamic:
            for axis, (side, target) in enumerate(
                zip(shape[-2:], (spec.height, spec.width), strict=True), start=2
            ):
                if side != target:
                    rows = self.constant(f"rows_{axis}", nearest(side, target), np.int64)
                    ends.insert(axis - 2, ("Gather", [rows], {"axis": axis}))
            return _chain(output_name, [*nodes, *ends], "classes")
        if self.opset < RESIZE_OPSET:
            msg = f"opset {self.opset} cannot resize classes to any size; leave out --dynamic"
            raise ConfigError(msg)
        return [
            *_chain(output_name, nodes, plane),
            *self._size_nodes(plane),
            *_chain(plane, [self._resize(), *ends], "classes"),
        ]

    def _size_nodes(self, plane: str) -> list[onnx.NodeProto]:
        """Return nodes that compute the size of a plane at the input's height and width."""
        before = self.constant("before", [0, 1], np.int64)
        sides = self.constant("sides", [1, 2], np.int64)
        kept, size = f"{PREFIX}kept", f"{PREFIX}size"
        return [
            *_chain(plane, [("Shape", [], {}), ("Gather", [before], {})], kept),
            *_chain(INPUT, [("Shape", [], {}), ("Gather", [sides], {})], size),
            helper.make_node("Concat", [kept, size], [f"{PREFIX}sizes"], axis=0),
        ]

    def _resize(self) -> Node:
        # Unused inputs of Resize are not optional up to opset 12.
        empty = self.constant("empty", [], np.float32)
        nearest_floor = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        return "Resize", [empty, empty, f"{PREFIX}sizes"], nearest_floor


def nearest(side: int, target: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Return the row of each of `target` rows that `side` rows are repeated to."""
    return np.arange(target, dtype=np.int64) * side // target


def _chain(start: str, nodes: Sequence[Node], end: str) -> list[onnx.NodeProto]:
    """Return nodes of which each takes the output of the one before, from one value to another."""
    stem = end.removeprefix(PREFIX)
    names = [start, *(f"{PREFIX}{stem}_{index}" for index in range(1, len(nodes))), end]
    return [
        helper.make_node(
            operator,
            [names[index], *inputs],
            [names[index + 1]],
            name=f"{PREFIX}{operator}_{stem}_{index}",
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
