"""A file of another project gets a card and a uint8 input, and its output stays the same."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from segdeploy.arrays import NetworkOutput
from segdeploy.backends.loading import load_backend, read_card
from segdeploy.cli.main import main

CLASS_MAP_FILE = '[[classes]]\nname = "blue"\n\n[[classes]]\nname = "red"\ncolor = [255, 0, 0]\n'
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
BATCH = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)


def external(
    path: Path,
    *,
    kind: str = "logits",
    half: bool = False,
    opset: int = 11,
    images: int | str = "B",
    name: str = "logits",
) -> Path:
    """A network of stride 2 whose first class is its first channel and whose second class is its
    third, as other projects export it.
    """
    number = np.float16 if half else np.float32
    weight = np.zeros((2, 3, 2, 2), number)
    weight[0, 0] = weight[1, 2] = 0.25
    nodes = [
        helper.make_node(
            "Conv",
            ["image", "w"],
            ["planes" if kind != "logits" else name],
            name="conv",
            strides=[2, 2],
        )
    ]
    element, sides = TensorProto.FLOAT16 if half else TensorProto.FLOAT, [images, 2, 4, 6]
    if kind != "logits":
        nodes.append(
            helper.make_node(
                "ArgMax", ["planes"], [name], axis=1, keepdims=int(kind == "ids of one plane")
            )
        )
        element, sides = (
            TensorProto.INT64,
            [images, 1, 4, 6] if kind == "ids of one plane" else [images, 4, 6],
        )
    taken = helper.make_tensor_value_info(
        "image", TensorProto.FLOAT16 if half else TensorProto.FLOAT, [images, 3, 8, 12]
    )
    given = [helper.make_tensor_value_info(name, element, sides)]
    graph = helper.make_graph(
        nodes, "theirs", [taken], given, initializer=[numpy_helper.from_array(weight, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    return path


def adopted(folder: Path, path: Path, *arguments: str) -> Path:
    (folder / "classes.toml").write_text(CLASS_MAP_FILE)
    target = folder / "ours.onnx"
    numbers = ["--mean", "0.4,0.5,0.6", "--std", "0.2,0.25,0.3", "--proof-images", "1"]
    main(
        [
            "adopt",
            str(path),
            "--classes",
            str(folder / "classes.toml"),
            *numbers,
            "-o",
            str(target),
            *arguments,
        ]
    )
    return target


def reference_output(path: Path, *, bgr: bool = False) -> np.ndarray:
    """Return the output as the authors of a file compute it: normalize, transpose, run."""
    numbers = (BATCH / 255 - np.array(MEAN)) / np.array(STD)
    planes = (numbers[..., ::-1] if bgr else numbers).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(path)
    kind = np.float16 if session.get_inputs()[0].type == "tensor(float16)" else np.float32
    return np.concatenate(
        [session.run(None, {"image": one[None].astype(kind)})[0] for one in planes]
    )


def output_of(path: Path) -> NetworkOutput:
    return load_backend(path, device="cpu", threads=1).run(BATCH)


@pytest.mark.parametrize("opset", [11, 13, 21])
def test_logits_are_those_of_the_external_file(tmp_path: Path, opset: int) -> None:
    path = external(tmp_path / "theirs.onnx", opset=opset)

    target = adopted(tmp_path, path)

    card = read_card(target)
    np.testing.assert_allclose(output_of(target), reference_output(path), atol=1e-5)
    assert [label.name for label in card.classes] == ["blue", "red"]
    assert (card.architecture, card.output, card.precision) == ("theirs", "logits", "fp32")
    assert card.conversion == {
        "adopted_from": "theirs.onnx",
        "convention": "RGB, mean 0.4,0.5,0.6, std 0.2,0.25,0.3 of [0, 1] (as told)",
    }
    assert card.parity is not None
    assert card.parity.agreement == 1


def test_input_may_be_bgr(tmp_path: Path) -> None:
    """Networks that were trained on what OpenCV reads have red in their third channel."""
    path = external(tmp_path / "theirs.onnx")

    target = adopted(tmp_path, path, "--bgr")

    np.testing.assert_allclose(output_of(target), reference_output(path, bgr=True), atol=1e-5)


@pytest.mark.parametrize("kind", ["ids", "ids of one plane"])
def test_classes_at_a_stride_are_repeated_up_to_the_input(tmp_path: Path, kind: str) -> None:
    path = external(tmp_path / "theirs.onnx", kind=kind, name="classes")

    target = adopted(tmp_path, path)

    expected = reference_output(path).reshape(2, 4, 6).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(output_of(target), expected)
    assert read_card(target).output == "classes"


def with_dynamic_size(path: Path) -> Path:
    """The same file, for images of any size."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        for side, name in zip(value.type.tensor_type.shape.dim[-2:], "hw", strict=True):
            side.dim_param = f"{value.name}_{name}"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["ids", "ids of one plane"])
