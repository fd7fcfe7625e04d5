"""What `last.pt` holds of a run that is resumed, checked: a ValueError says what does not fit."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .history import Epoch

UNRESTORABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What reading a state raises that is not of the run."""

AVERAGES: Mapping[type[torch.optim.Optimizer], AbstractSet[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""What each optimizer keeps of a parameter."""


def check_steps(state: Mapping[str, Any], most: int) -> None:
    """Check the numbers of steps, and that there is a loss for each of the present epoch.

    Args:
        state: What `Loop.state` returned.
        most: Steps of the whole run.
    """
    counts = [state["step"], state["done"], state["average"]]
    if not all(type(count) is int and 0 <= count <= most for count in counts):
        msg = f"{counts} are not numbers of steps up to {most}"
        raise ValueError(msg)
    losses = state["losses"]
    if losses.shape != (state["done"],) or not losses.is_floating_point():
        msg = f"there are {state['done']} steps in this epoch and losses of {tuple(losses.shape)}"
        raise ValueError(msg)


def check_epochs(history: Sequence[Epoch]) -> None:
    """Check that the epochs are numbered from 1."""
    numbers = [epoch.epoch for epoch in history]
    if numbers != list(range(1, len(numbers) + 1)):
        msg = f"its epochs are {numbers[:9]}"
        raise ValueError(msg)


def read_counts(values: object, classes: int) -> npt.NDArray[np.int64]:
    """Return the counts of the best epoch, (K, K), as `ConfusionMatrix` has them."""
    counts = np.array(values, np.int64)
    if counts.shape != (classes, classes) or (counts < 0).any():
        msg = f"the counts of the best epoch are {counts.shape} for {classes} classes"
        raise ValueError(msg)
    return counts


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore the averages of an optimizer; its settings stay those of the recipe.

    Raises:
        ValueError: They are not those of its parameters.
    """
    settings = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
    known = AVERAGES[type(optimizer)]
    for parameter, averages in optimizer.state.items():
        for name, value in averages.items():
            shape = () if name == "step" else parameter.shape
            if not (value is None or (isinstance(value, Tensor) and value.shape == shape)):
                msg = f"{name} of the optimizer does not fit a weight of {tuple(parameter.shape)}"
                raise ValueError(msg)
        if averages and averages.keys() != known:
            msg = f"the optimizer keeps {', '.join(map(str, averages))} of a weight"
            raise ValueError(msg)
