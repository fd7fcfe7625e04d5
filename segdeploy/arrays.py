"""The array types of the package."""

import numpy as np
import numpy.typing as npt

IGNORE_INDEX = 255
"""Value of a mask's pixel that is not labeled; it is never counted."""

Image = npt.NDArray[np.uint8 | np.uint16 | np.float32]
"""(H, W, 3) uint8, blue-green-red, as OpenCV reads it: from the camera to the file. What a network
of other images takes is (H, W, C) uint8, uint16 or float32, its channels in the order of the model
card, where red, green and blue alone are held blue-green-red too. What is drawn and encoded is
uint8 (`imaging.contrast.view`)."""

Mask = npt.NDArray[np.uint8]
"""(H, W) uint8, the index of a class in each pixel, or `IGNORE_INDEX`."""

Batch = npt.NDArray[np.uint8 | np.uint16 | np.float32]
"""(N, H, W, C), channels and type as the model card says, usually red-green-blue and uint8, of the
network's input size; the graph normalizes them."""

Logits = npt.NDArray[np.float32]
"""(N, K, h, w) float32, the scores of K classes before the softmax; h and w are those of the
network's output, which may be smaller than its input."""

NetworkOutput = Logits | Mask
"""What a network returns: logits or probabilities, (N, K, h, w) float32, or the classes themselves,
(N, H, W) uint8 of its input's size."""