@pytest.mark.parametrize("opset", [11, 21])
def test_classes_of_any_size_are_repeated_up_to_it(tmp_path: Path, kind: str, opset: int) -> None:
    """11 is not a multiple of the file's own stride of 2: its three columns become eleven."""
    path = with_dynamic_size(external(tmp_path / "theirs.onnx", kind=kind, opset=opset))
    target = adopted(tmp_path, path, "--dynamic", "--imgsz", "8,12")
    batch = BATCH[:, :4, :11]

    output = load_backend(target, device="cpu", threads=1).run(batch)

    numbers = (
        ((batch / 255 - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2).astype(np.float32)
    )
    theirs = onnxruntime.InferenceSession(path).run(None, {"image": numbers})[0].reshape(2, 2, 5)
    np.testing.assert_array_equal(
        output, theirs[:, np.arange(4) // 2][:, :, np.arange(11) * 5 // 11]
    )


def test_half_precision_is_kept(tmp_path: Path) -> None:
    path = external(tmp_path / "theirs.onnx", half=True, opset=13)

    target = adopted(tmp_path, path)

    np.testing.assert_allclose(output_of(target), reference_output(path), atol=0.01)
    assert read_card(target).precision == "fp16"


def test_file_for_one_image_runs_on_several(tmp_path: Path) -> None:
    """Many files are exported with a batch of one."""
    path = external(tmp_path / "theirs.onnx", images=1)

    target = adopted(tmp_path, path)

    np.testing.assert_allclose(output_of(target), reference_output(path), atol=1e-5)


def test_adopted_file_verifies_and_is_benchmarked_like_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = adopted(tmp_path, external(tmp_path / "theirs.onnx"))

    main(["verify", str(target), "--device", "cpu", "--json"])

    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["agreement"] == 1


def test_mean_and_std_may_be_given_in_255_steps(tmp_path: Path) -> None:
    path = external(tmp_path / "theirs.onnx")
    target = adopted(
        tmp_path, path, "--range", "255", "--mean", "102,127.5,153", "--std", "51,63.75,76.5"
    )

    np.testing.assert_allclose(output_of(target), reference_output(path), atol=1e-5)


def refusal(
    capsys: pytest.CaptureFixture[str], folder: Path, path: Path, *arguments: str
) -> tuple[object, str]:
    with pytest.raises(SystemExit) as stop:
        adopted(folder, path, *arguments)
    assert not (folder / "ours.onnx").exists()
    return stop.value.code, capsys.readouterr().err


def test_other_number_of_classes_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = external(tmp_path / "theirs.onnx")
    model = onnx.load(path)
    weight = np.zeros((5, 3, 2, 2), np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    path.write_bytes(model.SerializeToString())

    code, message = refusal(capsys, tmp_path, path)

    assert code == 4
    assert "returns 5 channels, and --classes names 2; name one for each channel" in message


def test_classes_without_a_name_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that return classes do not say how many classes there are."""
    path = external(tmp_path / "theirs.onnx", kind="ids")
    model = onnx.load(path)
    # The last of five wins everywhere.
    weight = np.zeros((5, 3, 2, 2), np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(5, dtype=np.float32), "b"))
    model.graph.node[0].input.append("b")
    path.write_bytes(model.SerializeToString())

    code, message = refusal(capsys, tmp_path, path)

    assert code == 4
    assert "returns 4 to 4, and --classes names 0 to 1; name all" in message


def test_file_that_takes_no_images_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = external(tmp_path / "theirs.onnx")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    path.write_bytes(model.SerializeToString())

    code, message = refusal(capsys, tmp_path, path)

    assert code == 4
    assert "takes image of FLOAT, (B, 4, 8, 12); a network that can be adopted takes" in message


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--std", "0.2,0,0.1"], "'0.2,0,0.1' is not a number above 0 everywhere"),
        (["--std", "nan"], "'nan' is not a number above 0 everywhere"),
        (["--mean", "inf"], "'inf' is not finite everywhere"),
        (["--mean", "0.5,0.5"], "'0.5,0.5' is neither three numbers"),
        (
            ["--stride", "7"],
            "is 8x12, and --stride is 7; both sides must be multiples of it",
        ),
        (["--imgsz", "16"], "takes images of 8x12 only; leave out --imgsz"),
        (["--dynamic"], "takes images of 8x12 only; leave out --dynamic"),
        (["-o", "ours.pt"], "--output-file is ours.pt; the adopted file must end with .onnx"),
        (["--model", "unet"], "--model, --code and --argument cannot be used with"),
        (["--threshold", "0.4"], "--threshold 0.4 has no effect: each class has a channel"),
        (["--output-name", "x"], "has no output 'x'; choose one with --output-name"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    code, message = refusal(capsys, tmp_path, external(tmp_path / "theirs.onnx"), *arguments)

    assert (code, text in message) == (2, True), message


def test_size_that_the_file_fails_on_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its sides are declared dynamic, and a layer inside fixes one of them.

    Only another size shows it.
    """
    path = with_dynamic_size(external(tmp_path / "theirs.onnx"))
    model = onnx.load(path)
    model.graph.initializer.append(
        numpy_helper.from_array(np.zeros((1, 2, 4, 6), np.float32), "fixed")
    )
    model.graph.node[0].output[0] = "planes"
    model.graph.node.append(helper.make_node("Add", ["planes", "fixed"], ["logits"]))
    path.write_bytes(model.SerializeToString())

    code, message = refusal(capsys, tmp_path, path, "--dynamic", "--imgsz", "8,12")

    assert code == 4
    assert "fails on an image of 7x7" in message
    assert message.strip().endswith("choose another --stride, or leave out --dynamic")


def test_file_is_not_adopted_onto_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = external(tmp_path / "theirs.onnx")

    code, message = refusal(capsys, tmp_path, path, "-o", str(path))

    assert (code, "choose another name with -o" in message) == (2, True)
