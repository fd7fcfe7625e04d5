"""Weights that a backbone begins with."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.encoders import Encoder
from segdeploy.plain_file import read_plain

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
    content = read_plain(path, advice=f"give '{IMAGENET}', or a file with a table of tensors")
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        msg = f"{path} holds something else than a table of tensors; give the state_dict of a backbone"
        raise ModelError(msg)
    return content


def shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Give the shape of each tensor."""
    return {key: tuple(value.shape) for key, value in weights.items()}
