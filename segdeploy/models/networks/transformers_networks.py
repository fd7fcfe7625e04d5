"""Networks of Hugging Face transformers, as `hf:MODEL_TYPE`, for example `hf:segformer`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import transformers
from torch import Tensor, einsum, nn
from torch.nn import functional
from transformers import CONFIG_MAPPING

from segdeploy.errors import ConfigError
from segdeploy.models.foreign import LogitsModule, offline


@dataclass(frozen=True, kw_only=True)
class Member:
    """One kind of network of the library.

    Attributes:
        name: Name of its class.
        stride: Number of which height and width must be multiples; 0 for networks of one size, that
            of their configuration.
        mask_size: Size to which the masks of queries are upsampled before they are mixed, as the
            library's post-processing does; 0 for their own, -1 for the image's.
        is_query: Whether it returns masks of queries instead of logits of classes.
    """

    name: str
    stride: int = 32
    mask_size: int = 0
    is_query: bool = False


MEMBERS: Mapping[str, Member] = {
    "beit": Member(name="BeitForSemanticSegmentation", stride=0),
    "data2vec-vision": Member(name="Data2VecVisionForSemanticSegmentation", stride=0),
    "dpt": Member(name="DPTForSemanticSegmentation", stride=0),
    "eomt": Member(name="EomtForUniversalSegmentation", stride=0, mask_size=-1, is_query=True),
    "mask2former": Member(name="Mask2FormerForUniversalSegmentation", mask_size=384, is_query=True),
    "maskformer": Member(name="MaskFormerForInstanceSegmentation", is_query=True),
    "mobilenet_v2": Member(name="MobileNetV2ForSemanticSegmentation"),
    "mobilevit": Member(name="MobileViTForSemanticSegmentation"),
    "mobilevitv2": Member(name="MobileViTV2ForSemanticSegmentation"),
    "segformer": Member(name="SegformerForSemanticSegmentation"),
    "upernet": Member(name="UperNetForSemanticSegmentation"),
}
"""Networks by the `model_type` of their configuration."""

NO_DOWNLOAD = {"use_pretrained_backbone": False}
"""Entries of a configuration that would fetch weights."""


class QueryModule(nn.Module):
    """A network of masks and their classes that returns a score for each class and pixel."""

    def __init__(self, network: nn.Module, member: Member) -> None:
        """Wrap a network.

        Args:
            network: Returns `class_queries_logits` and `masks_queries_logits`.
            member: Its kind.
        """
        super().__init__()
        self.network = network
        self.mask_size = member.mask_size
        self.stride = 1
        self.fixed_size: tuple[int, int] | None = None

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, h, w) scores in [0, 1] of (N, 3, H, W) normalized images.

        It is the mixture of MaskFormer (Cheng et al. 2021, section 3.4): the class probabilities of
        each query times its mask, summed up; the "no object" class is left out.
        """
        output = self.network(image)
        masks = output.masks_queries_logits
        if self.mask_size:
            side = self.mask_size
            size = image.shape[-2:] if side < 0 else (side, side)
            masks = functional.interpolate(masks, size=size, mode="bilinear", align_corners=False)
        classes = output.class_queries_logits.softmax(dim=-1)[..., :-1]
        return einsum("bqc,bqhw->bchw", classes, masks.sigmoid())


def build(member: str, classes: int, **arguments: Any) -> nn.Module:  # noqa: ANN401
    """Build a network with random weights.

    Args:
        member: Its `model_type`, a key of MEMBERS.
        classes: Number of classes.
        arguments: Entries of its configuration.

    Raises:
        ConfigError: There is no such network, its configuration is wrong, or wants something from
            the hub.
    """
    if member not in MEMBERS:
        msg = f"transformers' {member!r} is not supported; choose one of {', '.join(MEMBERS)}"
        raise ConfigError(msg)
    kind = MEMBERS[member]
    texts = {index: str(index) for index in range(classes)}
    labels = {"id2label": texts, "label2id": {text: index for index, text in texts.items()}}
    try:
        with offline():
            config = CONFIG_MAPPING[member].from_dict({**arguments, **NO_DOWNLOAD, **labels})
            network = getattr(transformers, kind.name)(config)
    # The library raises OSError for what it would download, and many others for what does not fit.
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        RuntimeError,
        AttributeError,
        ImportError,
        IndexError,
        AssertionError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        wanted = "; nothing is downloaded" if isinstance(error, OSError) else ""
        msg = f"hf:{member} cannot be built from its configuration ({reason}){wanted}"
        raise ConfigError(msg) from error
    wrapped = QueryModule(network, kind) if kind.is_query else LogitsModule(network)
    wrapped.stride = kind.stride or 1
    side = getattr(config, "image_size", None)
    if not kind.stride and side is not None:
        wrapped.fixed_size = (side, side) if isinstance(side, int) else tuple(side)
    return wrapped
