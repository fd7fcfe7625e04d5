"""Weights of others: a state_dict, alone or within what a trainer stored beside it."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from segdeploy.errors import ModelError
from segdeploy.plain_file import read_plain

PLACES = ("state_dict", "model_state_dict", "model", "weights", "net")
"""Where trainers put the weights."""

ADVICE = "save them with torch.save(network.state_dict(), ...)"


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read weights by their names; only tensors and plain values are ever built from the file.

    Raises:
        ModelError: The file is missing or damaged, holds more than that, or no weights.
    """
    content = read_plain(path, advice=ADVICE)
    held = [content, *(content[place] for place in PLACES if place in content)] if isinstance(content, dict) else []
    found = next((one for one in held if isinstance(one, dict) and one and all(isinstance(value, Tensor) for value in one.values())), None)
    if found is None:
        msg = f"{path} holds no weights; {ADVICE}"
        raise ModelError(msg)
    # What DistributedDataParallel puts before every name.
    return {str(name).removeprefix("module."): value for name, value in found.items()}
