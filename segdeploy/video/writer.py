"""Encode a video: MP4 with audio, or Y4M and raw frames into a pipe."""

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
from segdeploy.system.files import cannot_write, make_part
from segdeploy.video.audio import AudioTrack
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Outputs, SegmentedFrame, VideoInfo
from segdeploy.video.resume import (
    FLUSHED,
    PROGRESS_FORMAT,
    SHIFT,
    kept_path,
    part_path,
    remux,
    resumable_packets,
)

TICKS = 90000
"""Lower bound of the clock ticks per second; the number is a multiple of the rate, so that each
regular frame falls on a whole tick."""

MAX_REORDER = 300
"""More than the frames between the decoding of one and its presentation ever are."""

BT709 = 1
LIMITED = 1
"""Matrix and range by ITU-T H.273, written into the file, so that players decode the right
colors."""


class VideoSink:
    """An MP4 file, written as `NAME.part` and renamed when it is complete.

    `NAME.part` is not an MP4 yet: a killed run can be resumed from it (see `resumed`), and FFmpeg
    reads it. At the end it is copied into an MP4 that players can start before they have all of it.

    It is a context manager. When its block fails or is interrupted, the video is completed with the
    frames that it has, is playable, and gets its name. Nothing is left where no frame was written,
    or the file itself failed.

    4:2:0 video, which browsers play, has even sides only: of an image with an odd side, the last
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
        audio: Path | None = None,
        start: float = 0.0,
        end: float | None = None,
        encoding: Encoding | None = None,
        threads: int = 0,
        resumed: int = 0,
    ) -> None:
        """Open the file.

        Args:
            path: Path of the finished file, ending in .mp4; its folder is created if it is missing.
            width: Width of each image, in pixels.
            height: Height of each image, in pixels.
            rate: Nominal frames per second; each frame has its own time.
            aspect: Width of a pixel over its height; not 1 in analog television.
            audio: File whose audio is kept; it may have none.
            start: Seconds of the audio's and the images' clock at which the file begins.
            end: Seconds of that clock from which on no audio is kept; None for all of it.
            encoding: Codec and quality; H.264 with its defaults where None.
            threads: Threads of the encoder; 0 lets it choose.
            resumed: How many frames are copied from an interrupted run, as `count_resumable`
                returned it.

        Raises:
            OutputError: The file cannot be written.
            ConfigError: The interrupted run was encoded with other options.
            DataError: The audio cannot be read.
        """
        encoding = encoding or Encoding()
        self._path = path
        self._part = part_path(path)
        self._size = (height, width)
        self._tag = encoding.codec_spec.tag
        self._tick = Fraction(1, rate.numerator * math.ceil(TICKS / rate.numerator))
        self._duration = round(1 / rate / self._tick)
        self._last: int | None = None
        self._decoded: Fraction | None = None
        self._start = start - SHIFT
        self._end = math.inf if end is None else end
        self._failed = False
        self._reformatter = VideoReformatter()
        with self._output_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            make_part(self._part)
            self._container = av.open(str(self._part), "w", format=PROGRESS_FORMAT, options=FLUSHED)
        self._stream = self._add_stream(rate, encoding, threads)
        self._stream.codec_context.sample_aspect_ratio = aspect
        self._audio: AudioTrack | None = None
        try:
            if audio:
                self._audio = AudioTrack(audio, self._container, start=start, shift=SHIFT)
            if resumed:
                self._copy_resumed(resumed)
        except SegdeployError:
            self._discard()
            raise

    def __enter__(self) -> Self:
        return self

    def write(self, image: Image, *, seconds: float) -> None:
        """Write one image.

        Args:
            image: (height, width, 3) uint8, blue-green-red.
            seconds: Presentation time, by a clock that reads `start` at the beginning of the file;
                later than that of the image before it.

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
        frame = self._to_yuv(image)
        # Encoders refuse times that stand still or go back: one tick later is the smallest change.
        time = round(Fraction(seconds - self._start) / self._tick)
        self._last = time if self._last is None else max(time, self._last + 1)
        frame.pts, frame.time_base, frame.duration = self._last, self._tick, self._duration
        with self._output_errors():
            self._mux(self._stream.encode(frame))
            if self._audio:
                self._audio.write_until(min(seconds, self._end) - self._start)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the file and rename it; raises OutputError where it cannot be written."""
        if self._failed or self._last is None:
            self._discard()
            return
        try:
            with self._output_errors():
                self._flush(
                    end=(
                        self._end - self._start
                        if error is None
                        else float((self._last + self._duration) * self._tick)
                    )
                )
                remux(self._part, self._path, tag=self._tag)
                kept_path(self._path).unlink(missing_ok=True)
        finally:
            self._discard()

    def _add_stream(self, rate: Fraction, encoding: Encoding, threads: int) -> VideoStream:
        stream = self._container.add_stream(
            encoding.codec_spec.encoder, rate=rate, options=encoding.options(threads)
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

    def _to_yuv(self, image: Image) -> av.VideoFrame:
        height, width = self._size
        if height % 2 or width % 2:
            image = np.asarray(
                cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE),
                np.uint8,
            )
        frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="bgr24")
        return _to_bt709(frame, self._reformatter)

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        for packet in packets:
            # Of a clip with fewer frames than it buffers, libx265 returns decoding times that it
            # never set; there, frames are decoded in the order in which they are shown.
            if packet.pts is not None and (
                packet.dts is None or abs(packet.pts - packet.dts) > MAX_REORDER * self._duration
            ):
                packet.dts = packet.pts
            self._mux_increasing(packet)

    def _mux_increasing(self, packet: "Packet[VideoStream]") -> None:
        """Write a packet, with a later decoding time than the one before.

        After copied frames, an encoder starts its decoding times again.
        """
        assert packet.dts is not None
        if self._decoded is not None and packet.dts * packet.time_base <= self._decoded:
            packet.dts = math.floor(self._decoded / packet.time_base) + 1
        self._decoded = packet.dts * packet.time_base
        self._container.mux_one(packet)

    def _copy_resumed(self, count: int) -> None:
        """Copy the first frames from an interrupted run, with the audio beside them."""
        # Writing the header opens the encoder, whose parameters are known only then.
        self._container.start_encoding()
        with self._output_errors():
            extradata = self._stream.codec_context.extradata
            for packet in resumable_packets(self._path, count, extradata):
                assert packet.pts is not None
                self._last = max(self._last or 0, round(packet.pts * packet.time_base / self._tick))
                packet.stream = self._stream
                self._mux_increasing(packet)
                if self._audio:
                    self._audio.write_until(
                        min(float(self._last * self._tick), self._end - self._start)
                    )

    def _flush(self, end: float) -> None:
        """Write what the encoder buffers and the audio up to `end`, in seconds."""
        self._mux(self._stream.encode(None))
        if self._audio:
            self._audio.write_until(end)
        self._container.close()

    def _discard(self) -> None:
        """Close everything, and remove the video in progress if it is still there."""
        if self._audio:
            self._audio.close()
        with suppress(av.FFmpegError, OSError):
            self._container.close()
        self._part.unlink(missing_ok=True)

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        """Turn errors of writing into an OutputError, and remember that one occurred."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            self._failed = True
            raise cannot_write(self._path, error) from error


