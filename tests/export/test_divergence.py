"""An injected fault is found by the name of its layer, in every format that keeps names."""

import json
import zipfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from torch import Tensor, nn

from segdeploy.card import Output
from segdeploy.export.capture import with_output
from segdeploy.export.divergence import differs
from segdeploy.export.onnx_format import OnnxCandidate, to_onnx
from segdeploy.export.plan import FORMATS
from segdeploy.export.writer import Candidate
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed

BATCH = np.random.default_rng(0).integers(0, 256, (1, 45, 60, 3), dtype=np.uint8)


needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO is not installed"
)


@pytest.fixture
def candidate(candidates: Mapping[str, Candidate]) -> OnnxCandidate:
    found = candidates["onnx"]
    assert isinstance(found, OnnxCandidate)
    return found


def change_weight(name: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[0] += 1
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))

    return change


def change_resize(model: onnx.ModelProto) -> None:
    """Upsample from the corners instead of the centers, as align_corners mistakes do.

    In the second join.
    """
    node = [node for node in model.graph.node if node.op_type == "Resize"][1]
    next(
        entry for entry in node.attribute if entry.name == "coordinate_transformation_mode"
    ).s = b"asymmetric"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "layer"),
    [
        (change_weight("network.stem.0.0.weight"), "network.stem.0.0 (the Conv"),
        (
            change_weight("network.decoder.1.refine.0.0.weight"),
            "network.decoder.1.refine.0.0 (the Conv",
        ),
        (change_weight("network.head.weight"), "network.head (the Conv"),
        (change_weight("scale"), "the preprocessing of the image (the Mul"),
        (change_resize, "network.decoder.1 (the Resize"),
        (lambda model: None, "none, the output of every layer agrees"),
    ],
    ids=["first weight", "deep weight", "last weight", "normalization", "resize mode", "no fault"],
)
def test_injected_fault_in_onnx_is_found(
    candidate: OnnxCandidate, tmp_path: Path, change: Callable[[onnx.ModelProto], None], layer: str
) -> None:
    """The message names the layer, and the operator of the file."""
    candidate.write(tmp_path / "changed.onnx", {})
    model = onnx.load(tmp_path / "changed.onnx")
    change(model)
    onnx.save(model, tmp_path / "changed.onnx")

    assert candidate.first_diverging(tmp_path / "changed.onnx", BATCH).startswith(layer)


def change_weight_of_pt2(path: Path) -> None:
    """Add 1 to the first number of the 1x1 convolution of the second join."""
    add_one(path, "data/weights/model_weights_config.json", "network.decoder.1.reduce.weight")


def add_one(path: Path, config: str, name: str) -> None:
    """Add 1 to the first number of a tensor in a .pt2 archive."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    root = next(iter(entries)).partition("/")[0]
    tensors = json.loads(entries[f"{root}/{config}"])["config"]
    entry_name = f"{root}/data/weights/{tensors[name]['path_name']}"
    values = np.frombuffer(entries[entry_name], np.float32).copy()
    values[0] += 1
    entries[entry_name] = values.tobytes()
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)


def change_resize_of_pt2(path: Path) -> None:
    """Upsample from the corners instead of the centers."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    entry_name = next(name for name in entries if name.endswith("models/model.json"))
    model = json.loads(entries[entry_name])
    node = [
        node
        for node in model["graph_module"]["graph"]["nodes"]
        if "upsample_bilinear2d" in node["target"]
    ][1]
    next(entry for entry in node["inputs"] if entry["name"] == "align_corners")["arg"][
        "as_bool"
    ] = True
    entries[entry_name] = json.dumps(model).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)


def change_weight_of_openvino(path: Path) -> None:
    """Add 1 to the first number of the first convolution, which is the first large constant."""
    weights = path.with_suffix(".bin")
    values = bytearray(weights.read_bytes())
    text = path.read_text()
    offset = int(
        text[text.index('name="network.stem.0.0.weight"') :]
        .partition('offset="')[2]
        .partition('"')[0]
    )
    number = np.frombuffer(bytes(values[offset : offset + 4]), np.float32) + 1
    values[offset : offset + 4] = number.tobytes()
    weights.write_bytes(values)


