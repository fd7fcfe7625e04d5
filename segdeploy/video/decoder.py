"""Decode a video stream: its frames in the order in which they are shown, each with its time."""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from segdeploy.errors import DataError, DeviceError, MissingFileError
from segdeploy.system.machine import cores
from segdeploy.video.container import open_file, reason, start_time
from segdeploy.video.timeline import BROADCAST_FORMATS, LONGEST_JUMP, Timeline

HARDWARE = ("cuda", "videotoolbox", "d3d11va", "vaapi", "qsv")
"""Hardware decoders by FFmpeg's names: of NVIDIA, Apple, Windows, Linux and Intel, in the order in
which "auto" tries them.

The standards of H.264, HEVC, AV1 and VP9 define the decoded frames bit for bit, so they equal those
of the CPU.
"""

DEFAULT_RATE = Fraction(25)
"""Frames per second of a video without a credible rate."""

SLOWEST, FASTEST = Fraction(1, 3600), Fraction(100_000)
"""Frames per second that are credible: one an hour, and those of the fastest cameras."""

UNTIMED_FORMATS = frozenset({"yuv4mpegpipe", "rawvideo"})
"""Formats whose frames have no times but those of the rate in their header."""

HEADED_FORMATS = frozenset({"matroska,webm", "avi", "flv", "asf", "gif"})
"""Formats whose header has the duration of the whole, also where the end was cut off."""

LEAST_LACKING = 0.1
"""Seconds that must be missing at the end to be reported: not every packet has a duration."""


def open_video_file(path: Path, decoder: str) -> InputContainer:
    """Open a file for a decoder.

    Args:
        path: Video in any of the formats that are read.
        decoder: "cpu", "auto" or one of `HARDWARE`; "auto" takes the first one that decodes this
            file, else the CPU.

    Raises:
        DataError: The file is missing or no video.
        DeviceError: The hardware decoder is not available, or does not decode this codec.
    """
    if not path.is_file():
        msg = f"there is no video {path}; check the name"
        raise MissingFileError(msg)
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
        return open_file(path)
    except (av.FFmpegError, OSError) as error:
        msg = f"{path} cannot be read as a video ({reason(error)}); use a complete copy of it"
        raise DataError(msg) from error


def _on_device(path: Path, device: str) -> InputContainer | None:
    """Open a file with a hardware decoder.

    Returns None where it is not available, or decoding one frame shows that it cannot decode this
    file.
    """
    # A file that no decoder can read is reported as such, not by the device's error.
    _on_cpu(path).close()
    try:
        with open_file(path, hwaccel=HWAccel(device, allow_software_fallback=False)) as container:
            stream = container.streams.best("video")
            if (
                stream is None
                or next(container.decode(stream), None) is None
                or not container.streams.video[0].codec_context.is_hwaccel
            ):
                return None
        return open_file(path, hwaccel=HWAccel(device, allow_software_fallback=False))
    except (av.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError):
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedFrame:
    """A decoded frame and when it is shown, in seconds from the beginning of the file."""

    image: av.VideoFrame
    seconds: float
    duration: float


