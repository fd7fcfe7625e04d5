"""Folders of other libraries give the masks that these libraries give."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segdeploy.backends.loading import load_backend
from segdeploy.card import IMAGENET_MEAN, IMAGENET_STD
from segdeploy.errors import ConfigError, ModelError
from segdeploy.export.adopt.adoption import adopt_model
from segdeploy.imaging.io import write_image
from segdeploy.inference.predictor import Predictor

NOISE = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
IMAGE = np.asarray(cv2.resize(NOISE, (120, 90), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
"""BGR, of large spots, since noise would decide labels by its last digits."""

SIZE = {"height": 32, "width": 64}
NAMES = ("sky", "road", "car", "tree")


def spread(network: nn.Module, seed: int = 1) -> None:
    """Give a network random weights, with which several classes win for some seeds."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, 0, 0.3)
    network.eval()


def segformer() -> tuple[Any, Any]:
    transformers = pytest.importorskip("transformers")
    labels = dict(enumerate(NAMES))
    config = transformers.SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8, 16, 24, 32],
        decoder_hidden_size=16,
        num_attention_heads=[1, 1, 2, 2],
        id2label=labels,
        label2id={name: index for index, name in labels.items()},
    )
    network = transformers.SegformerForSemanticSegmentation(config)
    return network, transformers.SegformerImageProcessor(size=SIZE)


def mobilevit() -> tuple[Any, Any]:
    """It takes BGR, is not normalized, and is resized bicubically."""
    transformers = pytest.importorskip("transformers")
    config = transformers.MobileViTConfig(
        hidden_sizes=[16, 16, 16], neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16], num_labels=4
    )
    network = transformers.MobileViTForSemanticSegmentation(config)
    return network, transformers.MobileViTImageProcessor(size=SIZE, do_center_crop=False)


def mask2former() -> tuple[Any, Any]:
    """It returns masks and their classes, which its processor mixes at a size of its own."""
    transformers = pytest.importorskip("transformers")
    backbone = transformers.SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        image_size=64,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=10,
        num_labels=4,
    )
    network = transformers.Mask2FormerForUniversalSegmentation(config)
    return network, transformers.Mask2FormerImageProcessor(size=SIZE)


@pytest.mark.parametrize(
    "make",
    [
        segformer,
        pytest.param(mobilevit, marks=pytest.mark.slow),
        pytest.param(mask2former, marks=pytest.mark.slow),
    ],
)
def test_masks_are_those_of_the_librarys_own_post_processing(tmp_path: Path, make: Any) -> None:
    """Size, filter, order, mean and deviation come from its processor; its classes by name."""
    network, processor = make()
    # Random attention turns a last digit of the filter into other masks.
    image = IMAGE if make is segformer else IMAGE[: SIZE["height"], : SIZE["width"]].copy()
    batch = processor(images=image[..., ::-1].copy(), return_tensors="pt")["pixel_values"]
    for seed in range(40):
        spread(network, seed)
        with torch.no_grad():
            output = network(pixel_values=batch)
        [expected] = processor.post_process_semantic_segmentation(output, [image.shape[:2]])
        if len(expected.unique()) > 1:
            break
    network.save_pretrained(tmp_path / "theirs")
    processor.save_pretrained(tmp_path / "theirs")
    write_image(tmp_path / "image.png", image)

    adoption = adopt_model(tmp_path / "theirs", files=(tmp_path / "image.png",))

    mask = Predictor(load_backend(adoption.path, device="cpu", threads=1)).mask(image)
    assert len(expected.unique()) > 1
    assert (mask == expected.numpy()).mean() >= 0.995
    assert adoption.finding.source == "file"
    if make is segformer:
        assert [entry.name for entry in adoption.card.classes] == list(NAMES)


def test_folder_of_smp_with_one_channel_becomes_two_classes(tmp_path: Path) -> None:
    """Its preprocessing is that of the encoder's pretrained weights."""
    smp = pytest.importorskip("segmentation_models_pytorch")
    network = smp.Unet("resnet18", encoder_weights=None, classes=1, activation="sigmoid")
    spread(network)
    # As `save_pretrained` does, which asks the hub whether its README is valid.
    (tmp_path / "theirs").mkdir()
    config = {**network.config, "encoder_weights": "imagenet", "_model_class": "Unet"}
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), tmp_path / "theirs" / "model.safetensors")
    small = np.asarray(cv2.resize(IMAGE, (64, 32), interpolation=cv2.INTER_LINEAR), np.uint8)
    write_image(tmp_path / "image.png", small)
    numbers = (small[..., ::-1] / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    with torch.no_grad():
        probability = network(torch.from_numpy(numbers.transpose(2, 0, 1)[None].astype(np.float32)))

    adoption = adopt_model(
        tmp_path / "theirs", classes="auto", imgsz=(32, 64), files=(tmp_path / "image.png",)
    )

    mask = Predictor(load_backend(adoption.path, device="cpu", threads=1)).mask(small)
    assert adoption.card.architecture == "smp:Unet"
    assert [entry.name for entry in adoption.card.classes] == ["background", "foreground"]
    assert (mask == (probability[0, 0] > 0.5).numpy()).mean() >= 0.999


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (None, "has no config.json of transformers or segmentation-models-pytorch"),
        ("{", "cannot be read as JSON"),
        ("[]", "holds no table in JSON"),
        ('{"model_type": "bert"}', "is of the kind 'bert'"),
        ('{"model_type": "segformer"}', "holds no weights"),
        ('{"_model_class": "Net"}', "holds 'Net', and smp's networks are"),
        ('{"_model_class": "Unet", "classes": 2}', "holds no weights"),
        (
            '{"model_type": "segformer", "hidden_sizes": [90000, 90000, 90000, 90000]}',
            "describes a network of",
        ),
        (
            '{"model_type": "upernet", "backbone": "a/b", "use_pretrained_backbone": true}',
            "cannot be used",
        ),
    ],
)
def test_folder_that_cannot_be_adopted_is_refused(
    tmp_path: Path, config: str | None, text: str
) -> None:
    """Nothing is downloaded, and no memory is taken for what the weights do not hold."""
    pytest.importorskip("transformers")
    pytest.importorskip("segmentation_models_pytorch")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
        if "describes" in text or "cannot be used" in text:
            (tmp_path / "model.safetensors").write_bytes(b"8")

    with pytest.raises(ModelError, match=text):
        adopt_model(tmp_path, imgsz=(32, 32))


class Program:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return open, ("/nowhere/created",)


@pytest.mark.parametrize(
    "config", [{"model_type": "segformer"}, {"_model_class": "Unet", "encoder_name": "resnet18"}]
)
def test_nothing_in_a_folder_is_executed(tmp_path: Path, config: dict[str, str]) -> None:
    """A file that names code beside it, and weights that are a pickle of more than tensors."""
    pytest.importorskip("transformers")
    pytest.importorskip("segmentation_models_pytorch")
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModel": "own.Net", "AutoConfig": "own.Config"}})
    )
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'created')!r}, 'w')")
    torch.save({"weight": Program()}, tmp_path / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"holds? more than tensors"):
        adopt_model(tmp_path, imgsz=(32, 32))
    assert not (tmp_path / "created").exists()


def test_network_of_a_folder_is_not_named_again(tmp_path: Path) -> None:
    """An option without effect would hide a mistake."""
    with pytest.raises(ConfigError, match="a folder names its network"):
        adopt_model(tmp_path, architecture="unet")
    with pytest.raises(ModelError, match="there is no file"):
        adopt_model(tmp_path / "nothing.onnx", architecture="unet")
