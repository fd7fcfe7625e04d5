"""PIDNet-S: Xu et al., CVPR 2023, arXiv 2206.02066."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.models.blocks import (
    BasicBlock,
    Bottleneck,
    MultiScalePooling,
    Output,
    conv_norm,
    conv_norm_relu,
    initialize,
    norm_relu_conv,
    pre_activation_head,
    stage,
    upsample,
)
from segdeploy.models.registry import register

WIDTH = 32
"""Channels at stride 4; the S of PIDNet-S."""

CONTEXT = 96
"""Channels of each scale of the context."""

HEAD = 128
"""Channels of the 3x3 convolution before the logits."""

FACTORS = (2, 4)
"""How much coarser than the other branches the context is where they are joined."""


@register("pidnet_s")
class PIDNet(nn.Module):
    """Three branches: detail, context, and boundaries, which weight detail against context.

    The logits have stride 8. In training mode there are auxiliary ones of the same size: of the
    detail branch, and (N, 1, H / 8, W / 8) for the boundaries between classes.
    """

    stride = 8
    least_batch = 2

    def __init__(self, classes: int) -> None:
        """Build the network with random weights.

        Args:
            classes: Number of classes, K.
        """
        super().__init__()
        fine, quarter, half = 2 * WIDTH, 4 * WIDTH, 8 * WIDTH
        self.stem = nn.Sequential(
            conv_norm_relu(3, WIDTH, stride=2),
            conv_norm_relu(WIDTH, WIDTH, stride=2),
            stage(WIDTH, WIDTH, blocks=2),
            nn.ReLU(),
            stage(WIDTH, fine, blocks=2, stride=2),
            nn.ReLU(),
        )
        # P, the proportional branch, keeps detail; I integrates context; D differentiates, which
        # finds boundaries.
        self.context = nn.ModuleList(
            [stage(fine, quarter, blocks=3, stride=2), stage(quarter, half, blocks=3, stride=2)]
        )
        self.context_end = nn.Sequential(
            Bottleneck(half, half, stride=2),
            Bottleneck(2 * half, half),
            ParallelAggregation(2 * half, CONTEXT, quarter),
        )
        self.detail = nn.ModuleList([stage(fine, fine, blocks=2), stage(fine, fine, blocks=2)])
        self.detail_end = Bottleneck(fine, fine)
        self.guides = nn.ModuleList(
            [
                Guide(channels, fine, factor=factor)
                for channels, factor in zip((quarter, half), FACTORS, strict=True)
            ]
        )
        self.boundary = nn.ModuleList(
            [BasicBlock(fine, WIDTH, activated=False), Bottleneck(WIDTH, WIDTH)]
        )
        self.boundary_end = Bottleneck(fine, fine)
        self.to_boundary = nn.ModuleList([conv_norm(quarter, WIDTH), conv_norm(half, fine)])
        self.factors = FACTORS
        self.fuse = Fuse(quarter)
        self.head = pre_activation_head(quarter, HEAD, classes)
        self.auxiliary = nn.ModuleList(
            [pre_activation_head(fine, HEAD, classes), pre_activation_head(fine, WIDTH, 1)]
        )
        initialize(self)

    def forward(self, image: Tensor) -> Output:
        """Return (N, K, H / 8, W / 8) logits of (N, 3, H, W) normalized images."""
        detail = boundary = context = self.stem(image)
        details = []
        to_context = zip(self.context, self.detail, self.guides, strict=True)
        to_boundary = zip(self.boundary, self.to_boundary, self.factors, strict=True)
        for (deepen, own, guide), (edge, bridge, factor) in zip(
            to_context, to_boundary, strict=True
        ):
            context = functional.relu(deepen(context))
            detail = guide(own(functional.relu(detail)), context)
            boundary = edge(functional.relu(boundary))
            boundary = boundary + upsample(bridge(context), boundary, factor=factor)
            details.append(detail)
        whole = upsample(self.context_end(context), detail, factor=8)
        edges = self.boundary_end(functional.relu(boundary))
        logits: Tensor = self.head(
            self.fuse(self.detail_end(functional.relu(detail)), whole, edges)
        )
        if not torch.jit.is_scripting() and self.training:
            return logits, self.auxiliary[0](details[0]), self.auxiliary[1](boundary)
        return logits


class Guide(nn.Module):
    """The paper's Pag: the more both agree at a pixel, the more of the context is taken there."""

    def __init__(self, coarse: int, fine: int, *, factor: int) -> None:
        """Build the module.

        Args:
            coarse: Channels of the context.
            fine: Channels of the detail.
            factor: How much coarser the context is.
        """
        super().__init__()
        self.factor = factor
        self.compress = conv_norm(coarse, fine, kernel=1)
        self.ask = conv_norm(fine, fine // 2, kernel=1)
        self.answer = conv_norm(fine, fine // 2, kernel=1)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Join (N, C, H, W) with (N, C', ceil(H / factor), ceil(W / factor)) features."""
        compressed = self.compress(context)
        # Checkpoints contain the names of these layers.
        key = upsample(self.answer(compressed), detail, factor=self.factor)
        agreement: Tensor = (self.ask(detail) * key).sum(1, keepdim=True).sigmoid()
        return (1 - agreement) * detail + agreement * upsample(
            compressed, detail, factor=self.factor
        )


class Fuse(nn.Module):
    """The paper's Light-Bag: context inside regions, detail at their boundaries."""

    def __init__(self, channels: int) -> None:
        """Build the module; inputs and output have this many channels."""
        super().__init__()
        self.detail = conv_norm(channels, channels, kernel=1)
        self.context = conv_norm(channels, channels, kernel=1)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C, H, W) features."""
        near = boundary.sigmoid()
        output: Tensor = self.detail((1 - near) * context + detail) + self.context(
            context + near * detail
        )
        return output


class ParallelAggregation(nn.Module):
    """The paper's PAPPM: as `DeepAggregation`, but all scales are refined in parallel."""

    def __init__(self, channels: int, width: int, out_channels: int) -> None:
        """Build the module.

        Args:
            channels: Input channels.
            width: Channels of each scale.
            out_channels: Output channels.
        """
        super().__init__()
        self.means = MultiScalePooling(channels, width)
        wider = self.means.scales - 1
        self.refine = norm_relu_conv(wider * width, wider * width, kernel=3, groups=wider)
        self.join = norm_relu_conv((wider + 1) * width, out_channels)
        self.shortcut = norm_relu_conv(channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', H, W) features."""
        scales = self.means(features)
        here = scales[0]
        refined = self.refine(torch.cat([scale + here for scale in scales[1:]], dim=1))
        output: Tensor = self.join(torch.cat([here, refined], dim=1)) + self.shortcut(features)
        return output