class Decoder:
    """The frames of the best video stream of a container, read once.

    Attributes:
        stream: The stream.
        rate: Nominal frames per second.
        skipped: How many frames were lost so far to damage or truncation; complete at the end.
        end: When the last frame is no longer shown, in seconds; at the end.
        lacking: Seconds that the end of the file lacks of what its header names; at the end.
        incomplete: How many packets were incomplete, and were decoded nevertheless.
    """

    def __init__(self, container: InputContainer, path: Path, *, prompt: bool) -> None:
        """Prepare the decoder of the stream.

        Args:
            container: The open container.
            path: Name of the file in messages.
            prompt: Whether each frame must be returned as soon as it has come: threads then share
                a frame instead of having one each.

        Raises:
            DataError: There is no video, it cannot be decoded, or has an impossible rate.
        """
        self.stream = _video_stream(container, path)
        self.stream.thread_type = "SLICE" if prompt else "AUTO"
        self.stream.codec_context.thread_count = cores()
        self.rate = _rate(self.stream, path, is_timed=container.format.name not in UNTIMED_FORMATS)
        self.skipped = self.incomplete = 0
        self.end = self.lacking = 0.0
        self._container = container
        self._discarded = 0
        self._start = start_time(container)
        base = self._base = self.stream.time_base or 1 / self.rate
        # The container rounds it to microseconds, by which the first frame would be too early.
        self._start_ticks = round(self._start / base)
        is_broadcast = container.format.name in BROADCAST_FORMATS
        self._timeline = Timeline(
            start=self._start_ticks,
            step=round(1 / self.rate / base),
            longest=round(LONGEST_JUMP / base) if is_broadcast else None,
        )
        # AVI stores no times, and FFmpeg guesses those of frames that were stored out of order.
        self._stored: list[int] | None = [] if container.format.name == "avi" else None
        # Where each stream ends by its packets, in seconds of the container's clock.
        self._ends: dict[int, float] = {}

    @property
    def restarts(self) -> int:
        """How often the clock of the stream began anew."""
        return self._timeline.restarts

    def __iter__(self) -> Iterator[TimedFrame]:
        count = 0
        for decoded, time in self._decode():
            ticks = self._timeline.place(time, duration=decoded.duration or 0)
            seconds = float(max(0, ticks - self._start_ticks) * self._base)
            frame = TimedFrame(
                image=decoded, seconds=seconds, duration=self._duration(decoded, seconds)
            )
            count, self.end = count + 1, seconds + frame.duration
            yield frame
        self._count_missing(count)
        if not count:
            return
        if "mp4" in self._container.format.name and self.stream.duration and not self.skipped:
            # The index has a duration of each frame in the order in which they are decoded.
            ticks = (self.stream.start_time or 0) + self.stream.duration - self._start_ticks
            self.end = max(seconds, float(ticks * self._base))

    def _duration(self, decoded: av.VideoFrame, seconds: float) -> float:
        """Return for how long a frame is shown, at most until the end of the whole."""
        nominal = float(1 / self.rate)
        own = float(decoded.duration * self._base) if decoded.duration > 0 else nominal
        whole = self._container.duration
        return min(own, max(nominal, whole / av.time_base - seconds)) if whole else own

    def _decode(self) -> Iterator[tuple[av.VideoFrame, int | None]]:
        """Return frames in the order in which they are shown, with their times in ticks."""
        for packet in self._packets():
            if self._stored is not None and packet.size and packet.dts is not None:
                insort(self._stored, packet.dts)
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                self.skipped += 1
                if self._stored and packet.dts in self._stored:
                    self._stored.remove(packet.dts)
                continue
            self._discarded += packet.is_discard
            for frame in decoded:
                yield frame, self._stored.pop(0) if self._stored else frame.pts

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        """Return the packets of the video, without one that is cut off at the end.

        Decoding that one would also lose good frames that are in the decoder's threads. Elsewhere,
        a packet that is called corrupt may be whole: the last one before streams were joined is.
        """
        corrupt: Packet[VideoStream] | None = None
        for packet in self._all_packets():
            self._note_end(packet)
            if packet.stream.index != self.stream.index:
                continue
            if corrupt is not None:
                self.skipped += not packet.size
                if packet.size:
                    self.incomplete += 1
                    yield corrupt
                corrupt = None
            if packet.is_corrupt:
                corrupt = packet
            else:
                yield packet
        self.skipped += corrupt is not None

    def _all_packets(self) -> "Iterator[Packet[Any]]":
        """Return the packets of all streams; what cannot be read is counted."""
        packets = self._container.demux()
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                self.skipped += 1

    def _note_end(self, packet: "Packet[Any]") -> None:
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or not packet.size:
            return
        index = packet.stream.index
        end = float((time + (packet.duration or 0)) * packet.time_base)
        if index == self.stream.index and not packet.duration:
            end += float(1 / self.rate)
        self._ends[index] = max(end, self._ends.get(index, end))

    def _count_missing(self, count: int) -> None:
        """Count the frames that are missing after `count` were read.

        The index of an MP4 file has each frame, also those that were truncated or whose damage the
        decoder did not report. Other headers have the duration, which no stream reaches where the
        end was cut off.
        """
        if "mp4" in self._container.format.name:
            self.skipped = max(0, len(self.stream.index_entries) - self._discarded - count)
            return
        form, whole = self._container.format.name, self._container.duration
        if form not in HEADED_FORMATS or not whole:
            return
        duration = whole / av.time_base
        if form == "avi" and self.stream.frames:
            # FFmpeg shortens the duration of a file that is smaller than its header says.
            duration = float(self.stream.frames / self.rate)
        lacking = duration - (max(self._ends.values(), default=0.0) - self._start)
        missing = round((duration - self.end) * self.rate)
        if missing > 1 and lacking > max(LEAST_LACKING, 1.5 / self.rate):
            self.lacking = lacking
            self.skipped = max(self.skipped, missing)


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        msg = f"{path} has no video stream; name a video"
        raise DataError(msg)
    # PyAV has None where FFmpeg knows no decoder, which its types do not say.
    if getattr(stream, "codec_context", None) is None:
        msg = f"the images of {path} have a codec that cannot be decoded; convert it to H.264"
        raise DataError(msg)
    return stream


def _rate(stream: VideoStream, path: Path, *, is_timed: bool) -> Fraction:
    """Return the nominal frames per second of a stream.

    Raises:
        DataError: It is impossible, and the frames have no other times.
    """
    rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
    if SLOWEST <= rate <= FASTEST:
        return rate
    if is_timed:
        return DEFAULT_RATE
    msg = (
        f"{path} has {rate} frames per second by its header, which must be within {SLOWEST} and"
        f" {FASTEST}; correct its header"
    )
    raise DataError(msg)
