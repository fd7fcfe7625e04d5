"""Why a loss or a gradient is NaN or infinite: which layer had such a value first."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def spoiled(tensors: Iterable[tuple[str, Tensor | None]]) -> str | None:
    """Return the name of the first tensor with NaN or infinity; None where all are finite."""
    for name, tensor in tensors:
        if tensor is not None and tensor.is_floating_point() and not tensor.isfinite().all():
            return name
    return None


def cause_of_loss(network: nn.Module, forward: Callable[[], object]) -> str:
    """Return, as a sentence's end, where a loss that is not finite comes from.

    Args:
        network: The network, with the weights that gave the loss.
        forward: Computes its output for the images of the step again.
    """
    # Statistics of norms are spoiled by the step itself.
    if (name := spoiled(network.named_parameters())) is not None:
        return f"{name} was no longer finite before this step: a step before spoiled it"
    if (layer := _first_layer(network, forward)) is not None:
        return f"the first layer with such a value is {layer}"
    return "the network's output is finite, and the loss of it is not"


def cause_of_gradient(network: nn.Module) -> str:
    """Return, as a sentence's end, where a gradient that is not finite comes from.

    The backward pass begins at the last layers, so that the last one is where it began.
    """
    gradients = [(name, weight.grad) for name, weight in network.named_parameters()]
    name = spoiled(reversed(gradients))
    if name is None:
        return "the norm of all gradients is infinite"
    return f"the first gradient with such a value is that of {name}"


def _first_layer(network: nn.Module, forward: Callable[[], object]) -> str | None:
    """Return the name and the kind of the first layer whose output is not finite, or None."""
    found: list[str] = []

    def look(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, _: Any, output: Any) -> None:  # noqa: ANN401 - any layer's
            if not found and isinstance(output, Tensor) and spoiled([("", output)]) is not None:
                found.append(f"{name} ({type(layer).__name__})")

        return hook

    hooks: list[RemovableHandle] = [
        layer.register_forward_hook(look(name))
        for name, layer in network.named_modules()
        if not any(layer.children())
    ]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in hooks:
            handle.remove()
    return found[0] if found else None
