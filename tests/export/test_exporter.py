"""Any network of PyTorch becomes a proven file.

Torchvision's, segmentation-models-pytorch's, transformers', and user-defined ones.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs
from torch import Tensor, nn

import segdeploy
from segdeploy.backends.loading import load_backend
from segdeploy.card import InputSpec, LabelClass, ModelCard, Training
from segdeploy.errors import ConfigError, ExportError, ProofError
from segdeploy.export import ExportConfig, export_module
from segdeploy.export.exporter import (
    configured,
    resolve,
    with_default_output,
)
from segdeploy.export.plan import FORMATS
from segdeploy.imaging.palettes import distinct_color
from segdeploy.metrics.scores import Scores
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.foreign import find_logits

SPEC = InputSpec(
    height=64, width=96, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), stride=32
)
CLASSES = tuple(
    LabelClass(name=f"class {index}", color=distinct_color(index)) for index in range(5)
)
ONE_IMAGE = ExportConfig(proof_images=1)


def card(architecture: str) -> ModelCard:
    return ModelCard(architecture=architecture, classes=CLASSES, input=SPEC)


def normalized(network: nn.Module) -> nn.Module:
    """Let batch norms see images.

    With fresh ones, values shrink until rounding decides the labels.
    """
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(2):
            network.train()(torch.randn(4, 3, 64, 96))
    return network.eval()


def deeplab() -> nn.Module:
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    return normalized(
        deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)
    )


def lraspp() -> nn.Module:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    return normalized(lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5))


def smp_unet() -> nn.Module:
    smp = pytest.importorskip("segmentation_models_pytorch")
    return normalized(smp.Unet("resnet18", encoder_weights=None, classes=5))


def segformer() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_labels=5,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=16,
    )
    return normalized(transformers.SegformerForSemanticSegmentation(config))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "ending"),
    [(deeplab, "torchscript"), (lraspp, "onnx"), (smp_unet, "pt2"), (segformer, "onnx")],
)
def test_networks_of_other_libraries_are_exported_and_proven(
    tmp_path: Path, build: Callable[[], nn.Module], ending: str
) -> None:
    """Their outputs are wrapped in three ways; their logits have strides of 1 and 4."""
    network = build()
    path = tmp_path / f"network.{ending}"
    batch = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    numbers = (batch / 255 - np.array(SPEC.mean)) / np.array(SPEC.std)

    artifact = export_module(network, card(build.__name__), path, proof=ONE_IMAGE)

    with torch.no_grad():
        expected = find_logits(
            network(torch.from_numpy(numbers.transpose(0, 3, 1, 2).astype(np.float32)))
        ).numpy()
    np.testing.assert_allclose(
        load_backend(path, device="cpu", threads=1).run(batch),
        expected,
        atol=2e-3 * np.abs(expected).max(),
    )
    assert artifact.parity.agreement >= 0.999
    assert segdeploy.load(path, device="cpu").card == artifact.card


class Own(nn.Module):
    """A plain network, with its logits where the test puts them."""

    def __init__(self, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.wrap = wrap

    def forward(self, image: Tensor) -> object:
        return self.wrap(self.conv(image))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: logits,
        lambda logits: {"out": logits},
        lambda logits: {"logits": logits, "loss": None},
    ],
)
def test_ending_chooses_the_format(tmp_path: Path, wrap: Callable[[Tensor], object]) -> None:
    artifact = export_module(
        Own(wrap), card("own"), tmp_path / "own.torchscript", output="classes", proof=ONE_IMAGE
    )

    assert artifact.card.output == "classes"
    assert load_backend(artifact.path, device="cpu").run(
        np.zeros((1, 64, 96, 3), np.uint8)
    ).shape == (
        1,
        64,
        96,
    )


def test_unknown_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends with '\.tflite'; the formats' endings are \.onnx"):
        export_module(Own(lambda logits: logits), card("own"), tmp_path / "own.tflite")
    with pytest.raises(ConfigError, match="torchscript cannot be int8"):
        export_module(
            Own(lambda logits: logits), card("own"), tmp_path / "own.torchscript", precision="int8"
        )


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Conv2d(3, 7, 1), "own returns 7 channels and its card has 5 classes"),
        (
            nn.Conv2d(4, 5, 1),
            r"own fails on a float32 image \(1, 3, 64, 96\) on the CPU: .* channels",
        ),
    ],
)
def test_network_that_its_card_does_not_describe_is_an_error(
    tmp_path: Path, network: nn.Module, message: str
) -> None:
    """Channels without a class would be exported, and proven equal to themselves."""
    with pytest.raises(ExportError, match=message):
        export_module(network, card("own"), tmp_path / "own.torchscript", proof=ONE_IMAGE)

    assert list(tmp_path.iterdir()) == []


class Fickle(nn.Module):
    """A network whose computation depends on the number of images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.conv(image)
        return logits if image.shape[0] == 1 else -logits


