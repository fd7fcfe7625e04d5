"""Parameters and FLOPs of a network, counted without computing anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segdeploy.models.registry import build

NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Parameters of a network, and operations for one image.

    Attributes:
        parameters: Learned parameters, without auxiliary heads, which exist in training only.
        gflops: Billions of multiplications and additions, each counted as one.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        stride: Number of which the image's sides must be multiples.
    """

    parameters: int
    gflops: float
    height: int
    width: int
    stride: int


def measure_complexity(
    name: str, *, classes: int, height: int, width: int, arguments: Mapping[str, Any] = NO_ARGUMENTS
) -> Complexity:
    """Count parameters and operations of a registered network, on the meta device."""
    with torch.device("meta"):
        network = build(name, classes, **arguments).eval()
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            network(torch.empty(1, 3, height, width))
    stride = network.stride
    assert isinstance(stride, int)
    return Complexity(
        parameters=count_parameters(network),
        gflops=counter.get_total_flops() / 1e9,
        height=height,
        width=width,
        stride=stride,
    )


def count_parameters(network: nn.Module) -> int:
    """Return the number of learned parameters, without auxiliary heads."""
    return sum(
        values.numel()
        for key, values in network.named_parameters()
        if not key.startswith("auxiliary.")
    )
