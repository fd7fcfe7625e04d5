"""Tensors from untrusted files."""

import pickle
import warnings
from pathlib import Path

import torch

from segdeploy.errors import ModelError


def read_plain(path: Path, *, advice: str) -> object:
    """Read what torch.save wrote, or a file of safetensors.

    Only tensors and plain values are ever built from it.

    Args:
        path: The file.
        advice: What to do where it cannot be read, in a few words.

    Raises:
        ModelError: The file is missing or damaged, or holds more than tensors and plain values.
    """
    if not path.is_file():
        msg = f"there is no file {path}; {advice}"
        raise ModelError(msg)
    try:
        with warnings.catch_warnings():
            # PyTorch wonders about the pickles of others before it refuses them; our sentence says
            # it all.
            warnings.simplefilter("ignore")
            return (
                _read_safetensors(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
    except pickle.UnpicklingError as error:
        msg = (
            f"{path} holds something else than tensors and plain values and was not loaded;"
            f" {advice}"
        )
        raise ModelError(msg) from error
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
    ) as error:
        msg = f"{path} cannot be read as tensors ({type(error).__name__}); {advice}"
        raise ModelError(msg) from error


def _read_safetensors(path: Path) -> object:
    """Read it with the library that the extra `train` brings."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
