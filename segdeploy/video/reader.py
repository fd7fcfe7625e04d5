"""Decode a video, on the CPU or with a hardware decoder."""

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
from segdeploy.video.frames import Decision, Frame, Selection

HARDWARE = ("cuda", "videotoolbox", "d3d11va", "vaapi", "qsv")
"""Hardware decoders by FFmpeg's names: of NVIDIA, Apple, Windows, Linux and Intel, in the order in
which "auto" tries them.

The standards of H.264, HEVC, AV1 and VP9 define the decoded frames bit for bit, so they equal those
of the CPU.
"""


def open_video_file(path: Path, decoder: str) -> InputContainer:
    """Open a file for a decoder.

    Args:
        path: Video in any format that FFmpeg reads.
        decoder: "cpu", "auto" or one of `HARDWARE`; "auto" takes the first one that decodes this
            file, else the CPU.

    Raises:
        DataError: The file is missing or no video.
        DeviceError: The hardware decoder is not available, or does not decode this codec.
    """
    if not path.is_file():
        msg = f"there is no video {path}; check the name"
        raise DataError(msg)
    if decoder in HARDWARE:
        container = _on_device(path, decoder)
        if container is None:
            msg = f"the decoder {decoder!r} does not decode {path}; choose another one, auto or cpu"
            raise DeviceError(msg)
        return container
    tried = (_on_device(path, device) for device in HARDWARE if decoder == "auto")
    return next((container for container in tried if container), None) or _on_cpu(path)


def _on_cpu(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        msg = f"{path} cannot be read as a video ({error.strerror}); use a complete copy of it"
        raise DataError(msg) from error


def _on_device(path: Path, device: str) -> InputContainer | None:
    """Open a file with a hardware decoder.

    Returns None where it is not available, or decoding one frame shows that it cannot decode this
    file.
    """
    # A file that no decoder can read is reported as such, not by the device's error.
    _on_cpu(path).close()
    try:
        with av.open(
            str(path), hwaccel=HWAccel(device, allow_software_fallback=False)
        ) as container:
            stream = container.streams.best("video")
            if (
                stream is None
                or next(container.decode(stream), None) is None
                or not container.streams.video[0].codec_context.is_hwaccel
            ):
                return None
        return av.open(str(path), hwaccel=HWAccel(device, allow_software_fallback=False))
    except (av.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError):
        return None


DEFAULT_RATE = Fraction(25)
"""Frames per second of a video without a rate."""

Orientation = tuple[bool, bool, bool]
"""How stored images become upright: whether they are transposed, then whether columns and rows are
reversed."""


class VideoSource:
    """The frames of one video, upright, each with its own time.

    It is a context manager, and is read once.

    Attributes:
        path: The file, or the name of a stream.
        name: Stem of its outputs' names: that of the file.
        audio: File that the audio is copied from; None for a stream, which is read only once.
        selection: Which frames are read.
        width: Width of each frame, in pixels, upright.
        height: Height of each frame, in pixels, upright.
        rate: Nominal frames per second, of the selected ones.
        aspect: Width of a pixel over its height, upright; not 1 in analog television.
        frames: How many frames are selected of those that the file has by its header or its
            duration; None where it has neither.
        skipped: How many frames were lost so far to damage or truncation; complete at the end of
            reading.
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
            selection: Which frames are read; all where None.
            decoder: Name of the decoder, see `open_video_file`.
            opened: A container that is already open, of a pipe or an address; `path` is its name.
            prompt: Whether each frame must be returned as soon as it has come: threads then share
                a frame instead of having one each.

        Raises:
            DataError: The file is missing, is not a video, or none of its frames can be decoded.
            DeviceError: The hardware decoder does not decode it.
        """
        self.path = path
        self.name = path.stem
        self.audio = None if opened else path
        self.selection = selection or Selection()
        self.skipped = 0
        self._resumed = 0
        self._discarded = 0
        self._container = opened or open_video_file(path, decoder)
        self._stream = _stream(self._container, path)
        self._stream.thread_type = "SLICE" if prompt else "AUTO"
        self._decoded = self._decode()
        first = next(self._decoded, None)
        if first is None:
            self.close()
            msg = f"no frame of {path} can be decoded; use a complete copy of it"
            raise DataError(msg)
        self._first = first
        self._converter = FrameConverter(first)
        self._orientation = _orientation(first)
        self.width, self.height = (
            (first.height, first.width) if self._orientation[0] else (first.width, first.height)
        )
        self._own_rate = self._stream.average_rate or self._stream.guessed_rate or DEFAULT_RATE
        self.rate = self._own_rate / self.selection.stride
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self.aspect = 1 / aspect if self._orientation[0] else aspect
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
            decision = self.selection.decide(passed, seconds, taken=taken)
            if decision is Decision.STOP:
                return
            passed += seconds >= self.selection.start
            if decision is Decision.TAKE:
                taken += 1
                if taken <= self._resumed:
                    continue
                yield Frame(image=self._upright(decoded), index=index, seconds=seconds)

    def _timed(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Return all frames with their seconds from the beginning; count the missing at the end."""
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
        """Skip the first so many selected frames, which an interrupted run finished."""
        self._resumed = count
        self.frames = None if self.frames is None else max(0, self.frames - count)

    @property
    def losses(self) -> list[str]:
        """What was lost so far, one sentence each."""
        if not self.skipped:
            return []
        frames = "1 frame" if self.skipped == 1 else f"{self.skipped} frames"
        return [f"{self.path} is damaged: {frames} could not be decoded and had to be left out"]

    @property
    def notes(self) -> list[str]:
        """What was converted so far, one sentence each."""
        kind, resized = self._converter.kind, self._converter.resized
        notes = []
        if kind:
            notes.append(f"{self.path} has {kind}; it is converted to 8 bits and BT.709")
        if resized:
            size = f"{self.width}x{self.height}"
            notes.append(
                f"{resized} frames of {self.path} have another size than its first, and were"
                f" resized to {size}"
            )
        return notes

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
                if packet.is_corrupt:
                    # The last one of a truncated file: decoding it would also lose good frames that
                    # are in the decoder's threads.
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
        """Return how many frames are missing after `count` were read, the last one until `end`.

        The index of an MP4 file has each frame, also those that were truncated or whose damage the
        decoder did not report. A file without audio has a duration that shows it. Else the number
        of skipped frames is all that is known.
        """
        if "mp4" in self._container.format.name:
            return max(0, len(self._stream.index_entries) - self._discarded - count)
        if self.skipped or self._container.streams.audio or not self._container.duration:
            return self.skipped
        missing = round((self._container.duration / av.time_base - end) * self._own_rate)
        return missing if missing > 1 else 0

    def _upright(self, decoded: av.VideoFrame) -> Image:
        image = self._converter.convert(decoded)
        swapped, left_right, top_bottom = self._orientation
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
        msg = f"{path} has no video stream; name a video"
        raise DataError(msg)
    stream.codec_context.thread_count = cores()
    return stream


def _orientation(frame: av.VideoFrame) -> Orientation:
    """Return the orientation in the display matrix of a frame.

    Phones store images as the sensor sees them, with the orientation of the phone.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, Buffer):
        return False, False, False
    # (x, y) is shown at (a x + c y, b x + d y): numbers 0, 1, 3 and 4 of the nine, in 16.16 fixed
    # point.
    numbers = np.frombuffer(bytes(matrix), np.int32).astype(np.int64)
    a, b, c, d = (int(numbers[index]) for index in (0, 1, 3, 4))
    swapped = abs(b) > abs(a)
    return swapped, (c if swapped else a) < 0, (b if swapped else d) < 0
