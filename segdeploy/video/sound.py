"""The sound of one file, carried into another beside the new pictures."""

from collections.abc import Iterator
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

    def __init__(self, path: Path, output: OutputContainer, *, start: float = 0.0) -> None:
        """Open a file and give the output a stream for its sound; a file without sound stays silent.

        Args:
            path: Video or sound file.
            output: Container to which nothing has been written yet.
            start: Seconds from the file's first moment on that are time 0 of the output.

        Raises:
            DataError: The file cannot be read.
        """
        try:
            self._input = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            msg = f"the sound of {path} cannot be read ({error.strerror}); name a file with sound, or none"
            raise DataError(msg) from error
        assert isinstance(self._input, InputContainer)
        self._output = output
        self._packets = _packets(self._input, output, start) if self._input.streams.audio else iter(())
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
    """Tell when a file begins by its own clock, in seconds: a recording may begin at any time."""
    return (container.start_time or 0) / av.time_base


def _packets(source: InputContainer, output: OutputContainer, start: float) -> Iterator[SoundPacket]:
    stream = source.streams.audio[0]
    if stream.codec_context.name in COPIED:
        return _copied(stream, output.add_stream_from_template(stream), start)
    rate = stream.codec_context.sample_rate
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    return _encoded(stream, output.add_stream("aac", rate=rate if rate in RATES else 48000, layout=layout), start)


def _copied(stream: AudioStream, output: AudioStream, start: float) -> Iterator[SoundPacket]:
    """Give the packets of a stream for another one, from time 0 on, leaving out those that go back in time."""
    last: int | None = None
    for packet in _read(stream):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or (last is not None and time <= last):
            continue
        last = time
        packet.pts = packet.dts = time - _shift(stream, packet, start)
        # The sound that begins before the start by less than a packet is cut, as players do with the file's own beginning.
        if start and packet.pts < 0:
            continue
        packet.stream = output
        yield packet


def _encoded(stream: AudioStream, output: AudioStream, start: float) -> Iterator[SoundPacket]:
    """Decode a stream and encode it for another one, from time 0 on, leaving out what is damaged."""
    for packet in _read(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= _shift(stream, packet, start)
                if start and frame.pts < 0:
                    continue
            yield from output.encode(frame)
    yield from output.encode(None)


def _read(stream: AudioStream) -> Iterator[SoundPacket]:
    """Give the packets that can be read; where a file is cut off, its sound ends."""
    assert isinstance(stream.container, InputContainer)
    packets = stream.container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        if packet.size:
            yield packet


def _shift(stream: AudioStream, packet: SoundPacket, start: float) -> int:
    assert isinstance(stream.container, InputContainer)
    return round((start_time(stream.container) + start) / packet.time_base)


def _seconds(packet: SoundPacket) -> float:
    assert packet.pts is not None
    return float(packet.pts * packet.time_base)