def change_resize_of_openvino(path: Path) -> None:
    text = path.read_text()
    first, second = (
        'coordinate_transformation_mode="',
        text.split('coordinate_transformation_mode="'),
    )
    assert len(second) == 3
    second[2] = "asymmetric" + second[2][second[2].index('"') :]
    path.write_text(first.join(second))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "layer"),
    [
        ("pt2", change_weight_of_pt2, "network.decoder.1.reduce (the aten.conv2d"),
        ("pt2", change_resize_of_pt2, "network.decoder.1 (the aten.upsample_bilinear2d"),
        ("pt2", lambda path: None, "none, the output of every layer agrees"),
        pytest.param(
            "openvino", change_weight_of_openvino, "network.stem.0.1 (the Add", marks=needs_openvino
        ),
        pytest.param(
            "openvino",
            change_resize_of_openvino,
            "network.decoder.1 (the Interpolate",
            marks=needs_openvino,
        ),
        pytest.param(
            "openvino",
            lambda path: None,
            "none, the output of every layer agrees",
            marks=needs_openvino,
        ),
    ],
)
def test_injected_fault_in_other_formats_is_found(
    candidates: Mapping[str, Candidate],
    tmp_path: Path,
    name: str,
    change: Callable[[Path], None],
    layer: str,
) -> None:
    """The message names the layer, and the operator of the file."""
    path = tmp_path / f"changed{FORMATS[name].ending}"
    candidates[name].write(path, {})
    change(path)

    assert candidates[name].first_diverging(path, BATCH).startswith(layer)


class Branching(nn.Module):
    """A network with a branch on the size, about which no exporter warns."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = Doubling()

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.second(self.first(image))
        return output


class Doubling(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image * 2 if image.shape[0] > 1 else image


@pytest.mark.slow
def test_frozen_branch_is_found(artifacts: Path, tmp_path: Path) -> None:
    """Where capturing itself goes wrong, the captured program and the file agree, and only the
    network differs.
    """
    card = load_checkpoint(artifacts / "best.pt").card
    candidate = to_onnx(Deployed(Branching(), (0, 0, 0), (1, 1, 1)).eval(), card, opset=21)
    candidate.write(tmp_path / "frozen.onnx", {})

    assert candidate.first_diverging(tmp_path / "frozen.onnx", BATCH).startswith(
        "network.second (torch.export"
    )


class Outer(nn.Module):
    """The same branch, between the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.first(image)
        return -output if image.shape[0] > 1 else output


@pytest.mark.slow
@pytest.mark.parametrize("output", ["logits", "classes"])
def test_frozen_branch_between_the_layers_is_reported(
    artifacts: Path, tmp_path: Path, output: Output
) -> None:
    """No layer is wrong, but the file is.

    A message that all layers agree would mislead.
    """
    card = replace(load_checkpoint(artifacts / "best.pt").card, output=output)
    candidate = to_onnx(
        with_output(Deployed(Outer(), card.input.mean, card.input.std).eval(), card), card, opset=21
    )
    candidate.write(tmp_path / "frozen.onnx", {})

    layer = candidate.first_diverging(tmp_path / "frozen.onnx", BATCH)

    assert layer.startswith(
        "none, the layers agree and the difference arises in a forward around them (torch.export"
        " captured"
    )


@pytest.mark.parametrize("found", [[1.0, 2.003], [1.0], [1.0, float("nan")]])
def test_differs_by_more_than_a_thousandth_of_the_largest(found: list[float]) -> None:
    """2.002 would be the edge: a thousandth of 2 away."""
    assert differs(np.array(found), np.array([1.0, 2.0]))


@pytest.mark.parametrize("found", [[1.0, 2.0], [1.0, 2.001], [1.0015, 2.0]])
def test_rounding_is_not_a_difference(found: list[float]) -> None:
    """What counts is the largest number of the value.

    Small ones are sums in which large ones cancel.
    """
    assert not differs(np.array(found), np.array([1.0, 2.0]))
