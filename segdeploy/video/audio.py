"""Copy or encode the audio of one file into another."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from segdeploy.errors import DataError

AudioPacket: TypeAlias = "Packet[AudioStream]"

COPIED = frozenset({"aac", "mp3", "mp3float", "opus"})
"""Decoders whose codec MP4 holds and browsers play: their packets are copied unchanged."""

RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
"""Sample rates, in hertz, at which AAC is written; other audio is resampled to 48000."""


class AudioTrack:
    """The first audio stream of a file, written in step with the video to bound memory."""

    def __init__(
        self, path: Path, output: OutputContainer, *, start: float = 0.0, shift: int = 0
    ) -> None:
        """Open a file and add a stream for its audio to the output.

        For a file without audio, nothing is added.

        Args:
            path: Video or audio file.
            output: Container to which nothing has been written yet.
            start: Seconds from the file's first timestamp on at which the output begins.
            shift: Seconds of the output's time at which it begins.

        Raises:
            DataError: The file cannot be read.
        """
        try:
            self._input = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            msg = (
                f"the audio of {path} cannot be read ({error.strerror}); name a file with audio, or"
                " none"
            )
            raise DataError(msg) from error
        assert isinstance(self._input, InputContainer)
        self._output = output
        self._packets = (
            _packets(self._input, output, _Clock(self._input, start, shift))
            if self._input.streams.audio
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


def start_time(container: InputContainer) -> float:
    """Return the first timestamp of a file in seconds; recordings need not begin at 0."""
    return (container.start_time or 0) / av.time_base


def _packets(
    source: InputContainer, output: OutputContainer, clock: "_Clock"
) -> Iterator[AudioPacket]:
    stream = source.streams.audio[0]
    if stream.codec_context.name in COPIED:
        return _copied(stream, output.add_stream_from_template(stream), clock)
    rate = stream.codec_context.sample_rate
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    return _encoded(
        stream,
        output.add_stream("aac", rate=rate if rate in RATES else 48000, layout=layout),
        clock,
    )


def _copied(stream: AudioStream, output: AudioStream, clock: "_Clock") -> Iterator[AudioPacket]:
    """Return packets for another stream, from time 0 on, without those that go back in time."""
    last: int | None = None
    for packet in _read(stream):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or (last is not None and time <= last):
            continue
        last = time
        packet.pts = packet.dts = clock.convert(time, packet.time_base)
        if clock.is_early(packet.pts, packet.time_base):
            continue
        packet.stream = output
        yield packet


def _encoded(stream: AudioStream, output: AudioStream, clock: "_Clock") -> Iterator[AudioPacket]:
    """Decode a stream and encode it for another, from time 0 on, without damaged packets."""
    for packet in _read(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.pts is not None:
                frame.pts = clock.convert(frame.pts, packet.time_base)
                if clock.is_early(frame.pts, packet.time_base):
                    continue
            yield from output.encode(frame)
    yield from output.encode(None)


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
    """Converts the timestamps of a file to those of the output."""

    def __init__(self, container: InputContainer, start: float, shift: int) -> None:
        self._offset = shift - start_time(container) - start
        # What comes before the beginning of the whole file stays: players cut it themselves.
        self._first = shift if start else -math.inf

    def convert(self, time: int, base: Fraction) -> int:
        """Return the output's time, in ticks of the same base."""
        return time + round(self._offset / base)

    def is_early(self, time: int, base: Fraction) -> bool:
        """Return whether a time of the output lies before its beginning."""
        return time * base < self._first


def _seconds(packet: AudioPacket) -> float:
    assert packet.pts is not None
    return float(packet.pts * packet.time_base)
