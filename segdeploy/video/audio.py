"""The sound of one file, carried into another beside the new images."""

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

SoundPacket: TypeAlias = "Packet[AudioStream]"

COPIED = frozenset({"aac", "mp3", "mp3float", "opus"})
"""Decoders whose codec MP4 holds and browsers play: the packets are copied as they are."""

RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
"""Sample rates, in hertz, at which AAC is written; other sound is brought to 48000."""


class Sound:
    """The first sound of a file, written little by little, so that only a moment of it waits in memory."""

    def __init__(
        self, path: Path, output: OutputContainer, *, start: float = 0.0, shift: int = 0
    ) -> None:
        """Open a file and give the output a stream for its sound.

        A file without sound stays silent.

        Args:
            path: Video or sound file.
            output: Container to which nothing has been written yet.
            start: Seconds from the file's first moment on at which the output begins.
            shift: Seconds of the output's time at which it begins.

        Raises:
            DataError: The file cannot be read.
        """
        try:
            self._input = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            msg = (
                f"the sound of {path} cannot be read ({error.strerror}); name a file with sound, or"
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
        self._waiting = next(self._packets, None)

    def write_until(self, seconds: float) -> None:
        """Write the sound that begins before `seconds` of the output's time."""
        while self._waiting is not None and _seconds(self._waiting) < seconds:
            self._output.mux(self._waiting)
            self._waiting = next(self._packets, None)

    def close(self) -> None:
        """Close the file that the sound comes from."""
        self._input.close()


def start_time(container: InputContainer) -> float:
    """Report when a file begins by its own clock, in seconds: a recording may begin at any time."""
    return (container.start_time or 0) / av.time_base


def _packets(
    source: InputContainer, output: OutputContainer, clock: "_Clock"
) -> Iterator[SoundPacket]:
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


def _copied(stream: AudioStream, output: AudioStream, clock: "_Clock") -> Iterator[SoundPacket]:
    """Return the packets of a stream for another one, from time 0 on, leaving out those that go back in time."""
    last: int | None = None
    for packet in _read(stream):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or (last is not None and time <= last):
            continue
        last = time
        packet.pts = packet.dts = clock.set(time, packet.time_base)
        if clock.is_early(packet.pts, packet.time_base):
            continue
        packet.stream = output
        yield packet


def _encoded(stream: AudioStream, output: AudioStream, clock: "_Clock") -> Iterator[SoundPacket]:
    """Decode a stream and encode it for another one, from time 0 on, leaving out what is damaged."""
    for packet in _read(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.pts is not None:
                frame.pts = clock.set(frame.pts, packet.time_base)
                if clock.is_early(frame.pts, packet.time_base):
                    continue
            yield from output.encode(frame)
    yield from output.encode(None)


def _read(stream: AudioStream) -> Iterator[SoundPacket]:
    """Return the packets that can be read; where a file is cut off, its sound ends."""
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
    """Turns the times of a file into those of the output."""

    def __init__(self, container: InputContainer, start: float, shift: int) -> None:
        self._late = shift - start_time(container) - start
        # What comes before the beginning of the whole file stays: players cut it themselves.
        self._first = shift if start else -math.inf

    def set(self, time: int, base: Fraction) -> int:
        """Return the output's time, in ticks of the same base."""
        return time + round(self._late / base)

    def is_early(self, time: int, base: Fraction) -> bool:
        """Return whether a time of the output lies before its beginning."""
        return time * base < self._first


def _seconds(packet: SoundPacket) -> float:
    assert packet.pts is not None
    return float(packet.pts * packet.time_base)
