"""An ONNX graph in 8 bits: static, each weight's channel with a scale of its own, U8 activations and S8 weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from .quiet import quiet
from .ranges import OPERATIONS

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operations that nearly all of a network's time goes into."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A graph's nodes by what becomes of them.

    Attributes:
        always_float: Before the first weight, where the picture is prepared, and from the last one on, where logits would become
            equal and labels be decided by their order.
        groups: All others, in the order of execution, each group from a weight up to the next one.
    """

    always_float: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]


def layers_of(model: onnx.ModelProto, *, most: int) -> Layers:
    """Divide a graph into layers; neighbours are put together until there are no more than `most` groups."""
    nodes = list(model.graph.node)
    weighted = [place for place, node in enumerate(nodes) if node.op_type in WEIGHTED]
    if not weighted:
        return Layers(always_float=tuple(node.name for node in nodes), groups=())
    names = [node.name for node in nodes]
    starts, last = weighted[:-1], weighted[-1]
    size = -(-len(starts) // most) if starts else 1
    bounds = [*starts[::size], last]
    groups = tuple(tuple(names[start:end]) for start, end in pairwise(bounds))
    return Layers(always_float=(*names[: weighted[0]], *names[last:]), groups=groups)


def quantize(model: onnx.ModelProto, ranges: TensorsData, *, reduced: bool, in_float: Sequence[str]) -> onnx.ModelProto:
    """Give a graph in 8 bits.

    Args:
        model: A graph in float32, which stays as it is.
        ranges: Between which numbers each value lies.
        reduced: Whether weights have 7 bits: processors without VNNI add two products in 16 bits, which 8 bits overflow.
        in_float: Names of nodes that stay in float32.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with quiet():
        quantizer = QDQQuantizer(copy, True, reduced, QuantType.QInt8, QuantType.QUInt8, ranges, [], list(in_float), OPERATIONS, {})  # noqa: FBT003 - ONNX Runtime's signature: per channel, reduced range
        quantizer.quantize_model()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
