"""Encoder interface, factory, output stride and dilation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from torch import Tensor, nn

from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.weights import read_plain

HALVINGS = 5
"""How often an encoder halves the image, to a 32nd, where nothing is dilated instead."""


class Encoder(nn.Module, ABC):
    """Returns features of an image from fine to coarse.

    Attributes:
        channels: Channels of each of the features.
        strides: How much smaller than the image each of them is; the sides are rounded up.
        multiple: Number of which the image's sides must be multiples.
        mean: Mean of red, green, blue in [0, 1] with which its published weights were learned.
        std: Deviation of the same.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    multiple: int = 1
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    __jit_ignored_attributes__ = [
        "channels",
        "strides",
    ]  # noqa: RUF012 - TorchScript, which knows no tuple of any length, asks for a list

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features (N, C, ceil(H / stride), ceil(W / stride)) of (N, 3, H, W) normalized images."""

    @abstractmethod
    def published(self) -> Mapping[str, Tensor]:
        """Fetch the weights that were learned on ImageNet, under the names that their publisher gave them.

        Raises:
            ModelError: There are none, or they cannot be fetched.
            MissingExtraError: The package that carries them is not installed.
        """

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights the names that they have here, and leave out what only classifies."""
        return dict(weights)


def strides_at(output_stride: int) -> tuple[int, ...]:
    """Return the strides of the five features where none is coarser than this."""
    return tuple(min(2 ** (halving + 1), output_stride) for halving in range(HALVINGS))


OUTPUT_STRIDES = (8, 16, 32)

TIMM = "timm:"
"""What the name of an encoder of timm begins with."""

PLACES = {
    "efficientnet_lite0": "efficientnet",
    "mobilenet_v3_large": "torchvision_encoders",
    "resnet101": "torchvision_encoders",
    "resnet50": "torchvision_encoders",
    "xception": "xception",
}
"""The module that builds each encoder."""

NAMES = tuple(PLACES)
"""Names of the encoders, besides those of timm."""


def build_encoder(name: str, *, output_stride: int) -> Encoder:
    """Build an encoder with fresh weights.

    Args:
        name: One of NAMES, or "timm:" and the name of an encoder of timm.
        output_stride: Stride of the coarsest features: 8, 16 or 32. What would halve further is
            dilated instead.

    Raises:
        ConfigError: There is none of that name, or it cannot have that stride.
        MissingExtraError: The library that it comes from is not installed.
    """
    place = "timm_encoders" if name.startswith(TIMM) else PLACES.get(name)
    if place is None:
        msg = f"there is no backbone {name!r}; choose one of {', '.join(NAMES)}, or {TIMM}NAME"
        raise ConfigError(msg)
    if output_stride not in OUTPUT_STRIDES:
        msg = f"output_stride is {output_stride!r}; it must be 8, 16 or 32"
        raise ConfigError(msg)
    encoder: Encoder = import_module(f"segdeploy.models.encoders.{place}").build(
        name.removeprefix(TIMM), output_stride
    )
    return encoder


@dataclass(frozen=True, kw_only=True)
class Halving:
    """One stage of an encoder, from before to after the place where it halves.

    Attributes:
        stride: 2 where it halves, 1 where it must not.
        before: Dilation up to the place, and in it.
        after: Dilation from there on.
    """

    stride: int
    before: int
    after: int


def halvings(output_stride: int) -> list[Halving]:
    """Return the five stages of an encoder whose coarsest features have this stride.

    Each that must not halve doubles the dilation.
    """
    stages = []
    for number in range(HALVINGS):
        before = max(1, 2**number // output_stride)
        after = max(1, 2 ** (number + 1) // output_stride)
        stages.append(Halving(stride=2 if after == 1 else 1, before=before, after=after))
    return stages


def dilate(stage: nn.Module, halving: Halving) -> None:
    """Change the convolutions of a stage that halves once, so that it does what the halving says."""
    dilation = halving.before
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            here = module.stride == (2, 2)
            module.dilation = (dilation, dilation)
            module.padding = (
                module.kernel_size[0] // 2 * dilation,
                module.kernel_size[1] // 2 * dilation,
            )
            if here:
                module.stride = (halving.stride, halving.stride)
                dilation = halving.after


IMAGENET = "imagenet"


def load_backbone(network: nn.Module, source: str) -> None:
    """Return a network's backbone weights that were learned elsewhere; every name and size must fit.

    Args:
        network: Has an encoder as its attribute `backbone`.
        source: "imagenet", or a file with a table of tensors, under their publisher's names or
            ours.

    Raises:
        ConfigError: The network has no backbone.
        ModelError: The weights cannot be fetched or read, or do not fit.
        MissingExtraError: The package that carries them is not installed.
    """
    encoder = getattr(network, "backbone", None)
    if not isinstance(encoder, Encoder):
        msg = (
            f"{type(network).__name__} has no backbone to begin with {source}; leave"
            " --weights-backbone out"
        )
        raise ConfigError(msg)
    given = encoder.published() if source == IMAGENET else read_tensors(Path(source))
    expected = shapes(encoder.state_dict())
    weights = dict(given) if given.keys() == expected.keys() else encoder.renamed(given)
    found = shapes(weights)
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            msg = (
                f"the weights of {source} do not fit the backbone: {key} is"
                f" {found.get(key, 'missing')} there and {expected.get(key, 'unknown')} in the"
                " network; use weights of this backbone"
            )
            raise ModelError(msg)
    encoder.load_state_dict(weights)


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Read a table of tensors; nothing else is ever built from the file.

    Raises:
        ModelError: The file is missing, damaged, or holds something else.
    """
    content = read_plain(path, advice=f"give '{IMAGENET}', or a file with a table of tensors")
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        msg = (
            f"{path} holds something else than a table of tensors; give the state_dict of a"
            " backbone"
        )
        raise ModelError(msg)
    return content


def shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {key: tuple(value.shape) for key, value in weights.items()}
