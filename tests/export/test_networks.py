"""Every network, exported with dynamic sizes, agrees with PyTorch at every size."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from segdeploy import models
from segdeploy.arrays import Batch
from segdeploy.backends.loading import load_backend
from segdeploy.backends.pytorch import EagerBackend
from segdeploy.backends.torch_program import checked_program
from segdeploy.card import CARD_KEY, InputSpec, LabelClass, ModelCard, Output
from segdeploy.errors import ConfigError, ExportError
from segdeploy.export import onnx_format, torch_formats
from segdeploy.export.capture import capture, with_output
from segdeploy.export.onnx_format import to_onnx
from segdeploy.export.torch_formats import to_pt2, to_torchscript
from segdeploy.models.blocks import DeepAggregation
from segdeploy.models.deployed import Deployed
from tests.helpers.plans import make_plan

pytestmark = pytest.mark.usefixtures("one_thread")

ARGUMENTS: dict[str, dict[str, Any]] = {
    "ddrnet23slim": {"width": 8},
    "deeplabv3plus": {"backbone": "mobilenet_v3_large"},
    "lightfpn": {"backbone": "timm:resnet10t"},
    "unet": {"width": 4},
}
"""Arguments that make a network small."""

SHAPES = [(1, 3, 4), (3, 1, 1), (2, 1, 5), (1, 7, 2), (1, 3, 17)]
"""Images, and rows and columns in strides: the file's own size, one stride alone, flat and
upright ones, odd ones."""


def with_trained_norms(name: str) -> Deployed:
    """Build a network of few blocks, and let its norms see images."""
    network = small(name)
    assert isinstance(network.stride, int)
    return deployed(network, 4 * network.stride + 32)


def small(name: str) -> nn.Module:
    """Build a network of random weights in which no block stands twice in a row.

    An exporter treats equal blocks alike, and needs as much time for each.
    """
    torch.manual_seed(0)
    network = models.build(name, 4, **ARGUMENTS.get(name, {}))
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for index, (one, other) in enumerate(pairwise(list(module))):
                if list(one.parameters()) and repr(one) == repr(other):
                    module[index + 1] = nn.Identity()
    return network


def deployed(network: nn.Module, side: int) -> Deployed:
    """Let norms see images, and put them into their convolutions.

    None depends on a size, and each costs time.
    """
    with torch.no_grad():
        network.train()(torch.randn(4, 3, side, side))
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for index, (conv, norm) in enumerate(pairwise(module)):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[index], module[index + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return Deployed(network, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)).eval()


def card_of(name: str, *, stride: int, height: int, width: int) -> ModelCard:
    spec = InputSpec(
        height=height, width=width, mean=(0, 0, 0), std=(1, 1, 1), stride=stride, dynamic=True
    )
    return ModelCard(
        architecture=name,
        classes=tuple(LabelClass(name=letter, color=(0, 0, 0)) for letter in "abcd"),
        input=spec,
    )


def images(count: int, height: int, width: int) -> Batch:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_exported_network_agrees_with_pytorch_at_every_size(tmp_path: Path, name: str) -> None:
    """An exporter silently freezes a branch on a size, or a side of one value.

    Only other sizes show it. And the .pt2 program of any size needs no --trust.
    """
    network = with_trained_norms(name)
    stride = network.network.stride
    assert isinstance(stride, int)
    card = card_of(name, stride=stride, height=3 * stride, width=4 * stride)
    program = capture(network, card)
    candidate = onnx_format.from_program(program, network, card, opset=21)
    candidate.write(tmp_path / "network.onnx", {CARD_KEY: card.to_json()})
    file, reference = (
        load_backend(tmp_path / "network.onnx", device="cpu", threads=1),
        EagerBackend(network, card),
    )

    for count, rows, columns in SHAPES:
        batch = images(count, rows * stride, columns * stride)
        expected = reference.run(batch)
        np.testing.assert_allclose(
            file.run(batch), expected, atol=1e-3 * np.abs(expected).max(), err_msg=str(batch.shape)
        )

    image, logits = (
        value.type.tensor_type.shape.dim
        for value in (candidate.model.graph.input[0], candidate.model.graph.output[0])
    )
    assert [side.dim_param or side.dim_value for side in image] == [
        "N",
        "H",
        "W",
        3,
    ], "the graph names N, H and W, not s40"
    assert [side.dim_param or side.dim_value for side in logits][:2] == ["N", 4]

    pt2 = torch_formats.from_program(program, network, card)
    pt2.write(tmp_path / "network.pt2", {CARD_KEY: card.to_json()})
    assert checked_program(tmp_path / "network.pt2").getvalue()


@pytest.mark.slow
def test_exported_program_accepts_the_smallest_proven_size(tmp_path: Path) -> None:
    """DDRNet's windows are one value below 65 pixels here, which torch.export would refuse.

    Below the proven size, an error message is better.
    """
    torch.manual_seed(0)
    network = deployed(nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), DeepAggregation(8, 8, 4)), 136)
    card = card_of("windows", stride=8, height=48, width=64)
    to_pt2(make_plan(network, card)).write(tmp_path / "network.pt2", {CARD_KEY: card.to_json()})
    file, reference = (
        load_backend(tmp_path / "network.pt2", device="cpu", threads=1),
        EagerBackend(network, card),
    )

    for batch in (images(1, 48, 64), images(3, 40, 24), images(1, 72, 520)):
        np.testing.assert_allclose(file.run(batch), reference.run(batch), atol=1e-4)
    with pytest.raises(ConfigError, match="takes larger ones"):
        file.run(images(1, 64, 16))


class Small(nn.Module):
    """A network that computes something else for larger images."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image if image.shape[2] < 2000 else -image


