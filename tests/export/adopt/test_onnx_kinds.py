"""ONNX files of every layout, type and kind of output are adopted, and mean what they meant."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segdeploy.backends.loading import load_backend
from segdeploy.errors import ConfigError, ModelError
from segdeploy.export.adopt.adoption import adopt_model
from segdeploy.export.adopt.config import Adoption
from segdeploy.imaging.io import write_image

HEIGHT, WIDTH = 8, 12
BATCH = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
RED, GREEN, BLUE = (BATCH[..., channel].astype(np.float32) / 255 for channel in range(3))


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A network of one convolution of 1x1, with what stands before and behind it.

    Attributes:
        weights: Weight of red, green and blue in each channel.
        bias: Bias of each channel.
        ends: Operators behind it, with their attributes.
        shape: Shape of the output.
        element: Element type of the input.
        answer: Element type of the output.
        nhwc: Whether the input is (N, H, W, 3).
        images: First axis of the input.
        opset: Version of the operators.
        listed: Whether weights stand among the inputs too.
        extra: Names and shapes of further outputs, which are copies of the input.
        metadata: Texts of the file.
    """

    weights: Sequence[Sequence[float]]
    bias: Sequence[float]
    ends: Sequence[tuple[str, dict[str, Any]]] = ()
    shape: Sequence[int | str] = ()
    element: int = TensorProto.FLOAT
    answer: int = TensorProto.FLOAT
    nhwc: bool = False
    images: int | str = "N"
    opset: int = 13
    listed: bool = False
    extra: Sequence[str] = ()
    metadata: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        number = np.float16 if self.element == TensorProto.FLOAT16 else np.float32
        constants = [
            numpy_helper.from_array(np.array(self.weights, number)[..., None, None], "w"),
            numpy_helper.from_array(np.array(self.bias, number), "b"),
        ]
        before = [("Transpose", {"perm": [0, 3, 1, 2]})] if self.nhwc else []
        if self.element == TensorProto.UINT8:
            before += [("Cast", {"to": TensorProto.FLOAT}), ("Mul", {})]
            constants.append(numpy_helper.from_array(np.array(1 / 255, np.float32), "unit"))
        chain = [*before, ("Conv", {}), *self.ends]
        names = ["x", *(f"v{index}" for index in range(1, len(chain))), "y"]
        inputs = {"Conv": ["w", "b"], "Mul": ["unit"]}
        nodes = [
            helper.make_node(
                kind, [names[index], *inputs.get(kind, [])], [names[index + 1]], **attributes
            )
            for index, (kind, attributes) in enumerate(chain)
        ]
        nodes += [helper.make_node("Identity", ["x"], [name]) for name in self.extra]
        sides = [HEIGHT, WIDTH, 3] if self.nhwc else [3, HEIGHT, WIDTH]
        taken = [helper.make_tensor_value_info("x", self.element, [self.images, *sides])]
        if self.listed:
            taken += [
                helper.make_tensor_value_info(one.name, one.data_type, one.dims)
                for one in constants
            ]
        shape = self.shape or [self.images, len(self.weights), HEIGHT, WIDTH]
        given = [helper.make_tensor_value_info("y", self.answer, shape)]
        given += [
            helper.make_tensor_value_info(name, self.element, [self.images, *sides])
            for name in self.extra
        ]
        graph = helper.make_graph(nodes, "theirs", taken, given, initializer=constants)
        opset = helper.make_opsetid("", self.opset)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=3 if self.listed else 7)
        helper.set_model_props(model, self.metadata)
        path.write_bytes(model.SerializeToString())
        return path


