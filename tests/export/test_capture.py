"""Files that return classes or probabilities: the same as PyTorch and our exact mask compute from
the logits.
"""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from msgspec.structs import replace
from torch.nn import functional

from segdeploy.backends.base import Backend
from segdeploy.backends.loading import load_backend
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.export.capture import frozen_operator, with_output
from segdeploy.export.exporter import convert
from segdeploy.export.plan import FORMATS
from segdeploy.imaging.postprocess import to_mask
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed
from tests.helpers.plans import make_plan

BATCH = np.random.default_rng(0).integers(0, 256, (2, 45, 60, 3), dtype=np.uint8)
NAMES = ["onnx", "torchscript"]


class Halved(torch.nn.Module):
    """A network at stride 2 with eleven smooth planes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 11, 5, stride=2, padding=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.conv(image)
        return logits


@pytest.fixture(scope="module")
def card(artifacts: Path) -> ModelCard:
    return load_checkpoint(artifacts / "best.pt").card


@pytest.fixture(scope="module")
def network(card: ModelCard) -> Deployed:
    return Deployed(Halved(), card.input.mean, card.input.std).eval()


def exported(name: str, network: Deployed, card: ModelCard, folder: Path) -> Path:
    candidates = convert(make_plan(with_output(network, card), card), FORMATS[name])
    candidate, _ = next(iter(candidates))
    path = folder / f"exported.{name}"
    candidate.write(path, {CARD_KEY: card.to_json()})
    return path


def opened(name: str, network: Deployed, card: ModelCard, folder: Path) -> Backend:
    return load_backend(exported(name, network, card, folder), device="cpu", threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_classes_are_those_of_the_exact_mask(
    network: Deployed, card: ModelCard, tmp_path: Path, name: str
) -> None:
    """Upsampling in the graph gives, pixel by pixel, what postprocessing gives."""
    with torch.no_grad():
        logits = network(torch.from_numpy(BATCH)).numpy()

    classes = opened(name, network, replace(card, output="classes"), tmp_path).run(BATCH)

    assert logits.shape == (2, 11, 23, 30)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, [to_mask(one[None], 45, 60) for one in logits])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_those_of_the_upsampled_logits(
    network: Deployed, card: ModelCard, tmp_path: Path, name: str
) -> None:
    """Upsampling probabilities instead of logits would give another mask."""
    with torch.no_grad():
        logits = functional.interpolate(
            network(torch.from_numpy(BATCH)), (45, 60), mode="bilinear", align_corners=False
        )

    output = opened(name, network, replace(card, output="probabilities"), tmp_path).run(BATCH)

    assert output.dtype == np.float32
    np.testing.assert_allclose(output, functional.softmax(logits, dim=1).numpy(), atol=1e-5)


@pytest.mark.slow
def test_confidence_is_the_probability_of_the_class_in_255_steps(
    network: Deployed, card: ModelCard, tmp_path: Path
) -> None:
    """It is a second output of the file; our runtime requests only the classes."""
    sure = replace(card, output="classes", confidence=True)
    path = exported("onnx", network, sure, tmp_path)
    with torch.no_grad():
        logits = functional.interpolate(
            network(torch.from_numpy(BATCH)), (45, 60), mode="bilinear", align_corners=False
        )
    expected = (functional.softmax(logits, dim=1).amax(1) * 255).round().numpy()

    classes, confidence = onnxruntime.InferenceSession(path).run(
        ["classes", "confidence"], {"image": BATCH}
    )

    assert confidence.dtype == np.uint8
    assert np.abs(confidence.astype(np.int16) - expected).max() <= 1
    np.testing.assert_array_equal(classes, load_backend(path, device="cpu", threads=1).run(BATCH))


@pytest.mark.slow
def test_torchscript_with_a_confidence_gives_the_classes_first(
    network: Deployed, card: ModelCard, tmp_path: Path
) -> None:
    sure = opened(
        "torchscript", network, replace(card, output="classes", confidence=True), tmp_path
    )
    plain = opened("torchscript", network, replace(card, output="classes"), tmp_path)

    np.testing.assert_array_equal(sure.run(BATCH), plain.run(BATCH))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (7, 33), (64, 20)])
def test_classes_of_a_dynamic_file_have_the_size_of_the_batch(
    network: Deployed, card: ModelCard, tmp_path: Path, size: tuple[int, int]
) -> None:
    """The upsampling must not be frozen at the size of the example."""
    dynamic = replace(card, output="classes", input=replace(card.input, dynamic=True))
    batch = np.random.default_rng(1).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    with torch.no_grad():
        logits = network(torch.from_numpy(batch)).numpy()

    np.testing.assert_array_equal(
        opened("onnx", network, dynamic, tmp_path).run(batch)[0], to_mask(logits, *size)
    )


def test_logits_need_no_output_head(network: Deployed, card: ModelCard) -> None:
    assert with_output(network, card) is network


class Coordinates(torch.nn.Module):
    """A network with a channel of columns, from a tensor whose size a capture freezes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 1, 3, stride=2, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values = self.conv(image)
        columns = torch.linspace(-1, 1, values.shape[3]).expand(values.shape)
        return torch.cat([values, columns], 1)


def test_operator_that_keeps_the_size_of_the_example_is_named(card: ModelCard) -> None:
    """The file fails at every other size, in a node that only follows it."""
    dynamic = replace(card, classes=card.classes[:2], input=replace(card.input, dynamic=True))
    network = Deployed(Coordinates(), card.input.mean, card.input.std).eval()

    assert frozen_operator(network, dynamic) == "aten.linspace.default in the layer network"
