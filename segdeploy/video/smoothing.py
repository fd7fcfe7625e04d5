"""Against flicker: what the network answers, steadied by what it answered before.

And how much the classes flicker.
"""

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
"""Share of the newest answer in the moving average: what a frame says has faded to a sixteenth four
frames later."""

MARGIN = 1.0
"""By how much the logit of a new class must lead: it must be e times as probable as the class that
a place has."""


class Smoother(Protocol):
    """Steadies answers; it is given them in the frames' order."""

    def smooth(self, answer: NetworkOutput) -> Floats:
        """Return the steadied answer to one frame, (1, K, h, w).

        One of another size than that before begins anew.
        """
        ...


class MovingAverage:
    """The exponential moving average of the answers.

    Steady everywhere, and late where things move.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._mean: Floats | None = None

    def smooth(self, answer: NetworkOutput) -> Floats:
        """Return the average until this answer."""
        if self._mean is None or self._mean.shape != answer.shape:
            self._mean = np.array(answer, np.float32)
        else:
            self._mean += NEWEST * (answer - self._mean)
        return self._mean.copy()


class Hysteresis:
    """A place keeps its class until another one leads clearly.

    Nothing is late where the network is sure.
    """

    def __init__(self, output: Output) -> None:
        """Begin with nothing.

        Args:
            output: What is answered: logits, or probabilities.
        """
        self._output = output
        self._held: Mask | None = None

    def smooth(self, answer: NetworkOutput) -> Floats:
        """Return the answer with the lead that the held classes are granted."""
        planes = np.array(answer[0], np.float32)
        if self._held is not None and self._held.shape == planes.shape[1:]:
            held = self._held[None].astype(np.intp)
            own = np.take_along_axis(planes, held, axis=0)
            np.put_along_axis(
                planes,
                held,
                own + MARGIN if self._output == "logits" else own * np.float32(exp(MARGIN)),
                axis=0,
            )
        self._held = best_class(planes)
        return planes[None]


SMOOTHERS = ("ema", "hysteresis")
"""A moving average, and a lead for the class that a place has."""


def make_smoother(name: str, card: ModelCard) -> Smoother:
    """Return one of `SMOOTHERS` for a network's answers.

    Raises:
        ConfigError: The network answers classes, between which there is nothing to weigh.
    """
    if card.output == "classes":
        msg = (
            f"this file answers classes, which --smooth {name} cannot weigh; export it with"
            " --output logits"
        )
        raise ConfigError(msg)
    return MovingAverage() if name == "ema" else Hysteresis(card.output)


class Flicker:
    """How often pixels change their class and change it back with the next frame."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._last: list[Mask] = []
        self._back = 0
        self._pixels = 0

    def add(self, mask: Mask) -> None:
        """Count one mask, (H, W) uint8; one of another size than that before begins anew."""
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
        """Share of the pixels, of all frames but the first and the last one, whose class is another than before and after, in [0, 1]."""
        return self._back / self._pixels if self._pixels else 0.0


class TemporalSmoother:
    """A smoother, and the flicker before it and after it."""

    def __init__(self, smoother: Smoother) -> None:
        """Wrap a smoother, before its first frame."""
        self.smoother = smoother
        self.before = Flicker()
        self.after = Flicker()

    @property
    def sentence(self) -> str:
        """What came of it."""
        before, after = self.before.share, self.after.share
        return (
            f"{before:.2%} of the pixels changed their class and changed it back with the next"
            f" frame; steadied, {after:.2%} do"
        )

    def to_dict(self) -> Mapping[str, float]:
        """Return both shares, as values that JSON knows."""
        return {"before": round(self.before.share, 6), "after": round(self.after.share, 6)}
