"""Encode: MP4 with audio, or Y4M and raw frames into a pipe."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import av
import cv2
import numpy as np
from av.packet import Packet
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from segdeploy.arrays import Image, Mask
from segdeploy.errors import DataError, OutputError, SegdeployError
from segdeploy.imaging.overlay import MASK, OVERLAY
from segdeploy.video.audio import Sound
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Outputs, Segmented, VideoInfo
from segdeploy.video.resume import (
    AT_ONCE,
    GROWING,
    SHIFT,
    kept_of,
    kept_packets,
    name_whole,
    part_of,
)


@contextmanager
def pipe_outputs(film: VideoInfo, pipe: BinaryIO, *, kind: str, form: str) -> Iterator[Outputs]:
    """Send one kind of results into a pipe.

    Args:
        film: What is segmented.
        pipe: Usually standard output.
        kind: The overlay or the mask.
        form: "y4m", YUV4MPEG2, which tells its size and rate; or "raw", bare rows: blue-green-red
            of an overlay, a byte a pixel of a mask.

    Raises:
        OutputError: Whoever read from the pipe has closed it.
    """
    see: Callable[[Segmented], Image | Mask] = {
        OVERLAY: lambda result: result.drawn[OVERLAY],
        MASK: lambda result: result.mask,
    }[kind]
    send = _rows_into(pipe) if form == "raw" else _y4m_into(pipe, film, gray=kind == MASK)

    def write(result: Segmented) -> None:
        try:
            send(see(result))
            pipe.flush()
        except (OSError, av.FFmpegError) as error:
            msg = (
                f"nobody reads from the pipe any more ({error.strerror or error}); what was sent is"
                " all that there is"
            )
            raise OutputError(msg) from error

    yield Outputs(writers=(write,), paths=())


def _rows_into(pipe: BinaryIO) -> Callable[[Image | Mask], None]:
    def send(picture: Image | Mask) -> None:
        pipe.write(np.ascontiguousarray(picture).data)

    return send


def _y4m_into(pipe: BinaryIO, film: VideoInfo, *, gray: bool) -> Callable[[Image | Mask], None]:
    """Return a function that sends images as Y4M; the header goes before the first one."""
    container = av.open(_Unseekable(pipe), "w", format="yuv4mpegpipe")
    stream = container.add_stream("wrapped_avframe", rate=film.rate)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = (
        film.width,
        film.height,
        "gray" if gray else "yuv420p",
    )
    stream.codec_context.sample_aspect_ratio = film.aspect
    stream.codec_context.time_base = Fraction(1, 1) / film.rate
    reformatter = VideoReformatter()
    sent = 0

    def send(picture: Image | Mask) -> None:
        nonlocal sent
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(picture), format="gray" if gray else "bgr24"
        )
        if not gray:
            frame = reformatter.reformat(
                frame,
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
        frame.pts, frame.time_base = sent, 1 / film.rate
        container.mux(stream.encode(frame))
        sent += 1

    return send


class _Unseekable:
    """A pipe of which FFmpeg uses nothing but writing."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def write(self, data: bytes) -> int:
        """Write some bytes."""
        return self._pipe.write(data)


TICKS = 90000
"""The least number of clock ticks in a second; a multiple of the rate, so that each usual frame
falls on a whole tick."""

HELD_BACK = 300
"""Frames between the decoding of one and its showing are always fewer."""

BT709 = 1
LIMITED = 1
"""Matrix and range by ITU-T H.273, written into the file, so that a player decodes the colors that
were meant."""


