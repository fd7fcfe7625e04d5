"""Encoders: their interface, their names, output stride and dilation, and pretrained weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Self

from torch import Tensor, nn

from segdeploy.card import IMAGENET_MEAN, IMAGENET_STD
from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.checkpoint import check_shapes, is_state_dict, read_tensors

IMAGENET = "imagenet"
"""Value of `--weights-backbone` for the weights that the publisher trained on ImageNet."""

OUTPUT_STRIDES = (8, 16, 32)

STAGES = 5
"""Stages of an encoder. Each halves the image, down to a 32nd, where it is not dilated instead."""

TIMM = "timm:"
"""Prefix of the name of an encoder of timm."""

MODULES: Mapping[str, str] = {
    "efficientnet_lite0": "efficientnet",
    "mobilenet_v3_large": "torchvision_encoders",
    "resnet101": "torchvision_encoders",
    "resnet50": "torchvision_encoders",
    "xception": "xception",
}
"""Names of the encoders, with the module of this folder that builds each."""

NAMES = tuple(MODULES)
"""Names of the encoders, besides those of timm."""


class Encoder(nn.Module, ABC):
    """A classification network without its classifier, which returns features of several sizes.

    Attributes:
        channels: Channels of each feature map, from fine to coarse.
        strides: How much smaller than the image each of them is; sides are rounded up.
        multiple: Number of which the image's sides must be multiples.
        mean: Mean of red, green and blue in [0, 1] that the pretrained weights expect.
        std: Standard deviation that they expect.
        fixed_size: Height and width of the only images that it takes; None for any size.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    multiple: int = 1
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    fixed_size: tuple[int, int] | None = None

    # TorchScript has no tuple of unknown length, and requires a list here.
    __jit_ignored_attributes__ = ["channels", "strides", "fixed_size"]  # noqa: RUF012

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the feature maps of (N, 3, H, W) normalized images, from fine to coarse.

        Each is (N, C, ceil(H / stride), ceil(W / stride)).
        """

    @abstractmethod
    def published(self) -> Mapping[str, Tensor]:
        """Return the weights trained on ImageNet, under the names that their publisher chose.

        Raises:
            ModelError: There are none, or they cannot be downloaded.
            MissingExtraError: The package that contains them is not installed.
        """

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights under the names of this module, without the classifier."""
        return dict(weights)


def build_encoder(name: str, *, output_stride: int) -> Encoder:
    """Build an encoder with randomly initialized weights.

    Args:
        name: One of `NAMES`, or "timm:" and the name of an encoder of timm.
        output_stride: Stride of the coarsest features: 8, 16 or 32. Stages that would halve further
            are dilated instead.

    Raises:
        ConfigError: There is none of that name, or it cannot have that stride.
        MissingExtraError: The library that it comes from is not installed.
    """
    module = "timm_encoders" if name.startswith(TIMM) else MODULES.get(name)
    if module is None:
        msg = f"there is no backbone {name!r}; choose one of {', '.join(NAMES)}, or {TIMM}NAME"
        raise ConfigError(msg)
    if output_stride not in OUTPUT_STRIDES:
        msg = f"output_stride is {output_stride!r}; it must be 8, 16 or 32"
        raise ConfigError(msg)
    encoder: Encoder = import_module(f"segdeploy.models.encoders.{module}").build(
        name.removeprefix(TIMM), output_stride
    )
    return encoder


@dataclass(frozen=True, kw_only=True)
class StageStride:
    """Stride and dilation of one stage of an encoder.

    Attributes:
        stride: 2 where the stage halves, 1 where it is dilated instead.
        dilation: Dilation up to and including the layer that halves, or would.
        next_dilation: Dilation of the layers behind it.
    """

    stride: int
    dilation: int
    next_dilation: int

    @classmethod
    def without_halving(cls, dilation: int) -> Self:
        """Return stride and dilation of layers behind the one that halves."""
        return cls(stride=1, dilation=dilation, next_dilation=dilation)


def stage_strides(output_stride: int) -> list[StageStride]:
    """Return stride and dilation of the five stages for an output stride.

    Each stage that must not halve doubles the dilation.
    """
    stages = []
    for number in range(STAGES):
        dilation = max(1, 2**number // output_stride)
        next_dilation = max(1, 2 ** (number + 1) // output_stride)
        stages.append(
            StageStride(
                stride=2 if next_dilation == 1 else 1,
                dilation=dilation,
                next_dilation=next_dilation,
            )
        )
    return stages


def feature_strides(output_stride: int) -> tuple[int, ...]:
    """Return the strides of the features of the five stages for an output stride."""
    return tuple(min(2 ** (number + 1), output_stride) for number in range(STAGES))


def apply_stride(stage: nn.Module, target: StageStride) -> None:
    """Change the convolutions of a stage that halves once to another stride and dilation."""
    dilation = target.dilation
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            halves = module.stride == (2, 2)
            module.dilation = (dilation, dilation)
            module.padding = (
                module.kernel_size[0] // 2 * dilation,
                module.kernel_size[1] // 2 * dilation,
            )
            if halves:
                module.stride = (target.stride, target.stride)
                dilation = target.next_dilation


def load_backbone(network: nn.Module, source: str) -> None:
    """Load pretrained weights into the backbone of a network; every name and shape must fit.

    Args:
        network: Has an encoder as its attribute `backbone`.
        source: "imagenet", or the path of a state dict, under the publisher's names or ours.

    Raises:
        ConfigError: The network has no backbone.
        ModelError: The weights cannot be downloaded or read, or do not fit.
        MissingExtraError: The package that contains them is not installed.
    """
    encoder = getattr(network, "backbone", None)
    if not isinstance(encoder, Encoder):
        msg = (
            f"{type(network).__name__} has no backbone that {source} could be loaded into; leave"
            " --weights-backbone out"
        )
        raise ConfigError(msg)
    given = encoder.published() if source == IMAGENET else read_state_dict(Path(source))
    expected = encoder.state_dict()
    weights = dict(given) if given.keys() == expected.keys() else encoder.renamed(given)
    check_shapes(
        expected,
        weights,
        problem=f"the weights of {source} do not fit the backbone",
        hint="use weights of this backbone",
    )
    encoder.load_state_dict(weights)


def read_state_dict(path: Path) -> Mapping[str, Tensor]:
    """Return the state dict in a file.

    Raises:
        ModelError: The file is missing, damaged, or holds something else.
    """
    content = read_tensors(path, hint=f"give '{IMAGENET}', or a file with a state dict")
    if not is_state_dict(content):
        msg = f"{path} holds something else than a state dict; give the state dict of a backbone"
        raise ModelError(msg)
    assert isinstance(content, Mapping)
    return content
