"""An ONNX file with a card, adopted or exported before, is exported like a checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segdeploy.backends.loading import load_backend, read_card
from segdeploy.card import Output
from segdeploy.errors import ConfigError, ExportError
from segdeploy.export import ExportConfig, adopt_model
from segdeploy.export.exporter import export_checkpoint
from segdeploy.imaging.io import write_image
from segdeploy.imaging.postprocess import to_mask

BATCH = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adopted network of three convolutions at a stride of 2, of an old opset."""
    folder = tmp_path_factory.mktemp("adopted")
    random = np.random.default_rng(1)
    sizes = [(8, 3, 3), (8, 8, 3), (3, 8, 1)]
    names = ["x", "a", "b", "c", "d", "y"]
    kinds = ["Conv", "Relu", "Conv", "Relu", "Conv"]
    weights = iter(range(len(sizes)))
    nodes = [
        helper.make_node(kind, [one, f"w{next(weights)}"] if kind == "Conv" else [one], [other])
        for kind, one, other in zip(kinds, names[:-1], names[1:], strict=True)
    ]
    for node in nodes[:3:2]:
        node.attribute.append(helper.make_attribute("pads", [1, 1, 1, 1]))
    nodes[0].attribute.append(helper.make_attribute("strides", [2, 2]))
    constants = [
        numpy_helper.from_array(
            random.normal(0, 0.5, (out, into, side, side)).astype(np.float32), f"w{index}"
        )
        for index, (out, into, side) in enumerate(sizes)
    ]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 16, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 8, 12])],
        initializer=constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    (folder / "theirs.onnx").write_bytes(model.SerializeToString())
    write_image(folder / "image.png", BATCH[0][..., ::-1].copy())
    adopt_model(
        folder / "theirs.onnx",
        classes="a,b,c",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        files=(folder / "image.png",),
    )
    return folder


def config(folder: Path, **options: object) -> ExportConfig:
    return replace(ExportConfig(files=(folder / "image.png",)), **options)  # type: ignore[arg-type]


def exported(folder: Path, name: str, target: Path, **options: object) -> Path:
    source = folder / "theirs-adopted.onnx"
    [result] = export_checkpoint(source, {name: target}, config(folder, **options))
    assert result.artifact.parity.against == "the original"
    return target


@pytest.mark.parametrize("output", ["classes", "probabilities"])
def test_output_becomes_classes_or_probabilities(
    adopted: Path, tmp_path: Path, output: Output
) -> None:
    """They are those of the upsampled logits, as for any file of ours."""
    target = exported(adopted, "onnx", tmp_path / "a.onnx", output=output)

    logits = load_backend(adopted / "theirs-adopted.onnx", device="cpu").run(BATCH)
    result = load_backend(target, device="cpu").run(BATCH)
    mask = result[0] if output == "classes" else result[0].argmax(0)
    assert (mask == to_mask(logits, 16, 24)).mean() > 0.99
    assert read_card(target).conversion["adopted_from"] == "theirs.onnx"


def test_half_precision_and_card_file(adopted: Path, tmp_path: Path) -> None:
    target = exported(adopted, "onnx", tmp_path / "a.onnx", precision="fp16", card_file=True)

    beside = json.loads((tmp_path / "a.onnx.json").read_text())
    assert beside == json.loads(read_card(target).to_json())
    assert beside["precision"] == "fp16"


@pytest.mark.parametrize("images", ["N", 1])
def test_openvino_file_takes_several_images(
    adopted: Path, tmp_path: Path, images: str | int
) -> None:
    """Also one of a graph that takes one image at a time: they run one after the other."""
    pytest.importorskip("openvino")
    model = onnx.load(adopted / "theirs-adopted.onnx")
    for value in (*model.graph.input, *model.graph.output):
        if images == 1:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    source = tmp_path / "source.onnx"
    source.write_bytes(model.SerializeToString())
    targets = {"openvino": tmp_path / "a.xml"}

    [result] = export_checkpoint(source, targets, config(adopted))

    backend = load_backend(result.artifact.path, device="cpu", probe=False)
    twice = backend.run(np.concatenate([BATCH, BATCH[:, ::-1]]))
    assert twice.shape == (2, 3, 8, 12)
    np.testing.assert_allclose(twice[:1], backend.run(BATCH), atol=1e-4)


@pytest.mark.slow
def test_int8_is_calibrated_on_images_without_masks(adopted: Path, tmp_path: Path) -> None:
    """The file is sorted and passes ONNX's checker: other runtimes than ours read it too."""
    folder = tmp_path / "images"
    random = np.random.default_rng(2)
    for index in range(3):
        image = random.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        write_image(folder / f"{index}.png", image)

    target = exported(
        adopted, "onnx", tmp_path / "a.onnx", precision="int8", calibrate=(folder,), files=()
    )

    card, model = read_card(target), onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    assert card.conversion["calibration_source"] == str(folder)
    assert card.parity is not None
    assert (card.parity.source, card.parity.images) == (str(folder), 3)
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("pt2", {}, "an ONNX file cannot become pt2; choose --format onnx, openvino, triton"),
        ("onnx", {"dynamic": True}, "takes 16x24 only; leave --dynamic out"),
        ("onnx", {"imgsz": (8, 8)}, "takes 16x24 only; leave --imgsz out"),
        ("onnx", {"output": "classes", "confidence": True}, "cannot become classes with conf"),
    ],
)
def test_what_an_onnx_file_cannot_become_is_refused(
    adopted: Path, tmp_path: Path, name: str, options: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        exported(adopted, name, tmp_path / "a.out", **options)
    assert list(tmp_path.iterdir()) == []


def test_file_is_not_exported_onto_itself_or_from_half_precision(
    adopted: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="is the file to be exported itself"):
        exported(adopted, "onnx", adopted / "theirs-adopted.onnx")

    half = exported(adopted, "onnx", tmp_path / "a.onnx", precision="fp16")
    with pytest.raises(ExportError, match="computes in fp16; export the file in fp32"):
        list(export_checkpoint(half, {"onnx": tmp_path / "b.onnx"}, config(adopted)))
