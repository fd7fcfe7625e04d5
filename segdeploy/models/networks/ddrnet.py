"""DDRNet-23-slim: Hong et al., "Deep Dual-Resolution Networks", arXiv 2101.06085."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.errors import ConfigError
from segdeploy.models.blocks import (
    Bottleneck,
    DeepAggregation,
    Output,
    conv_norm,
    conv_norm_relu,
    initialize,
    pre_activation_head,
    stage,
    upsample,
)
from segdeploy.models.registry import register

CONTEXT = 128
"""Channels of each scale of the context."""


@register("ddrnet23slim")
class DDRNet(nn.Module):
    """A branch of stride 8, a branch that downsamples further, and exchanges between both.

    The logits have stride 8, and in training mode so have those of the auxiliary head.
    """

    stride = 8
    least_batch = 2

    def __init__(self, classes: int, *, width: int = 32) -> None:
        """Build the network with random weights.

        Args:
            classes: Number of classes, K.
            width: Channels at stride 4; 32 is DDRNet-23-slim, 64 is DDRNet-23.

        Raises:
            ConfigError: The width is out of range.
        """
        if width < 1:
            msg = f"a DDRNet cannot have width {width}; the width is 1 or more, 32 in the slim one"
            raise ConfigError(msg)
        super().__init__()
        fine = 2 * width
        self.stem = nn.Sequential(
            conv_norm_relu(3, width, stride=2),
            conv_norm_relu(width, width, stride=2),
            stage(width, width, blocks=2),
            nn.ReLU(),
            stage(width, fine, blocks=2, stride=2),
            nn.ReLU(),
        )
        self.fine = nn.ModuleList([stage(fine, fine, blocks=2), stage(fine, fine, blocks=2)])
        self.coarse = nn.ModuleList(
            [
                stage(fine, 4 * width, blocks=2, stride=2),
                stage(4 * width, 8 * width, blocks=2, stride=2),
            ]
        )
        self.exchange = nn.ModuleList(
            [Exchange(fine, (4 * width,)), Exchange(fine, (4 * width, 8 * width))]
        )
        self.fine_end = Bottleneck(fine, fine)
        self.coarse_end = Bottleneck(8 * width, 8 * width, stride=2)
        self.context = DeepAggregation(16 * width, CONTEXT, 4 * width)
        self.head = pre_activation_head(4 * width, 2 * width, classes)
        self.auxiliary = pre_activation_head(fine, 2 * width, classes)
        initialize(self)

    def forward(self, image: Tensor) -> Output:
        """Return (N, K, H / 8, W / 8) logits of (N, 3, H, W) normalized images."""
        fine = coarse = self.stem(image)
        exchanged = []
        for fine_stage, coarse_stage, exchange in zip(
            self.fine, self.coarse, self.exchange, strict=True
        ):
            fine, coarse = exchange(
                fine_stage(functional.relu(fine)), coarse_stage(functional.relu(coarse))
            )
            exchanged.append(fine)
        fine = self.fine_end(functional.relu(fine))
        context = self.context(self.coarse_end(functional.relu(coarse)))
        logits: Tensor = self.head(fine + upsample(context, fine, factor=8))
        if not torch.jit.is_scripting() and self.training:
            return logits, self.auxiliary(exchanged[0])
        return logits


class Exchange(nn.Module):
    """The paper's bilateral fusion: each branch is added to the other, before the activation."""

    def __init__(self, fine: int, widths: tuple[int, ...]) -> None:
        """Build both directions.

        Args:
            fine: Channels of the fine branch.
            widths: Channels after each downsampling toward the coarse branch.
        """
        super().__init__()
        steps = [
            conv_norm(channels, out_channels, stride=2)
            for channels, out_channels in pairwise((fine, *widths))
        ]
        self.down = nn.Sequential(*[part for step in steps for part in (nn.ReLU(), step)])
        self.up = conv_norm(widths[-1], fine, kernel=1)
        self.factor = 2 ** len(widths)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return both branches, each with the other one added."""
        return fine + upsample(
            self.up(functional.relu(coarse)), fine, factor=self.factor
        ), coarse + self.down(fine)
