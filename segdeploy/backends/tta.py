"""Test-time augmentation: the mean output over flipped and scaled copies of an image."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import Backend, WrappedBackend
from segdeploy.backends.names import FLIP, SCALE_FACTORS, SCALES
from segdeploy.errors import ConfigError
from segdeploy.imaging.preprocess import resize
from segdeploy.imaging.upsample import Floats


class AugmentedBackend(WrappedBackend):
    """A backend that returns the mean output over augmented copies of each image.

    Logits are averaged as they are: but for a constant, their mean is the logarithm of the
    geometric mean of the probabilities. Upsampling is linear, so upsampling the mean is the mean of
    the upsampled logits: masks stay exact, and no softmax is needed.
    """

    def __init__(self, inner: Backend, augmentations: Sequence[str]) -> None:
        """Wrap a loaded network.

        Args:
            inner: Runs each copy.
            augmentations: Which of `AUGMENTATIONS` are used; with both, each size is also flipped.

        Raises:
            ConfigError: The network cannot run at other sizes, or returns classes, which have no
                mean.
        """
        super().__init__(inner)
        spec = inner.card.input
        if augmentations and inner.card.output == "classes":
            msg = (
                "this file returns classes, which have no mean; export it with --output logits, or"
                " leave out --tta"
            )
            raise ConfigError(msg)
        if SCALES in augmentations and not spec.dynamic:
            msg = (
                f"the network takes images of {spec.height}x{spec.width} only; export it with"
                f" --dynamic, or use --tta {FLIP}"
            )
            raise ConfigError(msg)
        self._flips = (False, True) if FLIP in augmentations else (False,)
        self._factors = (1.0, *SCALE_FACTORS) if SCALES in augmentations else (1.0,)

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the mean output, of the size of the largest one; see `Backend.run`."""
        outputs = list(self._outputs(batch))
        if len(outputs) == 1:
            return outputs[0]
        height, width = max(output.shape[2:] for output in outputs)
        resized = [_resize_planes(output, height, width=width) for output in outputs]
        return np.asarray(np.mean(resized, axis=0), dtype=np.float32)

    def _outputs(self, batch: Batch) -> Iterator[NetworkOutput]:
        """Yield the output for each copy, flipped back."""
        for factor in self._factors:
            scaled = batch if factor == 1 else self._scale(batch, factor)
            for flip in self._flips:
                copy = np.ascontiguousarray(scaled[:, :, ::-1]) if flip else scaled
                output = self._inner.run(copy)
                yield output[..., ::-1] if flip else output

    def _scale(self, batch: Batch, factor: float) -> Batch:
        """Return a batch of another size, rounded to multiples of the network's stride."""
        stride = self.card.input.stride
        height, width = (
            max(1, round(side * factor / stride)) * stride for side in batch.shape[1:3]
        )
        return np.stack([resize(image, height, width=width) for image in batch])


def _resize_planes(output: NetworkOutput, height: int, *, width: int) -> Floats:
    """Return (N, K, h, w) logits or probabilities of another size, interpolated bilinearly."""
    if output.shape[2:] == (height, width):
        return np.asarray(output, dtype=np.float32)
    planes = [
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        for plane in output.reshape(-1, *output.shape[2:])
    ]
    return np.asarray(planes, dtype=np.float32).reshape(*output.shape[:2], height, width)
