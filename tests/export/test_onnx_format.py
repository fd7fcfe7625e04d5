"""A network as an ONNX graph.

Any number of images, any size if dynamic, and no path of this machine in it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from msgspec import structs
from torch import Tensor, nn

from segdeploy.backends.base import RuntimeOptions
from segdeploy.backends.onnx_runtime import load
from segdeploy.card import CARD_KEY
from segdeploy.errors import ExportError
from segdeploy.export.onnx_format import OnnxCandidate, to_half, to_onnx
from segdeploy.export.writer import Candidate
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed


def test_contract_of_the_graph(artifacts: Path) -> None:
    """uint8 images in, float32 logits out, the number of images free.

    Batch norms lie in the convolutions.
    """
    model = onnx.load(artifacts / "best.onnx")
    image, logits = model.graph.input[0], model.graph.output[0]

    assert (image.name, image.type.tensor_type.elem_type) == ("image", onnx.TensorProto.UINT8)
    assert (logits.name, logits.type.tensor_type.elem_type) == ("logits", onnx.TensorProto.FLOAT)
    assert [side.dim_param or side.dim_value for side in image.type.tensor_type.shape.dim] == [
        "N",
        45,
        60,
        3,
    ]
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 21}
    assert model.ir_version <= 10  # the newest that ONNX Runtime 1.20 reads
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_nothing_of_this_machine_is_in_the_file(artifacts: Path) -> None:
    """The exporter records a stack trace at every node.

    A file that is published must not hold its author's paths.
    """
    content = (artifacts / "best.onnx").read_bytes()

    assert b"/segdeploy/" not in content
    assert b".py" not in content


class Counting(nn.Module):
    """A network that cannot be captured: it branches on the values of an image."""

    def forward(self, image: Tensor) -> Tensor:
        return image * 2 if image.mean().item() > 0 else image


def test_network_that_cannot_be_captured_is_an_export_error(artifacts: Path) -> None:
    """One sentence, no log of PyTorch."""
    card = load_checkpoint(artifacts / "best.pt").card

    with pytest.raises(ExportError, match=r"unet cannot be captured by torch\.export"):
        to_onnx(Deployed(Counting(), (0, 0, 0), (1, 1, 1)).eval(), card, opset=21)


def test_conversion_leaves_the_network_as_it_was(artifacts: Path) -> None:
    """An exporter that folds a batch norm into a convolution must do so in a copy."""
    card = load_checkpoint(artifacts / "best.pt").card
    network = Deployed(
        nn.Sequential(nn.Conv2d(3, 11, 1), nn.BatchNorm2d(11)), (0, 0, 0), (1, 1, 1)
    ).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    to_onnx(network, card, opset=21)

    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


BATCH = np.random.default_rng(0).integers(0, 256, (1, 45, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def half(candidates: Mapping[str, Candidate]) -> OnnxCandidate:
    source = candidates["onnx"]
    assert isinstance(source, OnnxCandidate)
    return to_half(source)


@pytest.mark.slow
def test_half_precision_has_half_the_bytes_and_float32_logits(
    half: OnnxCandidate, artifacts: Path, tmp_path: Path
) -> None:
    """Images are still uint8 and logits float32: the interface does not change."""
    card = structs.replace(load_checkpoint(artifacts / "best.pt").card, precision="fp16")
    half.write(tmp_path / "half.onnx", {CARD_KEY: card.to_json()})

    logits = load(tmp_path / "half.onnx", RuntimeOptions(device="cpu", threads=1)).run(BATCH)

    expected = load(artifacts / "best.onnx", RuntimeOptions(device="cpu", threads=1)).run(BATCH)
    weights = {
        tensor.data_type
        for tensor in half.model.graph.initializer
        if tensor.name.endswith(".weight")
    }
    assert weights == {onnx.TensorProto.FLOAT16}
    assert logits.dtype == np.float32
    assert 0 < np.abs(logits - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.slow
def test_fault_in_half_precision_is_distinguished_from_rounding(
    half: OnnxCandidate, tmp_path: Path
) -> None:
    """Every value differs a little; the layer that is wrong differs much."""
    half.write(tmp_path / "half.onnx", {})
    model = onnx.load(tmp_path / "half.onnx")
    agreeing = half.first_diverging(tmp_path / "half.onnx", BATCH)
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

    assert agreeing == "none, the output of every layer agrees"
    assert half.first_diverging(tmp_path / "half.onnx", BATCH).startswith(
        "network.decoder.0.reduce (the Conv"
    )
