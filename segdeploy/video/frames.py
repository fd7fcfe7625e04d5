"""Values of a video run: frames, segmented frames, a video's description, outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.imaging.postprocess import Confidence
from segdeploy.video.run_options import Selection


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
