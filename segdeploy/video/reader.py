"""Read a video as a player shows it: the selected frames, upright, each at its own time."""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Self

import av
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer

from segdeploy.arrays import Image
from segdeploy.errors import DataError
from segdeploy.video.audio import decodable
from segdeploy.video.color import FrameConverter
from segdeploy.video.decoder import Decoder, TimedFrame, open_video_file
from segdeploy.video.frames import Frame
from segdeploy.video.run_options import Decision, Selection

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
        self._resumed = 0
        self._prompt = prompt
        self._container = opened or open_video_file(path, decoder)
        try:
            self._decoder = Decoder(self._container, path, prompt=prompt)
        except DataError:
            self.close()
            raise
        self._frames = iter(self._decoder)
        first = next(self._frames, None)
        if first is None:
            self.close()
            msg = f"no frame of {path} can be decoded; use a complete copy of it"
            raise DataError(msg)
        self._first = first
        self._converter = FrameConverter(first.image)
        self._orientation = _orientation(first.image)
        self.width, self.height = first.image.width, first.image.height
        if self._orientation[0]:
            self.width, self.height = self.height, self.width
        self.rate = self._decoder.rate / self.selection.stride
        aspect = self._decoder.stream.sample_aspect_ratio or Fraction(1)
        self.aspect = 1 / aspect if self._orientation[0] else aspect
        self.frames = self.selection.count(
            self._decoder.stream.frames or self._frames_by_duration(), float(self._decoder.rate)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        held: tuple[int, TimedFrame] | None = None
        passed = taken = 0
        for index, frame in enumerate(chain([self._first], self._frames)):
            decision = self.selection.decide(passed, frame.seconds, taken=taken)
            if decision is Decision.STOP:
                end = frame.seconds
                break
            passed += frame.seconds >= self.selection.start
            if decision is Decision.SKIP:
                continue
            taken += 1
            if taken <= self._resumed:
                continue
            if self._prompt:
                yield self._frame(index, frame, until=frame.seconds)
                continue
            # Only with the next frame is it known for how long this one is shown.
            if held:
                yield self._frame(*held, until=frame.seconds)
            held = index, frame
        else:
            end = self._decoder.end
        if held:
            yield self._frame(*held, until=min(end, self.selection.end or end))

    def skip(self, count: int) -> None:
        """Skip the first so many selected frames, which an interrupted run finished."""
        self._resumed = count
        self.frames = None if self.frames is None else max(0, self.frames - count)

    @property
    def skipped(self) -> int:
        """How many frames were lost so far to damage or truncation; complete at the end."""
        return self._decoder.skipped

    @property
    def losses(self) -> list[str]:
        """What was lost so far, one sentence each."""
        if not self.skipped:
            return []
        frames = "1 frame" if self.skipped == 1 else f"{self.skipped} frames"
        if self._decoder.lacking:
            seconds = f"{self._decoder.lacking:.2f} s"
            return [f"{self.path} is cut off {seconds} before its end; about {frames} are missing"]
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
        if self._decoder.restarts:
            times = "once" if self._decoder.restarts == 1 else f"{self._decoder.restarts} times"
            notes.append(
                f"the clock of {self.path} began anew {times}; what follows is placed behind what"
                " was there before"
            )
        if self._decoder.incomplete:
            notes.append(
                f"{self._decoder.incomplete} packets of {self.path} are not whole; what could be"
                " decoded of them is kept"
            )
        if self.audio and self._container.streams.audio and not decodable(self._container):
            notes.append(f"the audio of {self.path} cannot be decoded and is left out")
        return notes

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _frame(self, index: int, frame: TimedFrame, *, until: float) -> Frame:
        return Frame(
            image=self._upright(frame.image),
            index=index,
            seconds=frame.seconds,
            duration=max(0.0, until - frame.seconds),
        )

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
        stream = self._decoder.stream
        if stream.duration and stream.time_base:
            return round(stream.duration * stream.time_base * self._decoder.rate)
        return (
            round(self._container.duration * self._decoder.rate / av.time_base)
            if self._container.duration
            else None
        )


def _orientation(frame: av.VideoFrame) -> Orientation:
    """Return the orientation in the display matrix of a frame.

    Phones store images as the sensor sees them, with the orientation of the phone.
    """
    # (x, y) is shown at (a x + c y, b x + d y): numbers 0, 1, 3 and 4 of the nine, in 16.16 fixed
    # point.
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV does not know another kind of data of this frame, such as that of two eyes; it still
        # knows the rotation, in degrees counter-clockwise.
        b = -round(math.sin(math.radians(frame.rotation)))
        a = d = round(math.cos(math.radians(frame.rotation)))
        c = -b
    else:
        if not isinstance(matrix, Buffer):
            return False, False, False
        numbers = np.frombuffer(bytes(matrix), np.int32).astype(np.int64)
        a, b, c, d = (int(numbers[index]) for index in (0, 1, 3, 4))
    swapped = abs(b) > abs(a)
    return swapped, (c if swapped else a) < 0, (b if swapped else d) < 0
