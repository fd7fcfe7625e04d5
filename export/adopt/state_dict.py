"""PyTorch weights as trainers save them: in which container, and under which prefixes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segdeploy.card import CARD_KEY
from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.checkpoint import is_state_dict, read_tensors

CONTAINERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "weights",
    "net",
    "network",
    "params",
    "module",
    "model_ema",
    "ema_state_dict",
    "state_dict_ema",
    "ema",
)
"""Keys under which trainers store the weights, the plain ones before their moving averages."""

PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "network.",
    "net.",
    "_model.",
    "student.",
    "segmentor.",
    "averaged_model.",
    "model_ema.",
    "ema_model.",
    "ema.",
)
"""What wrappers put before each name: DistributedDataParallel and averaged models, compiled ones,
Lightning's modules, and trainers' own."""

MAX_PREFIXES = 4
"""Largest number of wrappers around each other."""

COUNTERS = ("num_batches_tracked",)
"""Ends of names that weights from before PyTorch 0.4.1 lack, and that evaluation does not use."""

BOOKKEEPING = ("n_averaged", "total_ops", "total_params")
"""Ends of names that tools add to a network."""

HINT = "save them with torch.save(network.state_dict(), ...)"


def read_file(path: Path) -> tuple[list[Mapping[str, Tensor]], Mapping[str, Any]]:
    """Return every table of weights in a file, the likely ones first, and what else it says.

    Only tensors and plain values are built from the file.

    Raises:
        ModelError: The file is missing or damaged, holds other objects, or no weights.
        ConfigError: It is a checkpoint of segdeploy.
    """
    content = read_tensors(path, hint=HINT)
    if not isinstance(content, dict):
        content = {}
    if CARD_KEY in content:
        msg = f"{path} has a card already; it is run, exported and measured as it is"
        raise ConfigError(msg)
    inner = [content[key] for key in CONTAINERS if isinstance(content.get(key), Mapping)]
    nested = [table[key] for table in inner for key in CONTAINERS if key in table]
    tables: list[Mapping[str, Tensor]] = [
        {name: value for name, value in table.items() if isinstance(value, Tensor)}
        for table in (content, *inner, *nested)
        if isinstance(table, Mapping) and _holds_weights(table)
    ]
    if not tables:
        msg = f"{path} holds no weights; {HINT}"
        raise ModelError(msg)
    meta = content.get("meta")
    return tables, meta if isinstance(meta, Mapping) else {}


def _holds_weights(table: Mapping[Any, Any]) -> bool:
    """Return whether a table is a state dict, apart from numbers that count steps."""
    tensors = {name: value for name, value in table.items() if isinstance(value, Tensor)}
    others = [value for value in table.values() if not isinstance(value, Tensor | int | float)]
    return bool(tensors) and not others and is_state_dict(tensors)


def unwrapped(table: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """Yield a table of weights, and the tables below each prefix of wrappers in it.

    What lies beside such a prefix, a loss for example, is no part of the network.
    """
    left: list[tuple[Mapping[str, Tensor], int]] = [(table, 0)]
    while left:
        current, depth = left.pop(0)
        yield {name: value for name, value in current.items() if not name.endswith(BOOKKEEPING)}
        if depth < MAX_PREFIXES:
            for prefix in PREFIXES:
                below = {
                    name[len(prefix) :]: value
                    for name, value in current.items()
                    if name.startswith(prefix) and len(name) > len(prefix)
                }
                if below:
                    left.append((below, depth + 1))


def fitted(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return weights that fit a network, in float32; None where they do not.

    Args:
        expected: State of the network.
        given: Weights; counters of batch norms may be missing.
    """
    missing = expected.keys() - given.keys()
    if given.keys() - expected.keys() or any(not name.endswith(COUNTERS) for name in missing):
        return None
    if any(given[name].shape != expected[name].shape for name in given):
        return None
    counters = {name: torch.zeros((), dtype=torch.long) for name in missing}
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in {**given, **counters}.items()
    }


def check_numbers(weights: Mapping[str, Tensor], source: object) -> None:
    """Raise a ModelError for weights that are not numbers.

    Args:
        weights: Weights by their names.
        source: Their file, for the message.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            msg = f"{source} has NaN or infinity among the weights of {name}; train it again"
            raise ModelError(msg)
