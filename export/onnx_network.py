"""An ONNX file with a card as the network of an export: adopted, or exported before."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from msgspec import structs
from onnx import TensorProto, helper, numpy_helper, version_converter

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import INPUT, Backend, RuntimeOptions, WrappedBackend
from segdeploy.backends.loading import KINDS, read_card
from segdeploy.backends.onnx_session import FAILURES
from segdeploy.card import ModelCard, Output
from segdeploy.errors import ConfigError, ExportError
from segdeploy.models.blocks import upsample_logits
from segdeploy.system.files import temporary_folder

LEAST_OPSET = 13
"""First opset whose quantized weights have a scale for each channel."""

CONVERTED_OPSET = 17

PREFIX = "segdeploy_output_"


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxNetwork:
    """A network that exists as an ONNX graph only.

    Attributes:
        path: The file.
        card: Its card.
        model: Its graph in float32, with what the plan's card says as output.
        one_image: Whether it takes one image at a time only.
    """

    path: Path
    card: ModelCard
    model: onnx.ModelProto
    one_image: bool

    def with_output(self, card: ModelCard) -> "OnnxNetwork":
        """Return the network with another output: of its logits, classes or probabilities.

        Raises:
            ConfigError: Its output cannot become that.
        """
        if card.output == self.card.output and not card.confidence:
            return self
        if self.card.output == "classes" or card.output == "logits" or card.confidence:
            wanted = f"{card.output} with confidence" if card.confidence else card.output
            msg = (
                f"{self.path} returns {self.card.output}, which cannot become {wanted}; choose"
                f" --output {self.card.output}"
            )
            raise ConfigError(msg)
        return replace(self, model=_extended(self.model, self.card, card))

    def reference(self, card: ModelCard) -> Backend:
        """Return the file itself, with the output of a card."""
        backend = KINDS[".onnx"].load(self.path, RuntimeOptions(device="cpu"))
        return backend if card.output == self.card.output else _Upsampled(backend, card=card)


class _Upsampled(WrappedBackend):
    """A file whose logits or probabilities are upsampled by PyTorch, as in files of ours."""

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the classes or the probabilities of images, (N, H, W, 3) uint8 RGB."""
        scores = torch.from_numpy(np.asarray(super().run(batch)))
        upsampled = upsample_logits(scores, batch.shape[1], width=batch.shape[2])
        if self.card.output == "classes":
            return np.asarray(upsampled.argmax(1).numpy(), dtype=np.uint8)
        return np.asarray(upsampled.softmax(1).numpy(), dtype=np.float32)


def read_network(path: Path) -> OnnxNetwork:
    """Read an ONNX file with a card, and simplify its graph.

    Raises:
        ModelError: It cannot be read.
        CardError: It has no card.
        ExportError: It does not compute in float32, or cannot be simplified.
    """
    card = read_card(path)
    if card.precision != "fp32":
        msg = f"{path} computes in {card.precision}; export the file in fp32 that it was made of"
        raise ExportError(msg)
    # It makes sure that the file runs, and that nothing in it is hostile.
    KINDS[".onnx"].load(path, RuntimeOptions(device="cpu"))
    model = _simplified(path)
    _name_nodes(model.graph)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    return OnnxNetwork(path=path, card=card, model=model, one_image=batch.dim_value == 1)