class VideoSink:
    """An MP4 file, written as `NAME.part` and named when it is whole.

    `NAME.part` is no MP4 yet: what a killed process leaves of it can be gone on with (see `kept`),
    and FFmpeg reads it. At the end it is copied into the form that begins to play before all of it
    has come.

    It is a context manager. When its block fails or is interrupted, the file is finished with the
    frames that it has, is playable, and gets its name: what was done stays. Nothing is left where
    no frame was written, or the file itself failed.

    Video as browsers play it (4:2:0) has even sides only: of an image with an odd side, the last
    row or column is doubled.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        rate: Fraction,
        aspect: Fraction = Fraction(1),
        sound: Path | None = None,
        start: float = 0.0,
        end: float | None = None,
        encoding: Encoding | None = None,
        threads: int = 0,
        kept: int = 0,
    ) -> None:
        """Open the file.

        Args:
            path: Name of the finished file, ending in .mp4; its folder is made if it is missing.
            width: Width of each image, in pixels.
            height: Height of each image, in pixels.
            rate: Usual number of frames a second; the time of each frame is its own.
            aspect: Width of a pixel over its height; 1 but for old television.
            sound: File whose sound is kept; one without sound is fine.
            start: Seconds of the sound's and the images' clock at which the file begins.
            end: Seconds of that clock behind which no sound is kept; None for all of it.
            encoding: How it is compressed; H.264 of its usual quality where None.
            threads: Threads of the encoder; 0 lets it choose.
            kept: How many frames are taken over from an interrupted run, as `count_kept` gave it.

        Raises:
            OutputError: The file cannot be written.
            ConfigError: What is taken over was begun with other options.
            DataError: The sound cannot be read.
        """
        self._path = path
        self._part = part_of(path)
        self._size = (height, width)
        self._tag = (encoding or Encoding()).its_codec.tag
        self._tick = Fraction(1, rate.numerator * math.ceil(TICKS / rate.numerator))
        self._duration = round(1 / rate / self._tick)
        self._last: int | None = None
        self._decoded: Fraction | None = None
        self._start = start - SHIFT
        self._end = math.inf if end is None else end
        self._broken = False
        self._reformatter = VideoReformatter()
        with self._refusing():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._part), "w", format=GROWING, options=AT_ONCE)
        self._stream = self._add_stream(rate, encoding or Encoding(), threads)
        self._stream.codec_context.sample_aspect_ratio = aspect
        self._sound: Sound | None = None
        try:
            self._sound = Sound(sound, self._container, start=start, shift=SHIFT) if sound else None
            if kept:
                self._take_over(kept)
        except SegdeployError:
            self._discard()
            raise

    def __enter__(self) -> Self:
        return self

    def write(self, image: Image, *, seconds: float) -> None:
        """Write one image.

        Args:
            image: (height, width, 3) uint8, blue-green-red.
            seconds: When it is shown, by a clock that tells `start` at the beginning of the file;
                later than the image before it.

        Raises:
            DataError: The image has another size than the video.
            OutputError: The file cannot be written, for example because the disk is full.
        """
        if image.shape[:2] != self._size:
            height, width = self._size
            msg = (
                f"an image of {image.shape[1]}x{image.shape[0]} does not fit {self._path} of"
                f" {width}x{height}; resize it"
            )
            raise DataError(msg)
        frame = self._frame(image)
        # The encoder refuses times that stand still or go back: one tick later is the smallest
        # change.
        time = round(Fraction(seconds - self._start) / self._tick)
        self._last = time if self._last is None else max(time, self._last + 1)
        frame.pts, frame.time_base, frame.duration = self._last, self._tick, self._duration
        with self._refusing():
            self._mux(self._stream.encode(frame))
            if self._sound:
                self._sound.write_until(min(seconds, self._end) - self._start)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file and name it; raises OutputError where it cannot be written."""
        if self._broken or self._last is None:
            self._discard()
            return
        try:
            with self._refusing():
                self._flush(
                    end=(
                        self._end - self._start
                        if error is None
                        else float((self._last + self._duration) * self._tick)
                    )
                )
                name_whole(self._part, self._path, tag=self._tag)
                kept_of(self._path).unlink(missing_ok=True)
        finally:
            self._discard()

    def _add_stream(self, rate: Fraction, encoding: Encoding, threads: int) -> VideoStream:
        stream = self._container.add_stream(
            encoding.its_codec.encoder, rate=rate, options=encoding.options(threads)
        )
        assert isinstance(stream, VideoStream)
        codec = stream.codec_context
        codec.height, codec.width = (side + side % 2 for side in self._size)
        codec.pix_fmt = "yuv420p"
        codec.time_base = self._tick
        codec.thread_count = threads
        codec.color_range = LIMITED
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        return stream

    def _frame(self, image: Image) -> av.VideoFrame:
        height, width = self._size
        if height % 2 or width % 2:
            image = np.asarray(
                cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE),
                np.uint8,
            )
        frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="bgr24")
        return self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        for packet in packets:
            # Of a clip with fewer frames than it holds back, libx265 gives decoding times that it
            # never set; no frame goes back there.
            if packet.pts is not None and (
                packet.dts is None or abs(packet.pts - packet.dts) > HELD_BACK * self._duration
            ):
                packet.dts = packet.pts
            self._mux_later(packet)

    def _mux_later(self, packet: "Packet[VideoStream]") -> None:
        """Write a packet; behind frames that were taken over, an encoder begins to count decoding times anew."""
        assert packet.dts is not None
        if self._decoded is not None and packet.dts * packet.time_base <= self._decoded:
            packet.dts = math.floor(self._decoded / packet.time_base) + 1
        self._decoded = packet.dts * packet.time_base
        self._container.mux_one(packet)

    def _take_over(self, kept: int) -> None:
        """Copy the frames of an interrupted run, with the sound beside them."""
        # Writing the head opens the encoder, of which only then is known what it writes there.
        self._container.start_encoding()
        with self._refusing():
            for packet in kept_packets(self._path, kept, self._stream.codec_context.extradata):
                assert packet.pts is not None
                self._last = max(self._last or 0, round(packet.pts * packet.time_base / self._tick))
                packet.stream = self._stream
                self._mux_later(packet)
                if self._sound:
                    self._sound.write_until(
                        min(float(self._last * self._tick), self._end - self._start)
                    )

    def _flush(self, end: float) -> None:
        """Write what the encoder holds back and the sound up to `end`, in seconds."""
        self._mux(self._stream.encode(None))
        if self._sound:
            self._sound.write_until(end)
        self._container.close()

    def _discard(self) -> None:
        """Close everything, and remove what did not get its name."""
        if self._sound:
            self._sound.close()
        with suppress(av.FFmpegError, OSError):
            self._container.close()
        self._part.unlink(missing_ok=True)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn what the system says against writing into one sentence, and remember it."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            self._broken = True
            msg = (
                f"cannot write {self._path}: {error.strerror or error}; free some space or choose"
                " another folder"
            )
            raise OutputError(msg) from error
