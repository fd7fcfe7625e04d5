"""ncnn graphs: what cannot be converted is refused with its operator."""

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

pytest.importorskip("pnnx")

from segdeploy.errors import ConfigError, ExportError
from segdeploy.export.ncnn_format import check, convert, foreign_operators
from segdeploy.export.plan import ExportConfig
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed
from tests.helpers.plans import make_plan


def test_operators_that_pnnx_left_are_found() -> None:
    graph = "7767517\n3 3\nInput in0 0 1 in0\ntorch.gt a 1 1 0 1\npnnx.Expression b 1 1 1 2\n"

    assert foreign_operators(graph) == ["torch.gt", "pnnx.Expression"]


def test_classes_are_refused(artifacts: Path) -> None:
    """ncnn has no integers, and an argmax in float32 is none."""
    card = replace(load_checkpoint(artifacts / "best.pt").card, output="classes")

    with pytest.raises(ConfigError, match="choose --output logits or probabilities"):
        check(card, ExportConfig())


class Half(torch.nn.Module):
    """A network that leaves out the right of an image, by its size."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * (torch.arange(image.shape[3]) < image.shape[3] // 2)


def test_network_that_computes_with_sizes_is_refused(artifacts: Path) -> None:
    """ncnn has no tensors of whole numbers; its loader would only say that a layer is missing."""
    card = load_checkpoint(artifacts / "best.pt").card
    card = replace(card, input=replace(card.input, dynamic=True))
    network = Deployed(Half(), (0, 0, 0), (1, 1, 1)).eval()

    with pytest.raises(ExportError, match=r"no layer for .*torch\.arange.*; leave --dynamic out"):
        convert(make_plan(network, card))
