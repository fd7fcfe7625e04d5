"""Light FPN: a feature pyramid (Lin et al., CVPR 2017) of few channels, with pyramid pooling."""

import torch
from torch import Tensor, nn

from segdeploy.errors import ConfigError
from segdeploy.models.blocks import (
    Output,
    PyramidPooling,
    conv_norm_relu,
    initialize,
    separable,
    upsample,
)
from segdeploy.models.encoders.encoder import build_encoder
from segdeploy.models.registry import register

DROPOUT = 0.1

AUXILIARY = 16
"""Stride of the features that the auxiliary head takes."""


@register("lightfpn")
class LightFPN(nn.Module):
    """The encoder's features from coarse to fine, each added to the upsampled sum of coarser ones.

    The logits have stride `finest`; in training mode there are auxiliary ones of stride 16.
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
        """Build the network with random weights.

        Args:
            classes: Number of classes, K.
            backbone: Name of an encoder.
            width: Channels of the decoder.
            finest: Stride of the logits: 4 or 8.

        Raises:
            ConfigError: A value is out of range, or the encoder has no features of these strides.
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
        self.fixed_size = self.backbone.fixed_size
        *fine, self._coarsest = [
            strides.index(stride) for stride in (4, 8, 16, 32) if stride >= finest
        ]
        self._fine = tuple(fine)
        channels = [self.backbone.channels[index] for index in (*fine, self._coarsest)]
        self._auxiliary = strides.index(AUXILIARY)
        self.context = PyramidPooling(channels[-1], width)
        self.bridges = nn.ModuleList(
            [conv_norm_relu(count, width, kernel=1) for count in channels[:-1]]
        )
        self.refine = nn.ModuleList([separable(width, width) for _ in channels[:-1]])
        self.head = nn.Sequential(
            separable(width, width), nn.Dropout(DROPOUT), nn.Conv2d(width, classes, 1)
        )
        auxiliary = self.backbone.channels[self._auxiliary]
        self.auxiliary = nn.Sequential(
            conv_norm_relu(auxiliary, 64), nn.Dropout(DROPOUT), nn.Conv2d(64, classes, 1)
        )
        for part in (self.context, self.bridges, self.refine, self.head, self.auxiliary):
            initialize(part)

    def forward(self, image: Tensor) -> Output:
        """Return (N, K, H / finest, W / finest) logits of (N, 3, H, W) normalized images."""
        features = self.backbone(image)
        bridged = []
        for index, bridge in zip(self._fine, self.bridges, strict=True):
            bridged.append(bridge(features[index]))
        joined = self.context(features[self._coarsest])
        joined = self.refine[-1](bridged[-1] + upsample(joined, bridged[-1], factor=2))
        joined = self.refine[-2](bridged[-2] + upsample(joined, bridged[-2], factor=2))
        # Written out, since TorchScript cannot iterate over modules in reverse.
        if len(bridged) > 2:
            joined = self.refine[0](bridged[0] + upsample(joined, bridged[0], factor=2))
        logits: Tensor = self.head(joined)
        if not torch.jit.is_scripting() and self.training:
            return logits, self.auxiliary(features[self._auxiliary])
        return logits
