"""ONNX files of other projects: what they take, what they return, and what they say of themselves.

Opsets, layouts and types of all kinds are accepted; the graph stays as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
from onnx import TensorProto, helper, numpy_helper, version_converter

from segdeploy.backends.onnx_graph import check_graph
from segdeploy.backends.onnx_metadata import metadata_of, read_message
from segdeploy.backends.onnx_session import FAILURES
from segdeploy.errors import ConfigError, ModelError

INPUT_TYPES: Mapping[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.UINT8: np.uint8,
}
"""Element types of images, with numpy's."""

LEAST_OPSET = 7
"""First opset whose Add and Mul broadcast as numpy does; older files are converted."""

NEWER_OPSET = 13

LEAST_IR = 8
"""From version 4 on weights need not be listed among the inputs."""

PASSING = {
    "Cast",
    "Concat",
    "Flatten",
    "Identity",
    "Reshape",
    "Resize",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "Upsample",
}
"""Operators that move numbers and do not change what they mean."""


@dataclass(frozen=True, kw_only=True)
class ExternalModel:
    """An ONNX file of another project.

    Attributes:
        path: The file.
        model: Its graph, with the weights.
        input_name: Name of its input.
        output_name: Name of the output that is used; others are dropped.
        dropped: Names of the other outputs.
        layout: Order of the axes of its input.
        element: Element type of its input, a key of INPUT_TYPES.
        size: Height and width of its input, in pixels; None where it accepts any.
        metadata: Texts that it carries, by their keys.
    """

    path: Path
    model: onnx.ModelProto
    input_name: str
    output_name: str
    dropped: tuple[str, ...]
    layout: Literal["NCHW", "NHWC"]
    element: int
    size: tuple[int, int] | None
    metadata: Mapping[str, str]

    @property
    def precision(self) -> str:
        """Precision that it computes in."""
        quantized = any(node.op_type == "QuantizeLinear" for node in self.model.graph.node)
        half = self.element == TensorProto.FLOAT16 or any(
            tensor.data_type == TensorProto.FLOAT16 for tensor in self.model.graph.initializer
        )
        return "int8" if quantized else "fp16" if half else "fp32"

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators."""
        return opset_of(self.model)

    @property
    def last_operator(self) -> str:
        """The last operator before the output that computes something; "" if there is none."""
        makers = {name: node for node in self.model.graph.node for name in node.output}
        name, steps = self.output_name, 0
        while name in makers and steps < len(makers):
            node = makers[name]
            if node.op_type not in PASSING:
                return str(node.op_type)
            name, steps = node.input[0], steps + 1
        return ""


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators in a model."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return max(versions, default=1)


def read_external(path: Path, *, output_name: str | None = None) -> ExternalModel:
    """Read an ONNX file of another project.

    Args:
        path: The file.
        output_name: Output to use; None for the only one, or the first if it is plainly the one.

    Raises:
        ModelError: It is missing, damaged, refers to files outside its folder, does not take one
            batch of color images, or has weights that are not numbers.
        ConfigError: It has several outputs and none is named, or none of that name.
    """
    # It checks what an untrusted file refers to.
    content = read_message(path)
    check_graph(content, path)
    metadata = metadata_of(content, path)
    try:
        model = onnx.load(path)
    except (OSError, ValueError, onnx.checker.ValidationError, DecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{path} cannot be read ({reason}); check that its weights lie beside it"
        raise ModelError(msg) from error
    model = _modern(model, path)
    _check_weights(model, path)
    value = _image_input(model.graph, path)
    tensor = value.type.tensor_type
    shape = [dim.dim_value for dim in tensor.shape.dim]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    if shape[1] not in (0, 3) or (shape[3] == 3 and shape[1] != 3):
        layout = "NHWC"
    height, width = shape[2:] if layout == "NCHW" else shape[1:3]
    chosen, dropped = _choose_output(model.graph, output_name, path)
    return ExternalModel(
        path=path,
        model=model,
        input_name=value.name,
        output_name=chosen,
        dropped=dropped,
        layout=layout,
        element=tensor.elem_type,
        size=(height, width) if height and width else None,
        metadata=metadata,
    )


def _modern(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return the model with weights apart from its inputs, and with operators that broadcast.

    Files of the first versions list weights among the inputs, for which ONNX Runtime prints a page
    of warnings.
    """
    if opset_of(model) < LEAST_OPSET:
        try:
            model = version_converter.convert_version(model, NEWER_OPSET)
        # The converter is C++ and raises RuntimeError, or an error of its own.
        except (RuntimeError, ValueError, version_converter.ConvertError) as error:
            reason = " ".join(str(error).split())[:200]
            msg = (
                f"{path} has opset {opset_of(model)}, and cannot be converted to {NEWER_OPSET}"
                f" ({reason}); export it again with a newer opset"
            )
            raise ModelError(msg) from error
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, LEAST_IR)
    return model