@pytest.mark.slow
def test_network_that_exports_wrongly_gets_no_file(tmp_path: Path) -> None:
    """torch.export silently captures one branch for both."""
    with pytest.raises((ProofError, ExportError)):
        export_module(Fickle(), card("fickle"), tmp_path / "fickle.onnx", proof=ONE_IMAGE)

    assert list(tmp_path.iterdir()) == []


def test_options_import_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, segdeploy.export as e; e.ExportConfig; e.Order;"
        " assert 'torch' not in sys.modules"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scores_hold_only_at_the_size_that_was_scored(artifacts: Path) -> None:
    """mIoU at 45x60 says nothing about 90x120."""
    scores = Scores(miou=0.5, pixel_accuracy=0.5, dice=0.5, iou=(0.5,), pixels=1)
    card = structs.replace(load_checkpoint(artifacts / "best.pt").card, scores=scores)

    assert configured(card, ExportConfig(dynamic=True)).scores == scores
    assert configured(card, ExportConfig(imgsz=(45, 60))).scores == scores
    assert configured(card, ExportConfig(imgsz=(90, 120))).scores is None


def test_images_are_opened_once_for_all_formats(artifacts: Path, tiny_camvid: Path) -> None:
    """Int8 is calibrated on the training split; other precisions do not open it."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    config = ExportConfig(precision="int8", dataset="camvid", data=tiny_camvid)

    plan = resolve(checkpoint.network(), checkpoint.card, config, targets={})
    float_plan = resolve(
        checkpoint.network(), checkpoint.card, replace(config, precision="fp32"), targets={}
    )

    assert plan.calibration is not None
    assert (plan.calibration.source, len(plan.calibration)) == ("camvid train", 12)
    assert (plan.proof_images.source, len(plan.proof_images)) == ("camvid val", 3)
    assert float_plan.calibration is None


def test_exported_files_carry_no_folder_of_the_training(artifacts: Path, tiny_camvid: Path) -> None:
    """Paths name the user and the disks of a machine; the checkpoint keeps them."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    recipe = {"data": "camvid", "extra_data": "/home/me/idd", "epochs": 3}
    training = Training(
        dataset="camvid",
        data_hash="",
        recipe=recipe,
        versions={},
        seed=0,
        epochs=3,
        folder=str(tiny_camvid),
    )
    given = structs.replace(checkpoint.card, training=training)

    plan = resolve(checkpoint.network(), given, ONE_IMAGE, targets={})

    assert plan.proof_images.source == "camvid val"
    assert plan.card.training is not None
    assert plan.card.training.folder == ""
    assert plan.card.training.recipe == {**recipe, "data": "", "extra_data": ""}
    assert str(tiny_camvid) in given.to_json()
    assert str(tiny_camvid) not in plan.card.to_json()


def test_server_returns_classes_unless_another_output_is_named(artifacts: Path) -> None:
    checkpoint = load_checkpoint(artifacts / "best.pt")
    plan = resolve(checkpoint.network(), checkpoint.card, ONE_IMAGE, targets={})
    soft = resolve(
        checkpoint.network(),
        checkpoint.card,
        replace(ONE_IMAGE, output="probabilities"),
        targets={},
    )

    assert with_default_output(plan, FORMATS["triton"]).card.output == "classes"
    assert with_default_output(plan, FORMATS["onnx"]) is plan
    assert with_default_output(soft, FORMATS["triton"]) is soft
