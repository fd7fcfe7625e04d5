"""Weights and their card in one file; nothing in it is ever executed."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segdeploy import models
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.weights import read_plain
from segdeploy.system.files import replacing

WEIGHTS_KEY = "weights"
STATE_KEY = "state"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        card: What the network is.
        weights: State of the network itself, without `Deployed` around it.
        state: What training needs to go on (optimizer, schedule, random states); empty in a
            finished file.
    """

    card: ModelCard
    weights: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def network(self) -> models.Deployed:
        """Build the network with these weights, ready to answer.

        Raises:
            ModelError: The card's network cannot be built, or the weights do not fit it to the last
                key.
        """
        spec = self.card.input
        name = self.card.architecture
        if name not in models.names():
            msg = (
                f"the card's network {name!r} cannot be built, for it is none of ours; give"
                " --plugin and the module of its training"
            )
            raise ModelError(msg)
        # Built without memory first: a damaged card may ask for a network that no machine can hold.
        with torch.device("meta"):
            expected = self._build()
        self._check(expected)
        network = self._build()
        network.load_state_dict(dict(self.weights))
        return models.Deployed(network, spec.mean, spec.std).eval()

    def _build(self) -> nn.Module:
        try:
            return models.build(
                self.card.architecture, len(self.card.classes), **self.card.arguments
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
                " the file made by another version?"
            )
            raise ModelError(msg) from error

    def _check(self, network: nn.Module) -> None:
        """Compare names and sizes of the weights with those that the network has."""
        expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        given = {key: tuple(value.shape) for key, value in self.weights.items()}
        for key in sorted(expected.keys() | given.keys()):
            if expected.get(key) != given.get(key):
                msg = (
                    f"the weights do not fit {self.card.architecture}: {key} is"
                    f" {given.get(key, 'missing')} in the file and {expected.get(key, 'unknown')}"
                    " in the network; was the file made by another version?"
                )
                raise ModelError(msg)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole, or leave the old one as it was."""
    content = {
        CARD_KEY: checkpoint.card.to_json(),
        WEIGHTS_KEY: dict(checkpoint.weights),
        STATE_KEY: dict(checkpoint.state),
    }
    with replacing(path) as part:
        torch.save(content, part)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; only tensors and plain values are ever built from it.

    Raises:
        ModelError: The file is missing, damaged, or holds more than tensors and plain values.
        CardError: It carries no usable card.
    """
    if not path.is_file():
        msg = f"there is no file {path}; name a checkpoint that 'segdeploy train' wrote"
        raise ModelError(msg)
    _check_container(path)
    content = read_plain(path, advice="use only checkpoints that 'segdeploy train' wrote")
    if not isinstance(content, dict) or not {CARD_KEY, WEIGHTS_KEY, STATE_KEY} <= content.keys():
        msg = f"{path} carries no card; was it written by 'segdeploy train'?"
        raise ModelError(msg)
    card, weights, state = content[CARD_KEY], content[WEIGHTS_KEY], content[STATE_KEY]
    if not isinstance(card, str) or not isinstance(state, dict) or not _are_weights(weights):
        msg = f"{path} holds values of the wrong kind; was it written by 'segdeploy train'?"
        raise ModelError(msg)
    return Checkpoint(
        card=ModelCard.from_json(card, source=str(path)), weights=weights, state=state
    )


def _check_container(path: Path) -> None:
    """Refuse what is no ZIP file, or one that would grow when it is read.

    PyTorch stores tensors as they are.
    """
    try:
        with zipfile.ZipFile(path) as container:
            size = sum(entry.file_size for entry in container.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        msg = f"{path} is no checkpoint or a damaged one ({error}); train again or use another file"
        raise ModelError(msg) from error
    if size > path.stat().st_size:
        msg = (
            f"{path} would grow to {size} bytes when it is read and was not loaded; use only"
            " checkpoints that 'segdeploy train' wrote"
        )
        raise ModelError(msg)


def _are_weights(values: object) -> bool:
    """Return whether this is a table of named tensors."""
    return isinstance(values, dict) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in values.items()
    )
