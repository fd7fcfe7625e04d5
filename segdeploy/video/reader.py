"""Decode a video file (PyAV, hardware decoders)."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Self

import av
import numpy as np
from av.buffer import Buffer
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from segdeploy.arrays import Image
from segdeploy.errors import DataError, DeviceError
from segdeploy.system.machine import cores
from segdeploy.video.audio import start_time
from segdeploy.video.color import FrameConverter
from segdeploy.video.frames import Frame, Selection, Verdict

HARDWARE = ("cuda", "videotoolbox", "d3d11va", "vaapi", "qsv")
"""Devices by FFmpeg's names: NVIDIA's, Apple's, Windows', Linux' and Intel's, in the order in which `auto` tries them.

H.264, HEVC, AV1 and VP9 leave no choice to a decoder, so the frames are those of the processor, bit
for bit.
"""


def open_video_file(path: Path, decoder: str) -> InputContainer:
    """Open a file for a decoder.

    Args:
        path: Video in any format that FFmpeg reads.
        decoder: One of `DECODERS`; "auto" takes the first device that decodes this file, else the
            processor.

    Raises:
        DataError: The file is missing or no video.
        DeviceError: The device that was asked for is not there, or does not decode this codec.
    """
    if not path.is_file():
        msg = f"there is no video {path}; check the name"
        raise DataError(msg)
    if decoder in HARDWARE:
        container = _on_device(path, decoder)
        if container is None:
            msg = (
                f"the decoder {decoder!r} was asked for and does not decode {path}; choose another,"
                " auto or cpu"
            )
            raise DeviceError(msg)
        return container
    found = (_on_device(path, device) for device in HARDWARE if decoder == "auto")
    return next((container for container in found if container), None) or _on_processor(path)


def _on_processor(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        msg = f"{path} is no video that can be read ({error.strerror}); take a whole copy of it"
        raise DataError(msg) from error


def _on_device(path: Path, device: str) -> InputContainer | None:
    """Open a file for a device.

    None where it is not there, or one frame shows that it does not decode this file.
    """
    # A file that nobody can read is told as such, and by no device's words.
    _on_processor(path).close()
    try:
        with av.open(str(path), hwaccel=HWAccel(device, allow_software_fallback=False)) as trial:
            stream = trial.streams.best("video")
            if (
                stream is None
                or next(trial.decode(stream), None) is None
                or not trial.streams.video[0].codec_context.is_hwaccel
            ):
                return None
        return av.open(str(path), hwaccel=HWAccel(device, allow_software_fallback=False))
    except (av.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError):
        return None


USUAL_RATE = Fraction(25)
"""Frames a second of a video that does not tell."""

Turn = tuple[bool, bool, bool]
"""How stored images become upright: whether rows and columns change places, then whether columns
and rows are reversed."""


class VideoSource:
    """The frames of one video, upright, each with its own time.

    It is a context manager, and is read once.

    Attributes:
        path: The file, or what a stream is called.
        name: What its results are called after: the file's name without its ending.
        sound: File that the sound is copied from; None for a stream, of which every piece comes
            once.
        selection: Which frames are wanted.
        width: Width of each frame, in pixels, upright.
        height: Height of each frame, in pixels, upright.
        rate: Usual number of frames a second, of those that are wanted.
        aspect: Width of a pixel over its height, upright; 1 but for old television.
        frames: How many frames are wanted of those that the file says it has, or has by its
            duration; None where nobody knows.
        skipped: How many frames were lost so far to damage, or to a file that is cut off; told by
            the end of reading.
    """

    def __init__(
        self,
        path: Path,
        *,
        selection: Selection | None = None,
        decoder: str = "cpu",
        opened: InputContainer | None = None,
        prompt: bool = False,
    ) -> None:
        """Open a video and decode its first frame.

        Args:
            path: Video in any format that FFmpeg reads.
            selection: Which frames are wanted; all where None.
            decoder: What decodes it, see `open_video_file`.
            opened: What is already open, of which `path` is but the name: a pipe, or an address.
            prompt: Whether each frame must come out as soon as it came in: threads then share a
                frame instead of having one each.

        Raises:
            DataError: The file is missing, is no video, or none of its frames can be decoded.
            DeviceError: The decoder that was asked for does not decode it.
        """
        self.path = path
        self.name = path.stem
        self.sound = None if opened else path
        self.selection = selection or Selection()
        self.skipped = 0
        self._before = 0
        self._discarded = 0
        self._container = opened or open_video_file(path, decoder)
        self._stream = _stream(self._container, path)
        self._stream.thread_type = "SLICE" if prompt else "AUTO"
        self._decoded = self._decode()
        first = next(self._decoded, None)
        if first is None:
            self.close()
            msg = f"no frame of {path} can be decoded; take a whole copy of it"
            raise DataError(msg)
        self._first = first
        self._developer = FrameConverter(first)
        self._turn = _turn(first)
        self.width, self.height = (
            (first.height, first.width) if self._turn[0] else (first.width, first.height)
        )
        self._own_rate = self._stream.average_rate or self._stream.guessed_rate or USUAL_RATE
        self.rate = self._own_rate / self.selection.stride
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self.aspect = 1 / aspect if self._turn[0] else aspect
        self.frames = self.selection.count(
            self._stream.frames or self._frames_by_duration(), float(self._own_rate)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        passed = taken = 0
        for index, (decoded, seconds) in enumerate(self._timed()):
            verdict = self.selection.judge(passed, seconds, taken=taken)
            if verdict is Verdict.STOP:
                return
            passed += seconds >= self.selection.start
            if verdict is Verdict.TAKE:
                taken += 1
                if taken <= self._before:
                    continue
                yield Frame(image=self._upright(decoded), index=index, seconds=seconds)

    def _timed(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Return all frames with their seconds from the beginning.

        At the end it is known how many are missing.
        """
        start = start_time(self._container)
        seconds = 0.0
        for index, decoded in enumerate(chain([self._first], self._decoded)):
            seconds = (
                decoded.time - start
                if decoded.pts is not None
                else seconds + float(1 / self._own_rate) * (index > 0)
            )
            yield decoded, seconds
        self.skipped = self._missing(index + 1, end=seconds + float(1 / self._own_rate))

    def skip(self, count: int) -> None:
        """Leave out the first so many of the frames that are wanted.

        An interrupted run has done them.
        """
        self._before = count
        self.frames = None if self.frames is None else max(0, self.frames - count)

    @property
    def losses(self) -> list[str]:
        """What was lost so far, a sentence each."""
        frames = "1 frame" if self.skipped == 1 else f"{self.skipped} frames"
        return (
            [f"{self.path} is damaged: {frames} could not be decoded and had to be left out"]
            if self.skipped
            else []
        )

    @property
    def notes(self) -> list[str]:
        """What was changed so far, a sentence each."""
        kind, resized = self._developer.kind, self._developer.resized
        told = (
            [
                f"{self.path} has {kind}; it is brought to the 8 bits and the colors of an ordinary"
                " screen (BT.709)"
            ]
            if kind
            else []
        )
        again = (
            f"{resized} frames of {self.path} have another size than its first, and were brought to"
            f" that of {self.width}x{self.height}"
        )
        return [*told, *([again] if resized else [])]

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
                if packet.is_corrupt:
                    # The last one of a file that is cut off: it would take good frames with it out
                    # of the decoder's threads.
                    self.skipped += 1
                    continue
                decoded = packet.decode()
            except StopIteration:
                return
            except av.FFmpegError:
                self.skipped += 1
                continue
            self._discarded += packet.is_discard
            yield from decoded

    def _missing(self, count: int, end: float) -> int:
        """Return how many frames are lost after `count` were read and the last one ended at `end`, in seconds.

        The index of an MP4 file has each frame, also those that were cut off or whose damage the
        decoder kept to itself. A file with images alone tells by its duration. Else what was
        skipped is all that is known.
        """
        if "mp4" in self._container.format.name:
            return max(0, len(self._stream.index_entries) - self._discarded - count)
        if self.skipped or self._container.streams.audio or not self._container.duration:
            return self.skipped
        missing = round((self._container.duration / av.time_base - end) * self._own_rate)
        return missing if missing > 1 else 0

    def _upright(self, decoded: av.VideoFrame) -> Image:
        image = self._developer.develop(decoded)
        swapped, left_right, top_bottom = self._turn
        if swapped:
            image = image.transpose(1, 0, 2)
        if left_right:
            image = image[:, ::-1]
        if top_bottom:
            image = image[::-1]
        return np.ascontiguousarray(image, dtype=np.uint8)

    def _frames_by_duration(self) -> int | None:
        if self._stream.duration and self._stream.time_base:
            return round(self._stream.duration * self._stream.time_base * self._own_rate)
        return (
            round(self._container.duration * self._own_rate / av.time_base)
            if self._container.duration
            else None
        )


def _stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        container.close()
        msg = f"{path} holds no images; name a video"
        raise DataError(msg)
    stream.codec_context.thread_count = cores()
    return stream


def _turn(frame: av.VideoFrame) -> Turn:
    """Read the display matrix of a frame.

    Phones store every image as the sensor sees it, and how to hold it.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, Buffer):
        return False, False, False
    # (x, y) is shown at (a x + c y, b x + d y): numbers 0, 1, 3 and 4 of the nine, in 16.16 fixed
    # point.
    numbers = np.frombuffer(bytes(matrix), np.int32).astype(np.int64)
    a, b, c, d = (int(numbers[place]) for place in (0, 1, 3, 4))
    swapped = abs(b) > abs(a)
    return swapped, (c if swapped else a) < 0, (b if swapped else d) < 0
