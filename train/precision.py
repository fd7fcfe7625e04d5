"""Mixed precision: layers that stay in float32, gradients that repeat, and whether it is faster."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from .bands import input_spec
from .loader import Batch
from .recipe import Recipe

MIN_SPEEDUP = 1.25
"""A step has to be so much faster in half precision: less may be noise, and the same recipe would
give other weights the next time."""

ROUNDS = 5
"""Steps that are timed in each precision, in turns; the fastest counts."""

LONG = 20.0
"""Seconds of timed steps after which no round is added: steps as long as these hide no noise."""

UNREPEATABLE = (
    "equal steps of this network had different gradients; a resumed run will not have the bits of"
    " an undisturbed one"
)

Precision = torch.dtype | None
"""Half precision of autocast; None for float32 alone."""

Trial = Callable[[Precision], Sequence[Tensor]]
"""Computes a step in a precision and returns its gradients; the network stays as it was."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The precision of a run on a processor.

    Attributes:
        precision: Half precision, or None for float32.
        reason: Why, in one sentence for the user; "" where there was no choice.
    """

    precision: Precision
    reason: str = ""


def choose_precision(
    trial: Trial,
    half: Precision,
    *,
    amp: bool | Literal["auto"],
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """Return the precision of a run on a processor, after some steps of it.

    Half precision is refused where equal steps have different gradients: such a run would learn
    from whatever the memory held.

    Args:
        trial: Computes a step.
        half: Half precision that the processor computes; None without one.
        amp: Whether half precision is wanted; "auto" where it is clearly faster.
        clock: Returns seconds.
    """
    if half is None or not amp:
        return Choice(precision=None, reason="" if repeats(trial, None) else UNREPEATABLE)
    if not repeats(trial, half):
        name = str(half).removeprefix("torch.")
        return Choice(
            precision=None,
            reason=f"mixed precision is off: equal steps in {name} had different gradients",
        )
    if amp is True:
        return Choice(precision=half)
    seconds: dict[Precision, list[float]] = {half: [], None: []}
    begin = clock()
    for _ in range(ROUNDS):
        for precision, found in seconds.items():
            start = clock()
            trial(precision)
            found.append(clock() - start)
        if clock() - begin > LONG:
            break
    speedup = min(seconds[None]) / min(seconds[half])
    faster = speedup >= MIN_SPEEDUP
    return Choice(
        precision=half if faster else None,
        reason=(
            f"mixed precision is {'on' if faster else 'off'}: a step takes"
            f" {1000 * min(seconds[half]):.0f} ms with it and {1000 * min(seconds[None]):.0f} ms"
            " without"
        ),
    )


def repeats(trial: Trial, precision: Precision) -> bool:
    """Return whether two equal steps have gradients of the same bits."""
    first = trial(precision)
    # In between the memory is filled with other values: what is not initialized then differs.
    trial(None)
    return all(
        torch.allclose(one, two, rtol=0, atol=0, equal_nan=True)
        for one, two in zip(first, trial(precision), strict=True)
    )


def random_batch(recipe: Recipe, images: int, *, classes: int) -> Batch:
    """Return a batch to try a step with: random pixels and labels, the same ones in every run."""
    random = torch.Generator().manual_seed(0)
    height, width = recipe.train_size
    spec = input_spec(recipe)
    shape = (images, height, width, len(spec.channels))
    pixels = torch.randint(256, shape, generator=random, dtype=torch.uint8)
    return Batch(
        pixels.to(getattr(torch, spec.dtype)),
        torch.randint(classes, (images, height, width), generator=random, dtype=torch.uint8),
        torch.arange(images),
        torch.empty(images, 0),
    )


def keep_in_float32(network: nn.Module) -> None:
    """Let dilated depthwise convolutions compute in float32 under autocast on a processor.

    In PyTorch 2.14 the gradient of their weights in bfloat16 is uninitialized memory, where
    images are channels last. Parameters and their names stay the same.

    Args:
        network: Is changed in place; it is trained, and never exported itself.
    """
    for module in network.modules():
        if is_dilated_depthwise(module):
            module.forward = partial(_forward_in_float32, module.forward)


def is_dilated_depthwise(module: nn.Module) -> bool:
    """Return whether a module is a convolution whose gradient in bfloat16 cannot be trusted."""
    return (
        isinstance(module, nn.modules.conv._ConvNd)  # noqa: SLF001 - the base of all convolutions
        and module.in_channels == module.groups > 1
        and max(module.dilation) > 1
    )


def _forward_in_float32(forward: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """Return the output of a layer, of the dtype of its input."""
    with torch.autocast(features.device.type, enabled=False):
        return forward(features.float()).to(features.dtype)
