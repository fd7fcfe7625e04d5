"""Options of a run over frames: which are read, and how they share the cores."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Self

from segdeploy.errors import ConfigError
from segdeploy.system.machine import cores


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


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How frames share the cores.

    On a CPU, one frame per core with one thread each gives 10 to 25% more frames per second than
    all cores on one frame, which has the lower latency.

    Attributes:
        throughput: Whether frames are processed in parallel, each by a network of one thread,
            instead of one at a time by all cores.
        serial: Whether the stages run one after the other; only the network itself is parallel
            then.
        threads: Cores that the network may use, in total; all of the process's where None.
        batch: Frames per call of the network; None for the fastest on the device.
    """

    throughput: bool = True
    serial: bool = False
    threads: int | None = None
    batch: int | None = 1

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: One is below 1.
        """
        for name in ("threads", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                msg = f"{name} is {value}; it must be at least 1"
                raise ConfigError(msg)

    @property
    def workers(self) -> int:
        """How many batches are processed at the same time."""
        return (self.threads or cores()) if self.throughput and not self.serial else 1

    @property
    def network_threads(self) -> int:
        """Threads of the network in one call."""
        return 1 if self.throughput and not self.serial else self.threads or cores()

    def for_frames(self, frames: int | None) -> Self:
        """Return the schedule for a number of frames; None where it is unknown.

        Fewer frames than cores are processed one at a time, by all cores.
        """
        return self if frames is None or frames >= self.workers else replace(self, throughput=False)

    def share_cores(self) -> None:
        """Set the number of OpenCV's threads: 1 if frames are parallel, else the process's cores.

        By itself, OpenCV counts the host's.
        """
        # Options of a command are parsed without it.
        import cv2

        cv2.setNumThreads(1 if self.workers > 1 else cores())
