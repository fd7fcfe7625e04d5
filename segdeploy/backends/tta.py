"""One network asked several times about the same image, seen in several ways.

Test-time augmentation.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from segdeploy.backends.base import Backend, Batch, NetworkOutput
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError
from segdeploy.imaging.preprocess import resize
from segdeploy.imaging.upsample import Floats

FLIP = "flip"
SCALES = "scales"
VIEWS = (FLIP, SCALES)
"""An image may also be looked at in a mirror, and smaller and larger."""

FACTORS = (0.75, 1.25)
"""Sizes beside the network's own."""


class ViewsBackend:
    """A backend whose answer is the mean over several views of each image.

    The mean is that of the answers as they are. Of logits it is, but for a constant, the logarithm
    of the probabilities' geometric mean; to enlarge it is to average what is enlarged, so that
    masks stay exact, and it costs no softmax.
    """

    def __init__(self, backend: Backend, views: Sequence[str]) -> None:
        """Wrap a loaded network.

        Args:
            backend: What answers each view.
            views: Which of `VIEWS` are taken beside the image itself; each size is seen in the
                mirror too.

        Raises:
            ConfigError: The network cannot answer these views, or not with what can be averaged.
        """
        spec = backend.card.input
        if views and backend.card.output == "classes":
            msg = (
                "this file answers classes, of which there is no mean; export it with --output"
                " logits, or leave out --tta"
            )
            raise ConfigError(msg)
        if SCALES in views and not spec.dynamic:
            msg = (
                f"the network takes images of {spec.height}x{spec.width} only; export it with"
                f" --dynamic, or take --tta {FLIP}"
            )
            raise ConfigError(msg)
        self._backend = backend
        self._flips = (False, True) if FLIP in views else (False,)
        self._factors = (1.0, *FACTORS) if SCALES in views else (1.0,)

    @property
    def card(self) -> ModelCard:
        """The card of the network."""
        return self._backend.card

    @property
    def device(self) -> str:
        """What runs it, as it was granted."""
        return self._backend.device

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer a batch with the mean over its views, at the size of the largest answer."""
        answers = list(self._answers(batch))
        if len(answers) == 1:
            return answers[0]
        height, width = max(answer.shape[2:] for answer in answers)
        return np.asarray(
            np.mean([_brought(answer, height, width) for answer in answers], axis=0),
            dtype=np.float32,
        )

    def _answers(self, batch: Batch) -> Iterator[NetworkOutput]:
        stride = self.card.input.stride
        for factor in self._factors:
            height, width = (
                max(1, round(side * factor / stride)) * stride for side in batch.shape[1:3]
            )
            sized = (
                batch
                if factor == 1
                else np.stack([resize(image, height, width=width) for image in batch])
            )
            for flip in self._flips:
                answer = self._backend.run(
                    np.ascontiguousarray(sized[:, :, ::-1]) if flip else sized
                )
                yield answer[..., ::-1] if flip else answer


def _brought(answer: NetworkOutput, height: int, width: int) -> Floats:
    """Bring an answer, (N, K, h, w), to another size, bilinearly."""
    if answer.shape[2:] == (height, width):
        return np.asarray(answer, dtype=np.float32)
    planes = [
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        for plane in answer.reshape(-1, *answer.shape[2:])
    ]
    return np.asarray(planes, dtype=np.float32).reshape(*answer.shape[:2], height, width)
