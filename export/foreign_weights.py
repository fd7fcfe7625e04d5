"""Weights of others: a state_dict, alone or within what a trainer stored beside it."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from segdeploy.errors import ModelError

PLACES = ("state_dict", "model_state_dict", "model", "weights", "net")
"""Where trainers put the weights."""


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read weights by their names; only tensors and plain values are ever built from the file.

    Raises:
        ModelError: The file is missing or damaged, holds more than that, or no weights.
    """
    if not path.is_file():
        msg = f"there is no file {path}; name a file of weights"
        raise ModelError(msg)
    content = load_file(path) if path.suffix == ".safetensors" else _load(path)
    held = [content, *(content[place] for place in PLACES if place in content)] if isinstance(content, dict) else []
    found = next((one for one in held if isinstance(one, dict) and one and all(isinstance(value, Tensor) for value in one.values())), None)
    if found is None:
        msg = f"{path} holds no weights; save them with torch.save(network.state_dict(), ...)"
        raise ModelError(msg)
    # What DistributedDataParallel puts before every name.
    return {str(name).removeprefix("module."): value for name, value in found.items()}


def _load(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        msg = f"{path} holds more than tensors and plain values and was not loaded; save its state_dict alone"
        raise ModelError(msg) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        msg = f"{path} is no file of weights or a damaged one ({type(error).__name__}); copy it again"
        raise ModelError(msg) from error