COLORS = {"weights": np.eye(3).tolist(), "bias": [0.0, -0.1, 0.1]}
BEST = np.argmax([RED, GREEN - 0.1, BLUE + 0.1], axis=0)
UNIT = {"mean": (0, 0, 0), "std": (1, 1, 1)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images for the proofs."""
    folder = tmp_path_factory.mktemp("images")
    for index, image in enumerate(BATCH):
        write_image(folder / f"{index}.png", image[..., ::-1].copy())
    return folder


def adopted(folder: Path, graph: Graph, images: Path, **options: Any) -> Adoption:
    path = graph.write(folder / "theirs.onnx")
    return adopt_model(
        path, **{"classes": "a,b,c", "files": (images,), **UNIT, **options}, output_file=None
    )


def masks_of(adoption: Adoption) -> np.ndarray:
    output = load_backend(adoption.path, device="cpu", threads=1).run(BATCH)
    return output.argmax(1) if output.ndim == 4 else output


def test_file_of_any_layout_and_type_gives_the_same_labels(tmp_path: Path, images: Path) -> None:
    """Each is how one of the usual exporters writes its files."""
    last = {"perm": [0, 2, 3, 1]}
    graphs = {
        "TensorFlow's": Graph(
            **COLORS, nhwc=True, ends=[("Transpose", last)], shape=["N", HEIGHT, WIDTH, 3]
        ),
        "channels last behind": Graph(
            **COLORS, ends=[("Transpose", last)], shape=["N", HEIGHT, WIDTH, 3]
        ),
        "half": Graph(**COLORS, element=TensorProto.FLOAT16, answer=TensorProto.FLOAT16),
        "uint8": Graph(**COLORS, element=TensorProto.UINT8, nhwc=True),
        "without a batch": Graph(
            **COLORS,
            ends=[("Squeeze", {"axes": [0]})],
            shape=[3, HEIGHT, WIDTH],
            images=1,
            opset=11,
        ),
        "weights among the inputs": Graph(**COLORS, listed=True, opset=8),
        "classes of one image": Graph(
            **COLORS,
            ends=[("ArgMax", {"axis": 1, "keepdims": 0}), ("Squeeze", {"axes": [0]})],
            shape=[HEIGHT, WIDTH],
            answer=TensorProto.INT64,
            images=1,
            opset=11,
        ),
        "classes as floats": Graph(
            **COLORS,
            ends=[("ArgMax", {"axis": 1}), ("Cast", {"to": TensorProto.FLOAT})],
            shape=["N", 1, HEIGHT, WIDTH],
        ),
        "classes in 32 bits, last": Graph(
            **COLORS,
            ends=[
                ("ArgMax", {"axis": 1}),
                ("Cast", {"to": TensorProto.INT32}),
                ("Transpose", last),
            ],
            shape=["N", HEIGHT, WIDTH, 1],
            answer=TensorProto.INT32,
        ),
    }

    for name, graph in graphs.items():
        told = {} if name != "uint8" else {"mean": None, "std": None}
        masks = masks_of(adopted(tmp_path, graph, images, **told))

        assert (masks == BEST).mean() > (0.97 if name == "half" else 0.999), name


@pytest.mark.parametrize(("opset", "threshold"), [(7, None), (13, 0.3), (18, 0.7)])
@pytest.mark.parametrize("end", ["", "Sigmoid"])
def test_one_channel_becomes_background_and_foreground(
    tmp_path: Path, images: Path, opset: int, threshold: float | None, end: str
) -> None:
    """A softmax of one channel is always 1: every pixel would be the one class."""
    graph = Graph(weights=[[8.0, 0, 0]], bias=[-4.0], ends=[(end, {})] if end else [], opset=opset)
    probability = 1 / (1 + np.exp(4 - 8 * RED))

    adoption = adopted(tmp_path, graph, images, classes="auto", threshold=threshold)

    assert [entry.name for entry in adoption.card.classes] == ["background", "foreground"]
    np.testing.assert_array_equal(masks_of(adoption), probability > (threshold or 0.5))
    assert adoption.card.conversion["threshold"] == (threshold or 0.5)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("end", ["", "Sigmoid"])
def test_classes_beside_a_background_that_has_no_channel(
    tmp_path: Path, images: Path, opset: int, end: str
) -> None:
    """It wins where no sigmoid reaches the threshold."""
    weights, bias = [[8.0, 0, 0], [0, 8.0, 0]], [-4.0, -5.0]
    graph = Graph(weights=weights, bias=bias, ends=[(end, {})] if end else [], opset=opset)
    logits = np.stack([8 * RED - 4, 8 * GREEN - 5])

    adoption = adopted(tmp_path, graph, images, classes="crack,hole", background="road")

    assert [entry.name for entry in adoption.card.classes] == ["road", "crack", "hole"]
    expected = np.where((logits > 0).any(0), logits.argmax(0) + 1, 0)
    np.testing.assert_array_equal(masks_of(adoption), expected)


def test_probabilities_are_not_taken_for_logits(tmp_path: Path, images: Path) -> None:
    """Softmax taken twice would halve the confidence everywhere."""
    adoption = adopted(tmp_path, Graph(**COLORS, ends=[("Softmax", {"axis": 1})]), images)

    output = load_backend(adoption.path, device="cpu", threads=1).run(BATCH)

    assert adoption.card.output == "probabilities"
    np.testing.assert_allclose(output.sum(1), 1, atol=1e-5)


def test_one_of_several_outputs_is_asked_for_where_it_is_not_plain(
    tmp_path: Path, images: Path
) -> None:
    with pytest.raises(ConfigError, match=r"returns y of FLOAT, .*; z of .*--output-name"):
        adopted(tmp_path, Graph(**COLORS, extra=["z"]), images)

    named = adopted(tmp_path, Graph(**COLORS, extra=["z"]), images, output_name="z")
    np.testing.assert_array_equal(masks_of(named), np.argmax([RED, GREEN, BLUE], axis=0))

    plain = adopted(tmp_path, Graph(**COLORS, extra=["auxiliary"]), images)
    np.testing.assert_array_equal(masks_of(plain), BEST)
    assert "of its outputs only 'y' is kept" in plain.warnings[-1]


def test_metadata_of_ultralytics_names_classes_and_images(tmp_path: Path, images: Path) -> None:
    metadata = {"author": "Ultralytics", "names": "{0: 'road', 1: 'car', 2: 'sky'}", "stride": "4"}
    nothing_told = {"classes": "auto", "mean": None, "std": None}

    adoption = adopted(tmp_path, Graph(**COLORS, metadata=metadata), images, **nothing_told)

    card = adoption.card
    assert [entry.name for entry in card.classes] == ["road", "car", "sky"]
    assert (card.input.stride, card.input.fit, card.input.std) == (4, "pad", (1, 1, 1))
    assert adoption.finding.source == "file"
    np.testing.assert_array_equal(masks_of(adoption), BEST)


@pytest.mark.parametrize(
    ("graph", "options", "error", "text"),
    [
        (Graph(**COLORS, images=2), {}, ModelError, "always 2 images at a time"),
        (Graph(weights=COLORS["weights"], bias=[0, np.nan, 0]), {}, ModelError, "has NaN among"),
        (
            Graph(**COLORS, ends=[("ArgMax", {"axis": 1})], answer=TensorProto.INT64),
            {"classes": "auto"},
            ModelError,
            "returns classes and does not name them",
        ),
        (Graph(**COLORS), {"classes": "cityscape"}, ConfigError, "--classes knows no such set"),
        (
            Graph(**COLORS, element=TensorProto.UINT8, nhwc=True),
            {},
            ConfigError,
            "--mean and --std have no effect",
        ),
        (Graph(**COLORS), {"std": None}, ConfigError, "--mean is given and --std is not"),
    ],
)
def test_what_cannot_be_adopted_is_refused(
    tmp_path: Path,
    images: Path,
    graph: Graph,
    options: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    with pytest.raises(error, match=text):
        adopted(tmp_path, graph, images, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.onnx"]


def test_adopted_file_is_not_adopted_again(tmp_path: Path, images: Path) -> None:
    adoption = adopted(tmp_path, Graph(**COLORS), images)

    with pytest.raises(ConfigError, match="has a card already"):
        adopt_model(adoption.path, classes="a,b,c")


def test_file_is_valid_onnx(tmp_path: Path, images: Path) -> None:
    """OpenCV, browsers and other runtimes read it too."""
    graph = Graph(weights=[[8.0, 0, 0]], bias=[-4.0], ends=[("Sigmoid", {})], listed=True)

    adoption = adopted(tmp_path, graph, images, classes="auto")

    onnx.checker.check_model(onnx.load(adoption.path), full_check=True)
