"""Encode a video: MP4 with audio."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from segdeploy.arrays import Image
from segdeploy.errors import ConfigError, DataError, OutputError, SegdeployError
from segdeploy.system.files import cannot_write, make_folder, refuse_device
from segdeploy.system.locks import claim
from segdeploy.system.posix import CAN_LOCK
from segdeploy.video.audio import AudioTrack
from segdeploy.video.codecs import Encoding
from segdeploy.video.color import BT709, LIMITED, to_bt709
from segdeploy.video.container import open_file
from segdeploy.video.progress_file import MUXER, OPTIONS, RESERVE, ProgressFile, reserved_bytes
from segdeploy.video.resume import has_frames, kept_path, part_path, resumable_packets

TICKS = 90000
"""Lower bound of the clock ticks per second; the number is a multiple of the rate, so that each
regular frame falls on a whole tick."""

LONGEST = 1_900_000_000
"""Ticks between two frames that an MP4 can hold, with a margin to 31 bits: about six hours."""

LEAD = 1
"""Seconds before its presentation at which the first frame is decoded, at most: by encoders it
would be a number of frames, however slow they are."""

ANSWER, HANGS = 5.0, "the encoder does not answer"
"""Seconds to wait for the encoder when a run ends, and why the video is not finished then."""


class VideoSink:
    """An MP4 file, written as `NAME.part` and renamed when it is complete.

    `NAME.part` is fragmented MP4, which FFmpeg reads at any time, and from which a killed run can
    be resumed (see `resumed`). It is finished in place, so no room for a copy is needed.

    It is a context manager. When its block fails or is interrupted, the video is completed with the
    frames that it has, is playable, and gets its name. Where it cannot be completed, for example
    because the disk is full, `NAME.part` stays. Nothing is left where no frame was written.

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
        frames: int | None = None,
        encoding: Encoding | None = None,
        threads: int = 0,
        resumed: int = 0,
        overwrite: bool = True,
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
            frames: About how many images will be written, for the room that the index gets at the
                front; it goes to the end where there are many more, and where None.
            encoding: Codec and quality; H.264 with its defaults where None.
            threads: Threads of the encoder; 0 lets it choose.
            resumed: How many frames are copied from an interrupted run, as `count_resumable`
                returned it.
            overwrite: Whether the video that an interrupted run left in progress may be replaced.

        Raises:
            OutputError: The file cannot be written.
            ConfigError: Another run writes it, an interrupted one left it, it was encoded with
                other options, or the encoder does not take images of this size.
            DataError: The audio cannot be read.
        """
        encoding = encoding or Encoding()
        self._path = path
        self._part = part_path(path)
        self._size = (height, width)
        self._tick = Fraction(1, rate.numerator * math.ceil(TICKS / rate.numerator))
        self._duration = max(1, round(1 / rate / self._tick))
        # Of the last image: its time in ticks, its duration in ticks, and that of each in progress.
        self._last: int | None = None
        self._last_duration = self._duration
        self._durations: dict[int, int] = {}
        self._earliest: int | None = None
        # When the first frame is shown and decoded, in seconds.
        self._first: tuple[Fraction, Fraction] | None = None
        self._decoded: Fraction | None = None
        self._start = start
        self._end = math.inf if end is None else end
        self._count, self._failed, self._closed = 0, False, False
        self._lock = Lock()
        self._reformatter = VideoReformatter()
        self._audio: AudioTrack | None = None
        make_folder(path.parent)
        refuse_device(path)
        self._file = self._open_part(overwrite=overwrite or resumed > 0)
        reserve = str(reserved_bytes(frames, rate))
        self._container = av.open(
            self._file, "w", format=MUXER, options={**OPTIONS, RESERVE: reserve}
        )
        self._stream = self._add_stream(rate, encoding, threads)
        self._stream.codec_context.sample_aspect_ratio = aspect
        try:
            if audio:
                self._audio = AudioTrack(audio, self._container, start=start)
            self._start_encoder(encoding)
            if resumed:
                self._copy_resumed(resumed)
        except SegdeployError:
            self._discard()
            raise

    def __enter__(self) -> Self:
        return self

    def write(self, image: Image, *, seconds: float, duration: float = 0.0) -> None:
        """Write one image.

        Args:
            image: (height, width, 3) uint8, blue-green-red.
            seconds: Presentation time, by a clock that reads `start` at the beginning of the file;
                later than that of the image before it.
            duration: Seconds for which it is shown if it is the last one; those of the nominal rate
                where 0.

        Raises:
            DataError: The image has another size than the video, or comes hours after the last one.
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
        with self._lock, self._output_errors():
            if self._closed:
                return
            # Encoders refuse times that stand still or go back: one tick later is the smallest
            # change.
            time = round(Fraction(seconds - self._start) / self._tick)
            if time - (self._last or 0) > LONGEST:
                msg = (
                    f"the pause before the frame at {seconds:.0f} s is longer than"
                    f" {LONGEST * self._tick // 3600} hours, which {self._path} cannot hold; select"
                    " parts with --start and --end"
                )
                raise DataError(msg)
            self._last = time if self._last is None else max(time, self._last + 1)
            shown = round(Fraction(duration) / self._tick) or self._duration
            self._last_duration = min(shown, LONGEST)
            self._durations[self._last] = self._last_duration
            frame.pts, frame.time_base = self._last, self._tick
            frame.duration = self._last_duration
            self._count += 1
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
        if not self._lock.acquire(timeout=ANSWER):
            raise self._unfinished(HANGS)
        self._closed = True
        try:
            if self._last is None:
                self._discard()
            elif self._failed:
                self._close()
            else:
                end = (self._last + self._last_duration) * self._tick
                audio_end = self._end - self._start if error is None else float(end)
                with self._output_errors():
                    self._complete(end, audio_end=audio_end)
                self._check(float(end))
        finally:
            self._lock.release()

    def _complete(self, end: Fraction, *, audio_end: float) -> None:
        """Write what the encoder buffers and the audio, make it an MP4, and give it its name."""
        try:
            self._flush()
            if self._audio:
                self._audio.write_until(audio_end)
            # It objects to an index larger than its room, for which `finish` finds another.
            with suppress(av.ArgumentError):
                self._container.close()
            assert self._first is not None
            self._file.finish(self._first[0], end)
            if not CAN_LOCK:  # Windows, which does not rename a file that is open.
                self._file.close()
            self._part.replace(self._path)
            kept_path(self._path).unlink(missing_ok=True)
        finally:
            self._close()

    def _flush(self) -> None:
        packets = self._stream.encode(None)
        self._mux(packets[:-1])
        assert self._last is not None
        self._mux(packets[-1:], end=self._last + self._last_duration)

    def _check(self, end: float) -> None:
        """Check that the finished file has all frames, and ends when the last one does.

        Raises:
            OutputError: It does not.
        """
        with open_file(self._path, form="mp4") as clip:
            count = clip.streams.video[0].frames
            seconds = ((clip.duration or 0) + (clip.start_time or 0)) / av.time_base
        # Audio may end later.
        lacking = end - seconds if self._audio else abs(end - seconds)
        if count != self._count or lacking > float(self._duration * self._tick):
            msg = (
                f"{self._path} has {count} frames and ends at {seconds:.3f} s, where"
                f" {self._count} frames and {end:.3f} s were written; report this with its codec"
            )
            raise OutputError(msg)

    def _open_part(self, *, overwrite: bool) -> ProgressFile:
        """Open `NAME.part` for this run alone."""
        with self._output_errors():
            file = ProgressFile(claim(self._part), self._part)
            if not overwrite and has_frames(self._part):
                file.close()
                msg = (
                    f"an interrupted run left {self._part}; continue it with --resume, or begin"
                    " anew with --overwrite"
                )
                raise ConfigError(msg)
            file.begin()
        return file

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
        if encoding.codec_spec.tag:
            codec.codec_tag = encoding.codec_spec.tag
        return stream

    def _start_encoder(self, encoding: Encoding) -> None:
        """Open the encoder and write the header.

        Raises:
            ConfigError: The encoder does not take images of this size.
            OutputError: The header cannot be written.
        """
        height, width = self._size
        if min(height, width) < encoding.codec_spec.least_side:
            least = encoding.codec_spec.least_side
            msg = (
                f"the encoder of {encoding.codec} takes images of {least}x{least} pixels and more,"
                f" and these have {width}x{height}; choose another --codec"
            )
            raise ConfigError(msg)
        try:
            self._stream.codec_context.open()
        except av.FFmpegError as error:
            msg = (
                f"the encoder of {encoding.codec} does not take images of {width}x{height}"
                f" ({error.strerror}); choose another --codec"
            )
            raise ConfigError(msg) from error
        with self._output_errors():
            self._container.start_encoding()
            self._file.begin_fragments()

    def _to_yuv(self, image: Image) -> av.VideoFrame:
        below, right = (side % 2 for side in self._size)
        if below or right:
            image = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE))
        pixels = np.ascontiguousarray(image, np.uint8)
        frame = av.VideoFrame.from_numpy_buffer(pixels, format="bgr24")
        return to_bt709(frame, self._reformatter)

    def _mux(self, packets: "list[Packet[VideoStream]]", *, end: int | None = None) -> None:
        """Write packets of the encoder; the very last one is decoded until the end, in ticks."""
        for packet in packets:
            if packet.pts is None:
                packet.pts = packet.dts or 0
            packet.duration = self._durations.pop(packet.pts, self._duration)
            if self._earliest is None:
                self._earliest = packet.pts - round(LEAD / self._tick)
            # Of a clip with fewer frames than it buffers, libx265 returns decoding times that it
            # never set; there, frames are decoded in the order in which they are shown.
            decoded = packet.pts if packet.dts is None else packet.dts
            packet.dts = min(max(decoded, self._earliest), packet.pts)
            self._mux_increasing(packet, end=end)

    def _mux_increasing(self, packet: "Packet[VideoStream]", *, end: int | None = None) -> None:
        """Write a packet, with a later decoding time than the one before.

        After copied frames, an encoder starts its decoding times again.
        """
        assert packet.pts is not None
        assert packet.dts is not None
        if self._decoded is not None and packet.dts * packet.time_base <= self._decoded:
            packet.dts = math.floor(self._decoded / packet.time_base) + 1
        self._decoded = packet.dts * packet.time_base
        if self._first is None:
            self._first = packet.pts * packet.time_base, self._decoded
        if end is not None:
            # Decoding takes as long as showing, though the last frame shown may be another one.
            shown, decoded = self._first
            length = end * self._tick - shown - (self._decoded - decoded)
            packet.duration = max(1, round(length / packet.time_base))
        self._container.mux_one(packet)

    def _copy_resumed(self, count: int) -> None:
        """Copy the first frames from an interrupted run, with the audio beside them."""
        with self._output_errors():
            extradata = self._stream.codec_context.extradata
            for packet in resumable_packets(self._path, count, extradata):
                assert packet.pts is not None
                self._count += 1
                self._last = max(self._last or 0, round(packet.pts * packet.time_base / self._tick))
                packet.stream = self._stream
                self._mux_increasing(packet)
                if self._audio:
                    self._audio.write_until(
                        min(float(self._last * self._tick), self._end - self._start)
                    )

    def _close(self) -> None:
        """Close everything, and leave the video in progress as it is."""
        # What FFmpeg writes when its container is closed would be half an index.
        self._file.close()
        if self._audio:
            self._audio.close()
        with suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()

    def _discard(self) -> None:
        """Close everything, and remove the video in progress, which has no frame."""
        self._close()
        self._part.unlink(missing_ok=True)

    def _unfinished(self, reason: str) -> OutputError:
        return OutputError(
            f"cannot finish {self._path}: {reason}; what was done is in {self._part}, and --resume"
            " continues it"
        )

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        """Turn errors of writing into an OutputError, and remember that one occurred."""
        try:
            yield
        except ConfigError:
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            self._failed = True
            if self._last is not None and self._part.exists():
                raise self._unfinished(getattr(error, "strerror", None) or str(error)) from error
            raise cannot_write(self._path, error) from error
