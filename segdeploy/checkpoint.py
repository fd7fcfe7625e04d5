"""Weights and their card in one file; nothing in it is ever executed."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segdeploy import models
from segdeploy.atomic import replacing
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.errors import ModelError

WEIGHTS_KEY = "weights"
STATE_KEY = "state"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        card: What the network is.
        weights: State of the network itself, without `Deployed` around it.
        state: What training needs to go on (optimizer, schedule, random states); empty in a finished file.
    """

    card: ModelCard
    weights: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def network(self) -> models.Deployed:
        """Build the network with these weights, ready to answer.

        Raises:
            ModelError: The weights do not fit the card's architecture to the last key.
        """
        spec = self.card.input
        network = models.build(self.card.architecture, len(self.card.classes), **self.card.arguments)
        try:
            network.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            lines = " ".join(str(error).split())
            msg = f"the weights do not fit {self.card.architecture}: {lines[:300]}; was the file made by another version?"
            raise ModelError(msg) from error
        return models.Deployed(network, spec.mean, spec.std).eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole, or leave the old one as it was."""
    content = {CARD_KEY: checkpoint.card.to_json(), WEIGHTS_KEY: dict(checkpoint.weights), STATE_KEY: dict(checkpoint.state)}
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
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        msg = f"{path} holds more than tensors and plain values and was not loaded; use only checkpoints that 'segdeploy train' wrote"
        raise ModelError(msg) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        msg = f"{path} is no checkpoint or a damaged one ({type(error).__name__}); train again or use another file"
        raise ModelError(msg) from error
    if not isinstance(content, dict) or not {CARD_KEY, WEIGHTS_KEY, STATE_KEY} <= content.keys():
        msg = f"{path} carries no card; was it written by 'segdeploy train'?"
        raise ModelError(msg)
    card = ModelCard.from_json(content[CARD_KEY], source=str(path))
    return Checkpoint(card=card, weights=content[WEIGHTS_KEY], state=content[STATE_KEY])
