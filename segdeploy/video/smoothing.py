"""Temporal smoothing of the network's outputs, and a measure of flicker."""

from collections.abc import Mapping
from math import exp
from typing import Protocol

import cv2
import numpy as np

from segdeploy.arrays import Mask, NetworkOutput
from segdeploy.card import ModelCard, Output
from segdeploy.errors import ConfigError
from segdeploy.imaging.upsample import Floats, best_class

NEWEST = 0.5
"""Weight of the newest output in the moving average: four frames later, it is a sixteenth of
that."""

MARGIN = 1.0
"""By how much the logit of a new class must lead: it must be e times as probable as the pixel's
present class."""


class Smoother(Protocol):
    """Smooths outputs; it is called in the frames' order."""

    def smooth(self, output: NetworkOutput) -> Floats:
        """Return the smoothed output of one frame, (1, K, h, w).

        An output of another size than the one before starts from the beginning.
        """
        ...


class MovingAverage:
    """The exponential moving average of the outputs: smooth everywhere, delayed at motion."""

    def __init__(self) -> None:
        """Start without an output."""
        self._mean: Floats | None = None

    def smooth(self, output: NetworkOutput) -> Floats:
        """Return the average up to this output."""
        if self._mean is None or self._mean.shape != output.shape:
            self._mean = np.array(output, np.float32)
        else:
            self._mean += NEWEST * (output - self._mean)
        return self._mean.copy()


class Hysteresis:
    """A pixel keeps its class until another one leads by a margin.

    There is no delay where the network is confident.
    """

    def __init__(self, output: Output) -> None:
        """Start without an output.

        Args:
            output: What the network outputs: logits, or probabilities.
        """
        self._kind = output
        self._mask: Mask | None = None

    def smooth(self, output: NetworkOutput) -> Floats:
        """Return the output with the margin added to each pixel's present class."""
        planes = np.array(output[0], np.float32)
        if self._mask is not None and self._mask.shape == planes.shape[1:]:
            present = self._mask[None].astype(np.intp)
            score = np.take_along_axis(planes, present, axis=0)
            raised = score + MARGIN if self._kind == "logits" else score * np.float32(exp(MARGIN))
            np.put_along_axis(planes, present, raised, axis=0)
        self._mask = best_class(planes)
        return planes[None]


SMOOTHERS = ("ema", "hysteresis")
"""A moving average, and a margin for the class that a pixel has."""


def make_smoother(name: str, card: ModelCard) -> Smoother:
    """Return one of `SMOOTHERS` for a network's outputs.

    Raises:
        ConfigError: The network outputs class indices, which cannot be averaged.
    """
    if card.output == "classes":
        msg = (
            f"this file outputs class indices, which --smooth {name} cannot average; export it with"
            " --output logits"
        )
        raise ConfigError(msg)
    return MovingAverage() if name == "ema" else Hysteresis(card.output)


class Flicker:
    """How often pixels change their class and change it back in the next frame."""

    def __init__(self) -> None:
        """Start without a mask."""
        self._last: list[Mask] = []
        self._back = 0
        self._pixels = 0

    def add(self, mask: Mask) -> None:
        """Count one mask, (H, W) uint8; one of another size starts a new series."""
        if self._last and self._last[-1].shape != mask.shape:
            self._last = []
        self._last = [*self._last[-2:], mask]
        if len(self._last) == 3:
            first, second, third = self._last
            back = cv2.bitwise_and(
                cv2.compare(first, second, cv2.CMP_NE), cv2.compare(first, third, cv2.CMP_EQ)
            )
            self._back += cv2.countNonZero(back)
            self._pixels += mask.size

    @property
    def share(self) -> float:
        """Share of the pixels whose class differs from that before and after, in [0, 1].

        The first and the last frame do not count.
        """
        return self._back / self._pixels if self._pixels else 0.0


class TemporalSmoother:
    """A smoother, and the flicker of the masks without it and with it.

    Attributes:
        smoother: Smooths the outputs.
        before: Flicker of the network's own masks.
        after: Flicker of the smoothed masks.
    """

    def __init__(self, smoother: Smoother) -> None:
        """Wrap a smoother, before its first frame."""
        self.smoother = smoother
        self.before = Flicker()
        self.after = Flicker()

    @property
    def summary(self) -> str:
        """A sentence with both shares."""
        before, after = self.before.share, self.after.share
        return (
            f"{before:.2%} of the pixels changed their class and changed it back in the next"
            f" frame; smoothed, {after:.2%} do"
        )

    def to_dict(self) -> Mapping[str, float]:
        """Return both shares as JSON values."""
        return {"before": round(self.before.share, 6), "after": round(self.after.share, 6)}
