"""Values of a video run: frames, segmented frames, a video's description, outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.errors import ConfigError
from segdeploy.imaging.postprocess import Confidence


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        image: (H, W, 3) uint8, blue-green-red, upright.
        index: Position in the source, from 0.
        seconds: Presentation time from the beginning of the file; 0 for an image file.
        duration: Seconds for which it is shown: until the next selected frame, or the end of the
            file; 0 where that is not known.
    """

    image: Image
    index: int
    seconds: float
    duration: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentedFrame:
    """A frame with its mask.

    Attributes:
        frame: The frame.
        mask: Class of each pixel, (H, W) uint8, of the frame's size.
        confidence: Probability of each pixel's class, (H, W) uint8, 255 for 1; None where it is
            not computed.
        drawn: Drawn images by kind, for example "overlay".
        stage_seconds: Seconds that each stage took so far, by stage.
        output: The network's output, (1, K, h, w), until it is smoothed by the frames before it,
            or where it is kept; else None.
    """

    frame: Frame
    mask: Mask
    confidence: Confidence | None
    drawn: Mapping[str, Image]
    stage_seconds: Mapping[str, float]
    output: NetworkOutput | None = None


class Decision(Enum):
    """Whether a frame is taken or skipped, or ends the selection."""

    TAKE = "take"
    SKIP = "skip"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which frames of a source are read; by default all.

    Attributes:
        stride: Every `stride`-th frame is taken, beginning with the first one in the time range.
        start: Seconds from the source's beginning before which no frame is taken.
        end: Seconds from which on no frame is taken; None for the end of the source.
        max_frames: Maximum number of frames taken; None for all.
    """

    stride: int = 1
    start: float = 0.0
    end: float | None = None
    max_frames: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers and the time range.

        Raises:
            ConfigError: A number is too small, or the end is not later than the start.
        """
        least = {"stride": 1, "start": 0, "max_frames": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not value >= bound:
                msg = f"{name} is {value}; it must be at least {bound}"
                raise ConfigError(msg)
        if self.end is not None and self.end <= self.start:
            msg = (
                f"the end, {self.end:g} s, is no later than the start, {self.start:g} s; set a"
                " later end"
            )
            raise ConfigError(msg)

    @property
    def is_timed(self) -> bool:
        """Whether it depends on the time of a frame, which image files do not have."""
        return self.start > 0 or self.end is not None

    def decide(self, passed: int, seconds: float, *, taken: int) -> Decision:
        """Return whether a frame is taken or skipped, or ends the selection.

        Args:
            passed: Number of frames since the start, before this one.
            seconds: The frame's time.
            taken: Number of frames taken before.
        """
        if (self.max_frames is not None and taken >= self.max_frames) or (
            self.end is not None and seconds >= self.end
        ):
            return Decision.STOP
        if seconds < self.start or passed % self.stride:
            return Decision.SKIP
        return Decision.TAKE

    def count(self, frames: int | None, rate: float) -> int | None:
        """Return about how many frames are taken; None where it is unknown.

        Args:
            frames: Number of frames of the source; None where it is unknown.
            rate: Frames per second.
        """
        if frames is None:
            return self.max_frames
        if self.is_timed:
            last = frames if self.end is None else min(frames, round(self.end * rate))
            frames = max(0, last - round(self.start * rate))
        taken = -(-frames // self.stride)
        return taken if self.max_frames is None else min(taken, self.max_frames)


class VideoInfo(Protocol):
    """Properties of a video, file or live stream, that are known before its frames are read."""

    @property
    def name(self) -> str:
        """Stem of its outputs' names."""
        ...

    @property
    def width(self) -> int:
        """Width of each frame, in pixels."""
        ...

    @property
    def height(self) -> int:
        """Height of each frame, in pixels."""
        ...

    @property
    def rate(self) -> Fraction:
        """Nominal frames per second."""
        ...

    @property
    def aspect(self) -> Fraction:
        """Width of a pixel over its height."""
        ...

    @property
    def audio(self) -> Path | None:
        """File with its audio; None where there is none to copy."""
        ...

    @property
    def frames(self) -> int | None:
        """About how many frames will be read; None where that is unknown."""
        ...

    @property
    def selection(self) -> Selection:
        """Which part of it is read."""
        ...


FrameWriter = Callable[[SegmentedFrame], None]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Open outputs of a run.

    Attributes:
        writers: Called with each segmented frame; each raises OutputError where it cannot write.
        paths: The files and folders that are written.
    """

    writers: tuple[FrameWriter, ...]
    paths: tuple[Path, ...]

    def write(self, result: SegmentedFrame) -> None:
        """Write a segmented frame to all outputs."""
        for write in self.writers:
            write(result)
