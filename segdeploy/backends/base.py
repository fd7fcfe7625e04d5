"""What every runtime must do for us."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from segdeploy.card import ModelCard

Batch = npt.NDArray[np.uint8]
"""(N, H, W, 3) uint8, red-green-blue, of the network's size."""

Logits = npt.NDArray[np.float32]
"""(N, K, h, w) float32, at the network's own stride."""


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

    def run(self, batch: Batch) -> Logits:
        """Answer (N, H, W, 3) uint8 RGB pictures of the network's size with (N, K, h, w) float32 logits."""
        ...