def _simplified(path: Path) -> onnx.ModelProto:
    """Return a graph with its constants computed and its batch norms merged into convolutions."""
    try:
        model = onnx.load(path)
        if opset_of(model) < LEAST_OPSET:
            model = version_converter.convert_version(model, CONVERTED_OPSET)
        with temporary_folder() as folder:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.optimized_model_filepath = str(folder / "simple.onnx")
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            simple = onnx.load(options.optimized_model_filepath)
    except (*FAILURES, RuntimeError, ValueError, version_converter.ConvertError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{path} cannot be simplified for an export ({reason}); write it with a newer opset"
        raise ExportError(msg) from error
    used = {node.domain or "" for node in simple.graph.node}
    kept = [entry for entry in simple.opset_import if entry.domain in used | {""}]
    del simple.opset_import[:]
    simple.opset_import.extend(kept)
    # Sizes that were inferred of the example's batch would be false for others.
    del simple.graph.value_info[:], simple.metadata_props[:]
    return simple


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators in a model."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return max(versions, default=1)


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Name each node uniquely: quantization leaves some out by their names."""
    seen: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
        seen.add(node.name)


def _extended(model: onnx.ModelProto, source: ModelCard, card: ModelCard) -> onnx.ModelProto:
    """Return a graph whose scores are upsampled to the input, and made classes or probabilities."""
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    graph, scores = extended.graph, source.output
    constants: dict[str, npt.NDArray[Any]] = {
        "sides": np.array([1, 2], np.int64),
        "before": np.array([0, 1], np.int64),
        "none": np.array([], np.float32),
    }
    graph.initializer.extend(
        numpy_helper.from_array(value, f"{PREFIX}{name}") for name, value in constants.items()
    )
    name = {
        key: f"{PREFIX}{key}" for key in (*constants, "shape", "kept", "input", "size", "sizes")
    }
    upsampled = f"{PREFIX}upsampled"
    nodes = [
        helper.make_node("Shape", [scores], [name["shape"]]),
        helper.make_node("Gather", [name["shape"], name["before"]], [name["kept"]]),
        helper.make_node("Shape", [INPUT], [name["input"]]),
        helper.make_node("Gather", [name["input"], name["sides"]], [name["size"]]),
        helper.make_node("Concat", [name["kept"], name["size"]], [name["sizes"]], axis=0),
        helper.make_node(
            "Resize",
            [scores, name["none"], name["none"], name["sizes"]],
            [upsampled],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        *_ends(upsampled, source.output, card.output),
    ]
    for index, node in enumerate(nodes):
        node.name = f"{PREFIX}{node.op_type}_{index}"
    graph.node.extend(nodes)
    batch, height, width, _ = graph.input[0].type.tensor_type.shape.dim
    sides = [dim.dim_value or dim.dim_param for dim in (batch, height, width)]
    del graph.output[:]
    if card.output == "classes":
        value = helper.make_tensor_value_info("classes", TensorProto.UINT8, sides)
    else:
        shape = [sides[0], len(card.classes), *sides[1:]]
        value = helper.make_tensor_value_info(card.output, TensorProto.FLOAT, shape)
    graph.output.append(value)
    return extended


def _ends(upsampled: str, source: Output, wanted: Output) -> list[onnx.NodeProto]:
    """Return the nodes behind upsampled scores."""
    if wanted == "probabilities":
        if source == "logits":
            return [helper.make_node("Softmax", [upsampled], [wanted], axis=1)]
        return [helper.make_node("Identity", [upsampled], [wanted])]
    indices = f"{PREFIX}indices"
    return [
        helper.make_node("ArgMax", [upsampled], [indices], axis=1, keepdims=0),
        helper.make_node("Cast", [indices], [wanted], to=TensorProto.UINT8),
    ]


def fitting_card(network: OnnxNetwork, card: ModelCard) -> ModelCard:
    """Return the card of the files: what the graph takes cannot be changed.

    Args:
        network: The network.
        card: Its card with the options applied.

    Raises:
        ConfigError: An option wants another input.
    """
    own = network.card.input
    size = (card.input.height, card.input.width)
    if not own.dynamic and (card.input.dynamic or size != (own.height, own.width)):
        option = "--dynamic" if card.input.dynamic else "--imgsz"
        msg = f"{network.path} takes {own.height}x{own.width} only; leave {option} out"
        raise ConfigError(msg)
    if any(side % own.stride for side in size):
        msg = f"{network.path} takes multiples of {own.stride}; choose another --imgsz"
        raise ConfigError(msg)
    return structs.replace(card, input=structs.replace(card.input, dynamic=own.dynamic))
