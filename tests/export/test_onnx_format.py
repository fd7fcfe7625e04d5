"""A network as an ONNX graph.

Any number of images, any size where asked, and nothing of this machine in it.
"""

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from segdeploy.errors import ExportError
from segdeploy.export.onnx_format import convert
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
    """The exporter notes a stack trace at every node.

    A file to be given away must not tell of its maker's folders.
    """
    content = (artifacts / "best.onnx").read_bytes()

    assert b"/segdeploy/" not in content
    assert b".py" not in content


class Counting(nn.Module):
    """A network that no graph can hold: it asks a number of an image."""

    def forward(self, image: Tensor) -> Tensor:
        return image * 2 if image.mean().item() > 0 else image


def test_network_that_cannot_be_captured_is_an_export_error(artifacts: Path) -> None:
    """One sentence, no log of PyTorch's inner life."""
    card = load_checkpoint(artifacts / "best.pt").card

    with pytest.raises(ExportError, match=r"unet cannot be captured by torch\.export"):
        convert(Deployed(Counting(), (0, 0, 0), (1, 1, 1)).eval(), card, opset=21)


def test_conversion_leaves_the_network_as_it_was(artifacts: Path) -> None:
    """An exporter that folds a batch norm into a convolution must do so in a copy."""
    card = load_checkpoint(artifacts / "best.pt").card
    network = Deployed(
        nn.Sequential(nn.Conv2d(3, 11, 1), nn.BatchNorm2d(11)), (0, 0, 0), (1, 1, 1)
    ).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    convert(network, card, opset=21)

    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
