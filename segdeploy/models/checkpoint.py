"""Checkpoints, and other files of weights; reading one never executes anything in it."""

import pickle
import struct
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.errors import ConfigError, MissingModelError, ModelError, OutputError
from segdeploy.models.deployed import Deployed
from segdeploy.models.registry import build, is_known
from segdeploy.system.budget import file_budget
from segdeploy.system.files import replacing
from segdeploy.system.torch_archive import open_archive, read_pickle

WEIGHTS_KEY = "weights"
STATE_KEY = "state"

ARCHIVE = b"PK\3\4"
"""Beginning of a file that PyTorch reads as an archive."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained network.

    Attributes:
        card: Card of the network.
        weights: State of the network itself, without `Deployed` around it.
        state: What training needs to resume (optimizer, schedule, random states); empty in a
            finished file.
    """

    card: ModelCard
    weights: Mapping[str, Tensor]
    state: Mapping[str, Any]

    @property
    def channels(self) -> int:
        """Number of channels of the network: one for each class, often but for the background."""
        return len(self.card.classes) - (self.card.threshold is not None)

    def network(self) -> Deployed:
        """Build the network with these weights, in evaluation mode.

        Raises:
            ModelError: The card's network cannot be built, or the weights do not fit it.
        """
        name = self.card.architecture
        if not is_known(name):
            msg = (
                f"the card's network {name!r} cannot be built, since it is not one of the built-in"
                " ones; give --plugin and the module that it was trained with"
            )
            raise ModelError(msg)
        # On the meta device first, without memory: a damaged card may describe a network that no
        # machine can hold.
        with torch.device("meta"):
            expected = self._build().state_dict()
        check_shapes(
            expected,
            self.weights,
            problem=f"the weights do not fit {name}",
            hint="was the file written by another version?",
        )
        network = self._build()
        network.load_state_dict(dict(self.weights))
        return Deployed.of(network, self.card).eval()

    def _build(self) -> nn.Module:
        try:
            return build(
                self.card.architecture,
                self.channels,
                channels=len(self.card.input.channels),
                **self.card.arguments,
            )
        except (
            ConfigError,
            RuntimeError,
            TypeError,
            ValueError,
            OverflowError,
            MemoryError,
        ) as error:
            msg = (
                f"the card's network cannot be built ({' '.join(str(error).split())[:300]}); was"
                " the file written by another version?"
            )
            raise ModelError(msg) from error


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint completely, or leave the old file as it was.

    It is read back before it gets its name, so that no training ends with an unreadable file.

    Raises:
        OutputError: The disk is full, or what was written cannot be read.
    """
    content = {
        CARD_KEY: checkpoint.card.to_json(),
        WEIGHTS_KEY: dict(checkpoint.weights),
        STATE_KEY: dict(checkpoint.state),
    }
    with replacing(path) as part:
        with part.open("wb") as file:
            _save(content, file)
        try:
            load_checkpoint(part)
        except ModelError as error:
            msg = f"cannot write {path}: what was written cannot be read again ({error})"
            raise OutputError(msg) from error


def _save(content: object, file: BinaryIO) -> None:
    """Write with `torch.save`, and raise the error of the file where that was the reason."""
    try:
        torch.save(content, file)
    except RuntimeError as error:
        # PyTorch closes its archive after a failed write, and reports that this failed too.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; only tensors and plain values are ever built from it.

    Raises:
        ModelError: The file is missing, damaged, or holds more than tensors and plain values.
        CardError: It has no usable card.
    """
    if not path.is_file():
        msg = f"there is no file {path}; name a checkpoint that 'segdeploy train' wrote"
        raise MissingModelError(msg)
    # Its pickle and the sizes of its tensors are checked before PyTorch takes memory for them.
    # PyTorch stores tensors as they are, so nothing in a checkpoint is compressed.
    with open_archive(path, max_compressed=0) as archive:
        read_pickle(archive, "data.pkl", folder="data")
    content = read_tensors(path, hint="use only checkpoints that 'segdeploy train' wrote")
    if not isinstance(content, dict) or not {CARD_KEY, WEIGHTS_KEY, STATE_KEY} <= content.keys():
        msg = f"{path} has no card; was it written by 'segdeploy train'?"
        raise ModelError(msg)
    card, weights, state = content[CARD_KEY], content[WEIGHTS_KEY], content[STATE_KEY]
    if not isinstance(card, str) or not isinstance(state, dict) or not is_state_dict(weights):
        msg = f"{path} holds values of the wrong type; was it written by 'segdeploy train'?"
        raise ModelError(msg)
    return Checkpoint(
        card=ModelCard.from_json(card, source=str(path)), weights=weights, state=state
    )


def read_tensors(path: Path, *, hint: str) -> object:
    """Read what `torch.save` wrote, or a file of safetensors.

    Only tensors and plain values are ever built from it.

    Args:
        path: The file.
        hint: What to do where it cannot be read, as a short text.

    Raises:
        ModelError: The file is missing or damaged, or holds more than tensors and plain values.
    """
    if not path.is_file():
        msg = f"there is no file {path}; {hint}"
        raise MissingModelError(msg)
    try:
        with path.open("rb") as file:
            is_archive = file.read(len(ARCHIVE)) == ARCHIVE
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); {hint}"
        raise ModelError(msg) from error
    if is_archive:
        # One that can be read in one way only, and unpacks to its own size and this at most.
        with open_archive(path, max_compressed=file_budget(path.stat().st_size)):
            pass
    try:
        with warnings.catch_warnings():
            # PyTorch warns about unusual pickles before it refuses them; our message is enough.
            warnings.simplefilter("ignore")
            if path.suffix == ".safetensors":
                return _read_safetensors(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        msg = f"{path} holds more than tensors and plain values and was not loaded; {hint}"
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
        AssertionError,
        NotImplementedError,
        MemoryError,
        OverflowError,
        RecursionError,
        struct.error,
    ) as error:
        msg = f"{path} cannot be read as tensors ({type(error).__name__}); {hint}"
        raise ModelError(msg) from error


def _read_safetensors(path: Path) -> object:
    """Read a file with the library that the extra `train` installs."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def is_state_dict(values: object) -> bool:
    """Return whether a value is a mapping from names to tensors in memory."""
    return isinstance(values, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) and _is_plain(value)
        for key, value in values.items()
    )


def _is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is neither quantized, sparse, nested, nor larger than its bytes."""
    return (
        not (tensor.is_quantized or tensor.is_nested)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
    )


def check_shapes(
    expected: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    *,
    problem: str,
    hint: str,
    ignored: Collection[str] = (),
) -> None:
    """Check that weights fit a network: the same names, and the same shapes.

    Args:
        expected: State of the network.
        given: Weights of the file.
        problem: What is wrong where they differ; the message begins with it.
        hint: What to do then; the message ends with it.
        ignored: Names that may differ.

    Raises:
        ModelError: A tensor is missing, unknown, or of another shape; the first one is named.
    """
    in_network, in_file = shapes_of(expected), shapes_of(given)
    for key in sorted((in_network.keys() | in_file.keys()) - set(ignored)):
        if in_network.get(key) != in_file.get(key):
            msg = (
                f"{problem}: {key} is {in_file.get(key, 'missing')} in the file and"
                f" {in_network.get(key, 'unknown')} in the network; {hint}"
            )
            raise ModelError(msg)


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor by its name."""
    return {key: tuple(value.shape) for key, value in weights.items()}