@pytest.mark.slow
def test_network_that_was_captured_for_some_sizes_only_is_refused() -> None:
    """torch.export captures the branch of its example; a file would run it at every size."""
    network, card = (
        Deployed(Small(), (0, 0, 0), (1, 1, 1)).eval(),
        card_of("small", stride=1, height=24, width=32),
    )

    with pytest.raises(
        ExportError,
        match=(
            "small was captured for up to 1999 images or pixels a side only; leave out --dynamic"
        ),
    ):
        to_onnx(network, card, opset=21)


LOGITS: dict[str, Any] = {"output": "logits"}

CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, LOGITS) for name in models.names()),
    ("unet", {"output": "probabilities"}),
    ("unet", {"output": "classes"}),
    ("unet", {"output": "classes", "confidence": True}),
]
"""Every network, and every output: what computes an output is the same behind every network."""


@pytest.mark.parametrize(("name", "output"), CASES)
def test_operators_of_a_torchscript_file_are_on_the_list(
    tmp_path: Path, name: str, output: dict[str, Any]
) -> None:
    """A file of ours needs no --trust, and computes what was exported."""
    network, card = built(name, **output)
    path = tmp_path / "network.torchscript"
    to_torchscript(make_plan(network, card)).write(path, {CARD_KEY: card.to_json()})

    result = load_backend(path, device="cpu", threads=1).run(images(1, 64, 64))

    expected = load_backend(path, device="cpu", threads=1, trust=True).run(images(1, 64, 64))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "output", "size"),
    [
        *((name, output, {"dynamic": False}) for name, output in CASES),
        *((name, output, {"dynamic": True}) for name, output in CASES if output != LOGITS),
    ],
)
def test_operators_of_an_exported_program_are_on_the_list(
    tmp_path: Path, name: str, output: dict[str, Any], size: dict[str, bool]
) -> None:
    """A file of ours needs no --trust, of one size or of any."""
    network, card = built(name, **output, **size)
    path = tmp_path / "network.pt2"
    to_pt2(make_plan(network, card)).write(path, {CARD_KEY: card.to_json()})

    assert checked_program(path).getvalue()


def built(
    name: str, *, output: Output, confidence: bool = False, dynamic: bool = False
) -> tuple[Deployed, ModelCard]:
    """Build a small network of random weights and the card of its file of 64x64.

    That of a dynamic file has its norms in the convolutions: that of one size shows their operator.
    """
    network = small(name)
    assert isinstance(network.stride, int)
    card = card_of(name, stride=network.stride, height=64, width=64)
    spec = structs.replace(card.input, dynamic=dynamic)
    card = structs.replace(card, input=spec, output=output, confidence=confidence)
    if dynamic:
        whole = with_trained_norms(name)
    else:
        whole = Deployed(network, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)).eval()
    return with_output(whole, card), card