def _check_weights(model: onnx.ModelProto, path: Path) -> None:
    """Raise a ModelError for weights that are not numbers."""
    for tensor in model.graph.initializer:
        if tensor.data_type in INPUT_TYPES and np.isnan(numpy_helper.to_array(tensor)).any():
            msg = f"{path} has NaN among the weights of {tensor.name!r}; train or export it again"
            raise ModelError(msg)


def _image_input(graph: onnx.GraphProto, path: Path) -> onnx.ValueInfoProto:
    """Return the input, and make sure that it is one image of three channels."""
    described = ", ".join(_describe(value) for value in graph.input)
    if len(graph.input) == 1:
        tensor = graph.input[0].type.tensor_type
        shape = [dim.dim_value for dim in tensor.shape.dim]
        if tensor.elem_type in INPUT_TYPES and len(shape) == 4:
            if shape[0] > 1:
                msg = (
                    f"{path} takes {described}, always {shape[0]} images at a time; export it for"
                    " one image, or for any number"
                )
                raise ModelError(msg)
            if shape[1] in (0, 3) or shape[3] in (0, 3):
                value: onnx.ValueInfoProto = graph.input[0]
                return value
    msg = (
        f"{path} takes {described or 'nothing'}; a network that can be adopted takes one batch of"
        " color images, (N, 3, H, W) or (N, H, W, 3), as float or uint8"
    )
    raise ModelError(msg)


def _describe(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sides = [str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim]
    kind = TensorProto.DataType.Name(tensor.elem_type)
    return f"{value.name} of {kind}, ({', '.join(sides)})"


def _choose_output(
    graph: onnx.GraphProto, name: str | None, path: Path
) -> tuple[str, tuple[str, ...]]:
    """Return the name of the output to use, and those of the others."""
    names = [value.name for value in graph.output]
    described = "; ".join(_describe(value) for value in graph.output)
    if name is not None and name not in names:
        msg = f"{path} has no output {name!r}; choose one with --output-name: {described}"
        raise ConfigError(msg)
    if name is None:
        images = [value.name for value in graph.output if _may_be_image(value)]
        plain = [one for one in images if "aux" not in one.lower()]
        if not images or (len(plain) > 1 or (plain and plain[0] != images[0])):
            msg = f"{path} returns {described or 'nothing'}; choose one output with --output-name"
            raise ConfigError(msg)
        name = (plain or images)[0]
    return name, tuple(other for other in names if other != name)


def _may_be_image(value: onnx.ValueInfoProto) -> bool:
    """Return whether an output has rows and columns, as far as its declared shape tells."""
    tensor = value.type.tensor_type
    sides = [dim.dim_value for dim in tensor.shape.dim]
    return (
        not tensor.HasField("shape")
        or (len(sides) >= 2 and sides[-1] != 1 != sides[-2])
        or (len(sides) == 4 and sides[3] == 1 and sides[1] != 1)
    )


def open_session(
    model: onnx.ModelProto, path: Path, *, outputs: Sequence[str] = ()
) -> onnxruntime.InferenceSession:
    """Return a session of an external graph on the CPU, which prints nothing.

    Args:
        model: The graph; its weights may lie in files beside `path`.
        path: Where it comes from.
        outputs: Names of values that are returned too.

    Raises:
        ModelError: ONNX Runtime does not run it.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            copy.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except FAILURES as error:
        reason = " ".join(str(error).split())[:200]
        msg = (
            f"{path} cannot be run by ONNX Runtime {onnxruntime.__version__} ({reason}); convert it"
            " again"
        )
        raise ModelError(msg) from error