def _to_bt709(frame: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
    """Return an image as 4:2:0 video of BT.709 and limited range."""
    return reformatter.reformat(
        frame,
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        threads=1,
    )


@contextmanager
def pipe_outputs(info: VideoInfo, pipe: BinaryIO, *, kind: str, form: str) -> Iterator[Outputs]:
    """Write one kind of results into a pipe.

    Args:
        info: The video that is segmented.
        pipe: Usually standard output.
        kind: The overlay or the mask.
        form: "y4m", YUV4MPEG2, whose header has size and rate; or "raw", rows without a header:
            blue-green-red of an overlay, one byte per pixel of a mask.

    Raises:
        OutputError: The reading end of the pipe was closed.
    """
    select: Callable[[SegmentedFrame], Image | Mask] = {
        OVERLAY: lambda result: result.drawn[OVERLAY],
        MASK: lambda result: result.mask,
    }[kind]
    send = _raw_sender(pipe) if form == "raw" else _y4m_sender(pipe, info, gray=kind == MASK)

    def write(result: SegmentedFrame) -> None:
        try:
            send(select(result))
            pipe.flush()
        except (OSError, av.FFmpegError) as error:
            msg = (
                f"the pipe was closed by its reader ({error.strerror or error}); frames after that"
                " are not written"
            )
            raise OutputError(msg) from error

    yield Outputs(writers=(write,), paths=())


def _raw_sender(pipe: BinaryIO) -> Callable[[Image | Mask], None]:
    def send(image: Image | Mask) -> None:
        pipe.write(np.ascontiguousarray(image).data)

    return send


def _y4m_sender(pipe: BinaryIO, info: VideoInfo, *, gray: bool) -> Callable[[Image | Mask], None]:
    """Return a function that writes images as Y4M; the header goes before the first one."""
    container = av.open(_Unseekable(pipe), "w", format="yuv4mpegpipe")
    stream = container.add_stream("wrapped_avframe", rate=info.rate)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = info.width, info.height
    stream.pix_fmt = "gray" if gray else "yuv420p"
    stream.codec_context.sample_aspect_ratio = info.aspect
    stream.codec_context.time_base = Fraction(1, 1) / info.rate
    reformatter = VideoReformatter()
    sent = 0

    def send(image: Image | Mask) -> None:
        nonlocal sent
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image), format="gray" if gray else "bgr24"
        )
        if not gray:
            frame = _to_bt709(frame, reformatter)
        frame.pts, frame.time_base = sent, 1 / info.rate
        container.mux(stream.encode(frame))
        sent += 1

    return send


class _Unseekable:
    """A pipe that FFmpeg can only write to."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def write(self, data: bytes) -> int:
        """Write some bytes."""
        return self._pipe.write(data)
