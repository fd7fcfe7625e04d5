"""What every runtime must do for us."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segdeploy.card import CARD_KEY, MAX_SIDE, ModelCard
from segdeploy.errors import CardError, ConfigError

Batch = npt.NDArray[np.uint8]
"""(N, H, W, 3) uint8, red-green-blue, of the network's size."""

Logits = npt.NDArray[np.float32]
"""(N, K, h, w) float32, at the network's own stride."""


NetworkOutput = Logits | npt.NDArray[np.uint8]
"""Logits; or what the card's output says: probabilities, (N, K, H, W) float32, or classes, (N, H,
W) uint8, of the batch's size."""


class Backend(Protocol):
    """A loaded network: numbers in, numbers out."""

    @property
    def card(self) -> ModelCard:
        """The card that the artifact carries."""
        ...

    @property
    def device(self) -> str:
        """What runs it, as it was granted, for example "onnxruntime CPUExecutionProvider"."""
        ...

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer (N, H, W, 3) uint8 RGB images of the network's size with (N, K, h, w) float32 logits, or what the card says.

        As many threads may call it at once as it was loaded for (`callers`).

        Raises:
            ConfigError: The batch has another type, or a shape that the card does not allow.
        """
        ...


def check_batch(batch: Batch, card: ModelCard) -> None:
    """Refuse, in one sentence, a batch that the network was not made for.

    Raises:
        ConfigError: The batch has another type, or a shape that the card does not allow.
    """
    if batch.dtype != np.uint8:
        msg = (
            f"a batch of {batch.dtype} was given; the network takes uint8, red-green-blue, 0 to 255"
        )
        raise ConfigError(msg)
    spec = card.input
    if batch.ndim == 4 and batch.shape[0] > 0 and batch.shape[3] == 3:
        height, width = batch.shape[1:3]
        sides_fit = spec.dynamic and all(
            0 < side <= MAX_SIDE and side % spec.stride == 0 for side in (height, width)
        )
        if sides_fit or (height, width) == (spec.height, spec.width):
            return
    sides = f"multiples of {spec.stride}" if spec.dynamic else f"{spec.height}x{spec.width}"
    msg = (
        f"a batch of shape {batch.shape} was given; the network takes (N, H, W, 3) with H and W"
        f" {sides}"
    )
    raise ConfigError(msg)


def card_of(texts: Mapping[str, str], *, source: str) -> ModelCard:
    """Read the card among the texts that a file carries.

    Args:
        texts: The texts by their keys.
        source: Name of the file, for the message.

    Raises:
        CardError: There is none, or one that cannot be used.
    """
    if CARD_KEY not in texts:
        msg = f"{source} carries no card; was it written by 'segdeploy export'?"
        raise CardError(msg)
    return ModelCard.from_json(texts[CARD_KEY], source=source)
