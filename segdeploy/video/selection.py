"""Which frames of a source are wanted."""

from dataclasses import dataclass
from enum import Enum

from segdeploy.errors import ConfigError


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
            msg = f"the end, {self.end:g} s, is no later than the start, {self.start:g} s; give an end behind it"
            raise ConfigError(msg)

    @property
    def is_timed(self) -> bool:
        """Whether it asks for the time of a frame, which pictures in files have not."""
        return self.start > 0 or self.end is not None

    def judge(self, passed: int, seconds: float, *, taken: int) -> Verdict:
        """Tell whether a frame is wanted.

        Args:
            passed: How many frames came since the start, before this one.
            seconds: The frame's time.
            taken: How many were taken before.
        """
        if (self.most is not None and taken >= self.most) or (self.end is not None and seconds >= self.end):
            return Verdict.STOP
        if seconds < self.start or passed % self.stride:
            return Verdict.SKIP
        return Verdict.TAKE

    def count(self, frames: int | None, rate: float) -> int | None:
        """Give about how many of so many frames will be taken; None where nobody knows.

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
