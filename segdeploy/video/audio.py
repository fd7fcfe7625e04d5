"""Copy or encode the audio of one file into another."""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from segdeploy.errors import DataError
from segdeploy.video.container import open_file, reason, start_time
from segdeploy.video.timeline import BROADCAST_FORMATS, LONGEST_JUMP, Timeline

AudioPacket: TypeAlias = "Packet[AudioStream]"

COPIED = frozenset({"aac", "mp3", "mp3float", "opus"})
"""Decoders whose codec MP4 holds and browsers play: their packets are copied unchanged."""

RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
"""Sample rates, in hertz, at which AAC is written; other audio is resampled to 48000."""


LATEST = 1.0
"""Seconds after the beginning of the video at which audio that is copied begins, at most."""


class AudioTrack:
    """The first decodable audio of a file, written in step with the video to bound memory."""

    def __init__(self, path: Path, output: OutputContainer, *, start: float = 0.0) -> None:
        """Open a file and add a stream for its audio to the output.

        For a file without audio that can be decoded, nothing is added.

        Args:
            path: Video or audio file.
            output: Container to which nothing has been written yet.
            start: Seconds from the file's first timestamp on at which the output begins.

        Raises:
            DataError: The file cannot be read.
        """
        try:
            self._input = open_file(path)
        except (av.FFmpegError, OSError) as error:
            msg = (
                f"the audio of {path} cannot be read ({reason(error)}); name a file with audio, or"
                " none"
            )
            raise DataError(msg) from error
        self._output = output
        stream = decodable(self._input)
        self._packets = (
            _packets(stream, output, _Clock(self._input, stream, start=start))
            if stream
            else iter(())
        )
        self._next = next(self._packets, None)

    def write_until(self, seconds: float) -> None:
        """Write the packets that begin before `seconds` of the output's time."""
        while self._next is not None and _seconds(self._next) < seconds:
            self._output.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the file that the audio is read from."""
        self._input.close()


def decodable(container: InputContainer) -> AudioStream | None:
    """Return the first audio stream that can be decoded; None where there is none."""
    # PyAV has None where FFmpeg knows no decoder, which its types do not say.
    return next(
        (
            stream
            for stream in container.streams.audio
            if getattr(stream, "codec_context", None) is not None
        ),
        None,
    )


def _packets(
    stream: AudioStream, output: OutputContainer, clock: "_Clock"
) -> Iterator[AudioPacket]:
    packets = _read(stream)
    first = next(packets, None)
    if first is None:
        return iter(())
    packets = chain([first], packets)
    # A track that begins late would hold back all video before it: the file begins with both.
    is_late = clock.seconds(first) > LATEST
    if stream.codec_context.name in COPIED and not is_late:
        return _copied(_plain(packets, stream), output.add_stream_from_template(stream), clock)
    rate = stream.codec_context.sample_rate
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    track = output.add_stream("aac", rate=rate if rate in RATES else 48000, layout=layout)
    return _encoded(packets, track, clock, silence=is_late)


def _copied(
    packets: Iterable[AudioPacket], output: AudioStream, clock: "_Clock"
) -> Iterator[AudioPacket]:
    """Return packets for another stream, from time 0 on."""
    for packet in packets:
        time = clock.convert(packet)
        if clock.is_early(time, packet.time_base):
            continue
        packet.pts = packet.dts = time
        packet.stream = output
        yield packet


def _plain(packets: Iterable[AudioPacket], stream: AudioStream) -> Iterator[AudioPacket]:
    """Return packets as MP4 has them: a transport stream puts a header before each one of AAC."""
    if stream.codec_context.name != "aac" or stream.codec_context.extradata:
        yield from packets
        return
    without_header = BitStreamFilterContext("aac_adtstoasc", stream)
    for packet in packets:
        try:
            yield from without_header.filter(packet)
        except av.FFmpegError:
            # A damaged one, which is left out.
            without_header.flush()


def _encoded(
    packets: Iterable[AudioPacket], output: AudioStream, clock: "_Clock", *, silence: bool
) -> Iterator[AudioPacket]:
    """Decode packets and encode them for another stream, from time 0 on, without damaged ones.

    Args:
        packets: The packets.
        output: The other stream.
        clock: Converts their times.
        silence: Whether silence is put before the first one.
    """
    for packet in packets:
        begin = packet.pts if packet.pts is not None else packet.dts
        time = clock.convert(packet)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.pts is not None:
                frame.pts += time - (begin if begin is not None else frame.pts)
                if clock.is_early(frame.pts, packet.time_base):
                    continue
                if silence:
                    yield from _silence(frame, output)
                    silence = False
            yield from output.encode(frame)
    yield from output.encode(None)


def _silence(before: av.AudioFrame, output: AudioStream) -> Iterator[AudioPacket]:
    """Return packets of silence from time 0 until a frame."""
    assert before.pts is not None
    assert before.time_base is not None
    count = round(before.pts * before.time_base * before.sample_rate)
    for start in range(0, count, before.sample_rate):
        samples = min(before.sample_rate, count - start)
        frame = av.AudioFrame(before.format.name, before.layout.name, samples)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = before.sample_rate
        frame.pts, frame.time_base = start, Fraction(1, before.sample_rate)
        yield from output.encode(frame)


def _read(stream: AudioStream) -> Iterator[AudioPacket]:
    """Return the packets that can be read; a truncated file ends early."""
    assert isinstance(stream.container, InputContainer)
    packets = stream.container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        if packet.size:
            yield packet


class _Clock:
    """Converts the timestamps of a stream to those of the output."""

    def __init__(self, container: InputContainer, stream: AudioStream, *, start: float) -> None:
        base = stream.time_base or Fraction(1, av.time_base)
        self._offset = round(-(start_time(container) + start) / base)
        # What comes before the beginning of the whole file stays: players cut it themselves.
        self._first = 0 if start else -math.inf
        is_broadcast = container.format.name in BROADCAST_FORMATS
        self._timeline = Timeline(
            start=round(start_time(container) / base),
            step=1,
            longest=round(LONGEST_JUMP / base) if is_broadcast else None,
        )

    def convert(self, packet: AudioPacket) -> int:
        """Return the output's time of the next packet, in ticks of its own base."""
        time = packet.pts if packet.pts is not None else packet.dts
        return self._timeline.place(time, duration=packet.duration or 0) + self._offset

    def seconds(self, packet: AudioPacket) -> float:
        """Return the output's time of the first packet, without going on to the next one."""
        time = packet.pts if packet.pts is not None else packet.dts
        return float(((time or 0) + self._offset) * packet.time_base)

    def is_early(self, time: int, base: Fraction) -> bool:
        """Return whether a time of the output lies before its beginning."""
        return time * base < self._first


def _seconds(packet: AudioPacket) -> float:
    assert packet.pts is not None
    return float(packet.pts * packet.time_base)
