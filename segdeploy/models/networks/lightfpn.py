"""A light decoder on an encoder.

A feature pyramid (Lin et al., CVPR 2017) of few channels, with the whole image in view.
"""

import torch
from torch import Tensor, nn

from segdeploy.errors import ConfigError
from segdeploy.models.blocks import (
    Answer,
    PyramidPooling,
    conv_norm_relu,
    enlarge,
    initialize,
    separable,
)
from segdeploy.models.encoders.encoder import build_encoder
from segdeploy.models.registry import register

DROPOUT = 0.1

AUXILIARY = 16
"""Stride of the features that the auxiliary head sees."""


@register("lightfpn")
class LightFPN(nn.Module):
    """The encoder's features from coarse to fine, each added to the enlarged sum of the coarser ones.

    The logits are `finest` times smaller than the image; while it trains, there are auxiliary
    ones of a sixteenth.
    """

    least_batch = 2

    def __init__(
        self,
        classes: int,
        *,
        backbone: str = "efficientnet_lite0",
        width: int = 128,
        finest: int = 8,
    ) -> None:
        """Build the network with fresh weights.

        Args:
            classes: Number of classes, K.
            backbone: Name of an encoder.
            width: Channels of the decoder.
            finest: Stride of the logits: 4 or 8.

        Raises:
            ConfigError: A value cannot be, or the encoder gives no features of these strides.
        """
        super().__init__()
        self.backbone = build_encoder(backbone, output_stride=32)
        strides = self.backbone.strides
        if width < 1 or finest not in (4, 8) or not {finest, 8, AUXILIARY, 32} <= set(strides):
            msg = (
                "lightfpn has a width of 1 or more, finest 4 or 8, and features of strides 4 to"
                f" 32; not {width}, {finest}, {strides}"
            )
            raise ConfigError(msg)
        self.stride = max(finest, self.backbone.multiple)
        *fines, self._coarsest = [
            strides.index(stride) for stride in (4, 8, 16, 32) if stride >= finest
        ]
        self._fines = tuple(fines)
        channels = [self.backbone.channels[index] for index in (*fines, self._coarsest)]
        self._coarse = strides.index(AUXILIARY)
        self.context = PyramidPooling(channels[-1], width)
        self.bridges = nn.ModuleList(
            [conv_norm_relu(count, width, kernel=1) for count in channels[:-1]]
        )
        self.refine = nn.ModuleList([separable(width, width) for _ in channels[:-1]])
        self.head = nn.Sequential(
            separable(width, width), nn.Dropout(DROPOUT), nn.Conv2d(width, classes, 1)
        )
        auxiliary = self.backbone.channels[self._coarse]
        self.auxiliary = nn.Sequential(
            conv_norm_relu(auxiliary, 64), nn.Dropout(DROPOUT), nn.Conv2d(64, classes, 1)
        )
        for part in (self.context, self.bridges, self.refine, self.head, self.auxiliary):
            initialize(part)

    def forward(self, image: Tensor) -> Answer:
        """Answer (N, 3, H, W) normalized images with (N, K, H / finest, W / finest) logits."""
        features = self.backbone(image)
        bridged = []
        for index, bridge in zip(self._fines, self.bridges, strict=True):
            bridged.append(bridge(features[index]))
        joined = self.context(features[self._coarsest])
        joined = self.refine[-1](bridged[-1] + enlarge(joined, bridged[-1], factor=2))
        joined = self.refine[-2](bridged[-2] + enlarge(joined, bridged[-2], factor=2))
        # Written out, since TorchScript turns no list of modules around.
        if len(bridged) > 2:
            joined = self.refine[0](bridged[0] + enlarge(joined, bridged[0], factor=2))
        logits: Tensor = self.head(joined)
        if not torch.jit.is_scripting() and self.training:
            return logits, self.auxiliary(features[self._coarse])
        return logits
