"""A network as a TorchScript file, and as a program of torch.export."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segdeploy.errors import ExportError
from segdeploy.export.torch_formats import to_pt2, to_torchscript
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed
from tests.helpers.plans import make_plan


def test_file_runs_with_pytorch_alone(artifacts: Path) -> None:
    """C++ programs load it without our code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(artifacts / "best.torchscript")

    output = module(torch.zeros(2, 45, 60, 3, dtype=torch.uint8))

    assert output.shape == (2, 11, 45, 60)


def test_texts_come_back(artifacts: Path, tmp_path: Path) -> None:
    from segdeploy.backends.torch_metadata import read_metadata

    checkpoint = load_checkpoint(artifacts / "best.pt")

    to_torchscript(make_plan(checkpoint.network(), checkpoint.card)).write(
        tmp_path / "x.torchscript", {"one": "eins", "two": "zwei ü"}
    )

    assert read_metadata(tmp_path / "x.torchscript") == {"one": "eins", "two": "zwei ü"}


class Refusing(nn.Module):
    """A network that fails while it is traced."""

    def forward(self, image: Tensor) -> Tensor:
        return image.reshape(7, -1)


def test_network_that_cannot_be_traced_is_an_export_error(artifacts: Path) -> None:
    card = load_checkpoint(artifacts / "best.pt").card

    with pytest.raises(ExportError, match="unet cannot be converted to TorchScript"):
        to_torchscript(make_plan(Deployed(Refusing(), (0, 0, 0), (1, 1, 1)).eval(), card))


def test_cannot_name_a_layer_and_says_so(artifacts: Path) -> None:
    checkpoint = load_checkpoint(artifacts / "best.pt")
    candidate = to_torchscript(make_plan(checkpoint.network(), checkpoint.card))

    assert "--format onnx" in candidate.first_diverging(
        artifacts / "best.torchscript", np.zeros((1, 45, 60, 3), np.uint8)
    )


class DataDependent(nn.Module):
    """A network that cannot be captured: it branches on the values of an image."""

    def forward(self, image: Tensor) -> Tensor:
        return image * 2 if image.mean().item() > 0 else image


def test_network_that_cannot_be_captured_is_an_export_error(artifacts: Path) -> None:
    """One sentence, no log of PyTorch."""
    with pytest.raises(ExportError, match=r"unet cannot be captured by torch\.export"):
        to_pt2(
            make_plan(
                Deployed(DataDependent(), (0, 0, 0), (1, 1, 1)).eval(),
                load_checkpoint(artifacts / "best.pt").card,
            )
        )
