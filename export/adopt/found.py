"""What a source says of a network of PyTorch: its name here, its weights, and its images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from segdeploy.card import Fit, LabelClass, Resample
from segdeploy.errors import ModelError

from .convention import Convention

MAX_CONFIG = 1 << 22
"""Largest size of a configuration, in bytes."""


def read_config(path: Path) -> Mapping[str, Any]:
    """Return the table in a JSON file.

    Raises:
        ModelError: It is missing, too large, or something else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG + 1)
        values = json.loads(content) if len(content) <= MAX_CONFIG else None
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read as JSON ({error}); save the network again"
        raise ModelError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path} holds no table in JSON of up to {MAX_CONFIG} bytes; save the network again"
        raise ModelError(msg)
    return values


@dataclass(frozen=True, kw_only=True)
class Found:
    """A network and its weights, as a file or a folder describes them.

    Attributes:
        architecture: Its name here, for example "smp:Unet".
        arguments: Its arguments.
        tables: Its weights by their names; several where it is not known which they are.
        channels: Number of its channels; None where only its classes tell.
        classes: Names of its classes; None where it does not tell.
        convention: How it wants its images; None where it does not tell.
        size: Height and width of its input; None where it does not tell.
        fit: How images are fitted to it.
        resample: How images are resized to it.
        is_score: Whether it returns scores in [0, 1] by design.
        notes: What its users should know.
    """

    architecture: str
    arguments: Mapping[str, Any]
    tables: Sequence[Mapping[str, Tensor]]
    channels: int | None = None
    classes: tuple[LabelClass, ...] | None = None
    convention: Convention | None = None
    size: tuple[int, int] | None = None
    fit: Fit = "stretch"
    resample: Resample = "halving"
    is_score: bool = False
    notes: tuple[str, ...] = field(default=())
