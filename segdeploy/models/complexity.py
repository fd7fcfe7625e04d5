"""What a network costs: parameters and multiplications, counted without computing anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segdeploy.models.registry import build

NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network costs for one image.

    Attributes:
        parameters: How many numbers are learned, without auxiliary heads, which only training has.
        gflops: Thousands of millions of multiplications and additions, each counted as one.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        stride: Number of which an image's sides must be multiples.
    """

    parameters: int
    gflops: float
    height: int
    width: int
    stride: int


def measure_complexity(
    name: str, *, classes: int, height: int, width: int, arguments: Mapping[str, Any] = NONE
) -> Cost:
    """Count what a registered network costs, on tensors that hold no numbers."""
    with torch.device("meta"):
        network = build(name, classes, **arguments).eval()
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            network(torch.empty(1, 3, height, width))
    stride = network.stride
    assert isinstance(stride, int)
    return Cost(
        parameters=parameters(network),
        gflops=counter.get_total_flops() / 1e9,
        height=height,
        width=width,
        stride=stride,
    )


def parameters(network: nn.Module) -> int:
    """Count what is learned and answers; auxiliary heads do not."""
    return sum(
        values.numel()
        for key, values in network.named_parameters()
        if not key.startswith("auxiliary.")
    )
