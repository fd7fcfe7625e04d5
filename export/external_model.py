"""Networks of others: their weights, and a card around their ONNX graph."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from segdeploy.backends.onnx_runtime import INPUT
from segdeploy.card import ModelCard
from segdeploy.errors import ModelError
from segdeploy.models.weights import read_plain

OURS = "segdeploy_"
"""What the names of added nodes and values begin with."""


def wrap_graph(
    foreign: onnx.ModelProto,
    card: ModelCard,
    *,
    taken: str,
    given: str,
    answered: tuple[int, ...],
    bgr: bool,
) -> onnx.ModelProto:
    """Put nodes before and behind a foreign graph, so that it takes uint8 images and answers what its card says.

    Args:
        foreign: The graph, which stays as it is.
        card: What it shall tell.
        taken: Name of its input.
        given: Name of the output that is kept.
        answered: Shape of its answer to one image: (K, h, w) logits, or classes, (1, h, w) or (h,
            w).
        bgr: Whether it takes blue-green-red.
    """
    model = onnx.ModelProto()
    model.CopyFrom(foreign)
    graph = model.graph
    _rename(graph, {name: f"{OURS}inner_{name}" for name in (INPUT, card.output)})
    taken, given = (
        f"{OURS}inner_{name}" if name in (INPUT, card.output) else name for name in (taken, given)
    )
    kind = next(value.type.tensor_type for value in graph.input if value.name == taken)
    images = kind.shape.dim[0].dim_value or "N"
    front = _front(graph, card, taken, half=kind.elem_type == TensorProto.FLOAT16, bgr=bgr)
    back = _back(graph, card, given, answered)
    nodes = [*front, *graph.node, *back]
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    kept = [value for value in graph.input if value.name != taken]
    del graph.input[:]
    spec = card.input
    sides = [images, "H", "W", 3] if spec.dynamic else [images, spec.height, spec.width, 3]
    graph.input.extend([helper.make_tensor_value_info(INPUT, TensorProto.UINT8, sides), *kept])
    graph.output.append(_output(card, images, answered))
    return model


def _output(card: ModelCard, images: int | str, answered: tuple[int, ...]) -> onnx.ValueInfoProto:
    spec = card.input
    if card.output == "classes":
        sides = [images, "H", "W"] if spec.dynamic else [images, spec.height, spec.width]
        return helper.make_tensor_value_info("classes", TensorProto.UINT8, sides)
    small = ["h", "w"] if spec.dynamic else answered[-2:]
    return helper.make_tensor_value_info(
        card.output, TensorProto.FLOAT, [images, len(card.classes), *small]
    )


def _front(
    graph: onnx.GraphProto, card: ModelCard, taken: str, *, half: bool, bgr: bool
) -> list[onnx.NodeProto]:
    """Turn (N, H, W, 3) uint8 red-green-blue into what the foreign graph takes."""
    spec = card.input
    # (x / 255 - mean) / std as one multiplication and one addition, as in `Deployed`.
    scale = np.array([1 / (255 * value) for value in spec.std], np.float32).reshape(1, 3, 1, 1)
    shift = np.array(
        [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)], np.float32
    ).reshape(1, 3, 1, 1)
    graph.initializer.extend(
        [
            numpy_helper.from_array(scale, f"{OURS}scale"),
            numpy_helper.from_array(shift, f"{OURS}shift"),
        ]
    )
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Mul", [f"{OURS}scale"], {}),
        ("Add", [f"{OURS}shift"], {}),
    ]
    if bgr:
        graph.initializer.append(
            numpy_helper.from_array(np.array([2, 1, 0], np.int64), f"{OURS}order")
        )
        steps.append(("Gather", [f"{OURS}order"], {"axis": 1}))
    steps.append(("Cast", [], {"to": TensorProto.FLOAT16 if half else TensorProto.FLOAT}))
    return _chain(INPUT, steps, taken)


def _back(
    graph: onnx.GraphProto, card: ModelCard, given: str, answered: tuple[int, ...]
) -> list[onnx.NodeProto]:
    """Turn what the foreign graph gives into float32 logits, or into uint8 classes of the input's size."""
    if card.output != "classes":
        return _chain(given, [("Cast", [], {"to": TensorProto.FLOAT})], card.output)
    constants: dict[str, Any] = {
        # Whatever stands before height and width stays: the images, and in some files a plane of
        # their own.
        "before": np.arange(len(answered) - 1, dtype=np.int64),
        "sides": np.array([1, 2], np.int64),
        # Not used, and not optional up to opset 12.
        "empty": np.array([], np.float32),
        "first": np.array(0, np.int64),
    }
    graph.initializer.extend(
        numpy_helper.from_array(value, f"{OURS}{name}") for name, value in constants.items()
    )
    size = [
        helper.make_node("Shape", [given], [f"{OURS}small"]),
        helper.make_node("Shape", [INPUT], [f"{OURS}large"]),
        helper.make_node("Gather", [f"{OURS}small", f"{OURS}before"], [f"{OURS}kept"]),
        helper.make_node("Gather", [f"{OURS}large", f"{OURS}sides"], [f"{OURS}enlarged"]),
        helper.make_node("Concat", [f"{OURS}kept", f"{OURS}enlarged"], [f"{OURS}sizes"], axis=0),
    ]
    nearest = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Resize", [f"{OURS}empty", f"{OURS}empty", f"{OURS}sizes"], dict(nearest)),
        *([("Gather", [f"{OURS}first"], {"axis": 1})] if len(answered) == 3 else []),
        ("Cast", [], {"to": TensorProto.UINT8}),
    ]
    return [*size, *_chain(given, steps, card.output)]


def _chain(
    value: str, steps: list[tuple[str, list[str], dict[str, Any]]], end: str
) -> list[onnx.NodeProto]:
    """Make nodes of which each takes what the one before gives, from one value to another."""
    names = [value, *(f"{OURS}{end}_{place}" for place in range(1, len(steps))), end]
    return [
        helper.make_node(
            kind,
            [names[place], *more],
            [names[place + 1]],
            name=f"{OURS}{kind}_{end}_{place}",
            **attributes,
        )
        for place, (kind, more, attributes) in enumerate(steps)
    ]


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Return values of a graph other names, so that ours are free."""
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(
                attribute.graphs
            ):
                _rename(inner, names)
    for one in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        one.name = names.get(one.name, one.name)


PLACES = ("state_dict", "model_state_dict", "model", "weights", "net")
"""Where trainers put the weights."""

ADVICE = "save them with torch.save(network.state_dict(), ...)"


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read weights by their names; only tensors and plain values are ever built from the file.

    Raises:
        ModelError: The file is missing or damaged, holds more than that, or no weights.
    """
    content = read_plain(path, advice=ADVICE)
    held = (
        [content, *(content[place] for place in PLACES if place in content)]
        if isinstance(content, dict)
        else []
    )
    found = next(
        (
            one
            for one in held
            if isinstance(one, dict)
            and one
            and all(isinstance(value, Tensor) for value in one.values())
        ),
        None,
    )
    if found is None:
        msg = f"{path} holds no weights; {ADVICE}"
        raise ModelError(msg)
    # What DistributedDataParallel puts before every name.
    return {str(name).removeprefix("module."): value for name, value in found.items()}
