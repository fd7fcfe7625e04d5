"""The array types, each once: Image, Mask, Batch, Logits; IGNORE_INDEX = 255."""

import numpy as np
import numpy.typing as npt

IGNORE_INDEX = 255
"""Value of a mask's pixel that is not labeled, and never counted."""

Mask = npt.NDArray[np.uint8]


Batch = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]
NetworkOutput = Logits | Mask
"""What a network gives: logits, probabilities (N, K, h, w) float32, or the classes themselves, (N,
H, W) uint8 of its input's size."""


Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, blue-green-red."""
