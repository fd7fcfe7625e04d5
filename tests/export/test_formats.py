"""Planted faults are found by name in every format that keeps names.

Half precision stays within its gate.
"""

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

from segdeploy.backends.onnx_runtime import load
from segdeploy.card import CARD_KEY
from segdeploy.errors import ConfigError, ExportError, MissingExtraError
from segdeploy.export.config import FORMATS, choose_formats
from segdeploy.export.exporter import neighbor
from segdeploy.export.onnx_format import OnnxCandidate, to_half
from segdeploy.export.torch_formats import to_pt2 as to_pt2
from segdeploy.export.writer import Candidate
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed

BATCH = np.random.default_rng(0).integers(0, 256, (1, 45, 60, 3), dtype=np.uint8)

openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")


def spoil_weight_of_pt2(path: Path) -> None:
    """Add 1 to the first number of the 1x1 convolution of the second join."""
    rewrite(path, "data/weights/model_weights_config.json", "network.decoder.1.reduce.weight")


def rewrite(path: Path, config: str, name: str) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    root = next(iter(entries)).partition("/")[0]
    place = f"{root}/data/weights/{json.loads(entries[f'{root}/{config}'])['config'][name]['path_name']}"
    values = np.frombuffer(entries[place], np.float32).copy()
    values[0] += 1
    entries[place] = values.tobytes()
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)


def spoil_resize_of_pt2(path: Path) -> None:
    """Enlarge from the corners instead of the centers."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    place = next(name for name in entries if name.endswith("models/model.json"))
    model = json.loads(entries[place])
    node = [
        node
        for node in model["graph_module"]["graph"]["nodes"]
        if "upsample_bilinear2d" in node["target"]
    ][1]
    next(entry for entry in node["inputs"] if entry["name"] == "align_corners")["arg"][
        "as_bool"
    ] = True
    entries[place] = json.dumps(model).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)


def spoil_weight_of_openvino(path: Path) -> None:
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


def spoil_resize_of_openvino(path: Path) -> None:
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
    ("name", "spoil", "layer"),
    [
        ("pt2", spoil_weight_of_pt2, "network.decoder.1.reduce (the aten.conv2d"),
        ("pt2", spoil_resize_of_pt2, "network.decoder.1 (the aten.upsample_bilinear2d"),
        ("pt2", lambda path: None, "none, every layer alone agrees"),
        pytest.param(
            "openvino", spoil_weight_of_openvino, "network.stem.0.1 (the Add", marks=openvino
        ),
        pytest.param(
            "openvino",
            spoil_resize_of_openvino,
            "network.decoder.1 (the Interpolate",
            marks=openvino,
        ),
        pytest.param(
            "openvino", lambda path: None, "none, every layer alone agrees", marks=openvino
        ),
    ],
)
def test_planted_fault_is_found(
    candidates: Mapping[str, Candidate],
    tmp_path: Path,
    name: str,
    spoil: Callable[[Path], None],
    layer: str,
) -> None:
    """Knowing that a file is wrong is little; knowing where saves the day."""
    path = tmp_path / f"spoiled{FORMATS[name].ending}"
    candidates[name].write(path, {})
    spoil(path)

    assert candidates[name].first_diverging(path, BATCH).startswith(layer)


@pytest.fixture(scope="module")
def half(candidates: Mapping[str, Candidate]) -> OnnxCandidate:
    source = candidates["onnx"]
    assert isinstance(source, OnnxCandidate)
    return to_half(source)


@pytest.mark.slow
def test_half_precision_has_half_the_bytes_and_float32_logits(
    half: OnnxCandidate, artifacts: Path, tmp_path: Path
) -> None:
    """Images go in as uint8 and logits come out as float32, so that nobody but the GPU notices."""
    card = replace(load_checkpoint(artifacts / "best.pt").card, precision="fp16")
    half.write(tmp_path / "half.onnx", {CARD_KEY: card.to_json()})

    logits = load(tmp_path / "half.onnx", device="cpu", threads=1).run(BATCH)

    expected = load(artifacts / "best.onnx", device="cpu", threads=1).run(BATCH)
    weights = {
        tensor.data_type
        for tensor in half.model.graph.initializer
        if tensor.name.endswith(".weight")
    }
    assert weights == {onnx.TensorProto.FLOAT16}
    assert logits.dtype == np.float32
    assert 0 < np.abs(logits - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.slow
def test_fault_in_half_precision_is_told_from_its_rounding(
    half: OnnxCandidate, tmp_path: Path
) -> None:
    """Every value differs a little; the layer that is wrong differs much."""
    half.write(tmp_path / "half.onnx", {})
    model = onnx.load(tmp_path / "half.onnx")
    sound = half.first_diverging(tmp_path / "half.onnx", BATCH)
    tensor = next(
        tensor
        for tensor in model.graph.initializer
        if tensor.name == "network.decoder.0.reduce.weight"
    )
    tensor.CopyFrom(
        onnx.numpy_helper.from_array(
            onnx.numpy_helper.to_array(tensor) + np.float16(1), tensor.name
        )
    )
    onnx.save(model, tmp_path / "half.onnx")

    assert sound == "none, every layer alone agrees"
    assert half.first_diverging(tmp_path / "half.onnx", BATCH).startswith(
        "network.decoder.0.reduce (the Conv"
    )


class Counting(nn.Module):
    """A network that no graph can hold: it asks a number of an image."""

    def forward(self, image: Tensor) -> Tensor:
        return image * 2 if image.mean().item() > 0 else image


def test_network_that_cannot_be_captured_is_an_export_error(artifacts: Path) -> None:
    """One sentence, no log of PyTorch's inner life."""
    with pytest.raises(ExportError, match=r"unet cannot be captured by torch\.export"):
        to_pt2(
            Deployed(Counting(), (0, 0, 0), (1, 1, 1)).eval(),
            load_checkpoint(artifacts / "best.pt").card,
        )


def test_several_formats_are_named_with_commas() -> None:
    assert choose_formats("onnx, torchscript,onnx", "fp32") == ["onnx", "torchscript"]
    with pytest.raises(
        ConfigError, match="onnx cannot be bf16; choose --precision fp32 or fp16 or int8"
    ):
        choose_formats("openvino,onnx", "bf16")


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks OpenVINO learns what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "segdeploy.export.openvino_format", raising=False)
    monkeypatch.delitem(sys.modules, "segdeploy.backends.openvino_runtime", raising=False)

    with pytest.raises(MissingExtraError, match=r"pip install 'segdeploy\[openvino\]'"):
        neighbor("openvino_format")
