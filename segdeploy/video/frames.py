"""The values that travel from a source to a sink."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from segdeploy.confidence import Confidence
from segdeploy.pictures import Picture
from segdeploy.pixels import NetworkAnswer
from segdeploy.scores import Mask
from segdeploy.video.selection import Selection


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8, blue-green-red, upright.
        index: Place in the source, from 0.
        seconds: When it is shown, from the beginning of the file; 0 for a picture that is no video's.
    """

    image: Picture
    index: int
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmented:
    """A frame with its answer.

    Attributes:
        frame: What was answered.
        mask: Class of each pixel, (H, W) uint8, of the frame's size.
        confidence: Probability of the best class of each pixel, (H, W) uint8, 255 for 1; None where nobody asked for it.
        drawn: What is drawn of it, by kind.
        spent: Seconds that each stage took until here, by stage.
        answer: What the network answered, (1, K, h, w), while the frames before it have a say in it; None once it is settled.
    """

    frame: Frame
    mask: Mask
    confidence: Confidence | None
    drawn: Mapping[str, Picture]
    spent: Mapping[str, float]
    answer: NetworkAnswer | None = None

    @property
    def overlay(self) -> Picture | None:
        """The frame with the classes' colors laid over it; None where nobody asked for it."""
        return self.drawn.get("overlay")


class Film(Protocol):
    """What is known of a source's frames before they are read, where all of them belong to one film."""

    @property
    def name(self) -> str:
        """What its results are called after."""
        ...

    @property
    def width(self) -> int:
        """Of each frame, in pixels."""
        ...

    @property
    def height(self) -> int:
        """Of each frame, in pixels."""
        ...

    @property
    def rate(self) -> Fraction:
        """Usual number of frames a second."""
        ...

    @property
    def aspect(self) -> Fraction:
        """Width of a pixel over its height."""
        ...

    @property
    def sound(self) -> Path | None:
        """File whose sound belongs to it."""
        ...

    @property
    def selection(self) -> Selection:
        """Which part of it is read."""
        ...
