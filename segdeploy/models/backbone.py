"""Weights that a backbone begins with."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.encoders import Encoder

IMAGENET = "imagenet"


def load_backbone(network: nn.Module, source: str) -> None:
    """Give a network's backbone weights that were learned elsewhere; every name and size must fit.

    Args:
        network: Has an encoder as its attribute `backbone`.
        source: "imagenet", or a file with a table of tensors, under their publisher's names or ours.

    Raises:
        ConfigError: The network has no backbone.
        ModelError: The weights cannot be fetched or read, or do not fit.
        MissingExtraError: The package that carries them is not installed.
    """
    encoder = getattr(network, "backbone", None)
    if not isinstance(encoder, Encoder):
        msg = f"{type(network).__name__} has no backbone to begin with {source}; leave --weights-backbone out"
        raise ConfigError(msg)
    given = encoder.published() if source == IMAGENET else read_tensors(Path(source))
    expected = shapes(encoder.state_dict())
    weights = dict(given) if given.keys() == expected.keys() else encoder.renamed(given)
    found = shapes(weights)
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            msg = (
                f"the weights of {source} do not fit the backbone: {key} is {found.get(key, 'missing')} there "
                f"and {expected.get(key, 'unknown')} in the network; use weights of this backbone"
            )
            raise ModelError(msg)
    encoder.load_state_dict(weights)


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Read a table of tensors; nothing else is ever built from the file.

    Raises:
        ModelError: The file is missing, damaged, or holds something else.
    """
    try:
        content = read_safetensors(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        msg = f"{path} cannot be read as weights ({type(error).__name__}); give '{IMAGENET}', or a file with a table of tensors"
        raise ModelError(msg) from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        msg = f"{path} holds something else than a table of tensors; give the state_dict of a backbone"
        raise ModelError(msg)
    return content


def read_safetensors(path: Path) -> Mapping[str, Tensor]:
    """Read a file of safetensors, a library that the extra `train` brings."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: Mapping[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return weights


def shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Give the shape of each tensor."""
    return {key: tuple(value.shape) for key, value in weights.items()}
