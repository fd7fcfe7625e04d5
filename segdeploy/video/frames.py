"""Frame, Segmented, Film, Outputs; which frames are selected."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.errors import ConfigError
from segdeploy.imaging.postprocess import Confidence


class Verdict(Enum):
    """What becomes of a frame."""

    TAKE = "take"
    SKIP = "skip"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which frames of a source are wanted; all, where nothing is said.

    Attributes:
        stride: One frame of so many is taken, beginning with the first one in the time.
        start: Seconds of the source's clock before which nothing is taken.
        end: Seconds from which on nothing is taken; None for the end of the source.
        most: How many frames are taken at most; None for all.
    """

    stride: int = 1
    start: float = 0.0
    end: float | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        """Refuse what would take nothing.

        Raises:
            ConfigError: The end is no later than the start.
        """
        if self.end is not None and self.end <= self.start:
            msg = (
                f"the end, {self.end:g} s, is no later than the start, {self.start:g} s; give an"
                " end behind it"
            )
            raise ConfigError(msg)

    @property
    def is_timed(self) -> bool:
        """Whether it asks for the time of a frame, which images in files have not."""
        return self.start > 0 or self.end is not None

    def judge(self, passed: int, seconds: float, *, taken: int) -> Verdict:
        """Return whether a frame is wanted.

        Args:
            passed: How many frames came since the start, before this one.
            seconds: The frame's time.
            taken: How many were taken before.
        """
        if (self.most is not None and taken >= self.most) or (
            self.end is not None and seconds >= self.end
        ):
            return Verdict.STOP
        if seconds < self.start or passed % self.stride:
            return Verdict.SKIP
        return Verdict.TAKE

    def count(self, frames: int | None, rate: float) -> int | None:
        """Return about how many of so many frames will be taken; None where nobody knows.

        Args:
            frames: How many the source has.
            rate: Frames a second.
        """
        if frames is None:
            return self.most
        if self.is_timed:
            last = frames if self.end is None else min(frames, round(self.end * rate))
            frames = max(0, last - round(self.start * rate))
        wanted = -(-frames // self.stride)
        return wanted if self.most is None else min(wanted, self.most)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        image: (H, W, 3) uint8, blue-green-red, upright.
        index: Place in the source, from 0.
        seconds: When it is shown, from the beginning of the file; 0 for an image that is no
            video's.
    """

    image: Image
    index: int
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmented:
    """A frame with its answer.

    Attributes:
        frame: What was answered.
        mask: Class of each pixel, (H, W) uint8, of the frame's size.
        confidence: Probability of the best class of each pixel, (H, W) uint8, 255 for 1; None where
            nobody asked for it.
        drawn: What is drawn of it, by kind.
        spent: Seconds that each stage took until here, by stage.
        answer: What the network answered, (1, K, h, w), while the frames before it have a say in
            it; None once it is settled.
    """

    frame: Frame
    mask: Mask
    confidence: Confidence | None
    drawn: Mapping[str, Image]
    spent: Mapping[str, float]
    answer: NetworkOutput | None = None

    @property
    def overlay(self) -> Image | None:
        """The frame with the classes' colors laid over it; None where nobody asked for it."""
        return self.drawn.get("overlay")


class VideoInfo(Protocol):
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


Write = Callable[[Segmented], None]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where results go.

    Attributes:
        writers: What is called with each result; each raises OutputError where it cannot write.
        paths: The files and folders that are written.
    """

    writers: tuple[Write, ...]
    paths: tuple[Path, ...]

    def write(self, result: Segmented) -> None:
        """Write all that is kept of one result."""
        for write in self.writers:
            write(result)
