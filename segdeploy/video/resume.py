"""What an interrupted run left, and going on with it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from segdeploy.errors import ConfigError
from segdeploy.system.files import sync

GROWING = "nut"
"""FFmpeg's own container: every codec, any clock to the tick, and no head or index without which the rest is worth nothing.

MP4 in fragments loses frames of VP9 and refuses sound from transport streams; Matroska rounds times
to milliseconds.
"""

AT_ONCE = {"flush_packets": "1"}
"""Each packet goes to the system as it comes: what waits in a buffer dies with the process."""

SHIFT = 16
"""Seconds that all times in a growing video are late: it can hold no negative ones, with which
encoders begin."""

WHOLE = "+faststart"


def name_whole(part: Path, path: Path, *, tag: str) -> None:
    """Copy a grown video into an MP4 file, name that, and take the other away.

    Args:
        part: The grown video.
        path: The MP4 file.
        tag: Four letters that name the codec there; "" for the usual ones.

    Raises:
        OSError: It cannot be written, for example because the disk is full.
        av.FFmpegError: The same, as FFmpeg says it.
    """
    whole = path.with_name(path.name + ".whole.part")
    try:
        with (
            av.open(str(part), format=GROWING) as grown,
            av.open(str(whole), "w", format="mp4", options={"movflags": WHOLE}) as output,
        ):
            _copy(grown, output, tag)
        sync(whole)
        whole.replace(path)
        part.unlink()
    finally:
        whole.unlink(missing_ok=True)


def move(packet: "Packet[Any]", seconds: int) -> None:
    """Make a packet so many seconds later."""
    ticks = round(seconds / packet.time_base)
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks


def _copy(grown: InputContainer, output: OutputContainer, tag: str) -> None:
    streams = {
        stream.index: output.add_stream_from_template(stream, opaque=True)
        for stream in (*grown.streams.video, *grown.streams.audio)
    }
    before: dict[int, int] = {}
    if tag:
        streams[grown.streams.video[0].index].codec_context.codec_tag = tag
    for packet in grown.demux():
        # The last one of each stream is empty, and only flushes decoders.
        if packet.size:
            index = packet.stream.index
            # NUT keeps no durations, and MP4 would leave out the last piece of a sound that has
            # none.
            if packet.dts is not None:
                packet.duration = packet.duration or packet.dts - before.get(index, packet.dts)
                before[index] = packet.dts
            move(packet, -SHIFT)
            packet.stream = streams[index]
            output.mux_one(packet)


MARK = b"\0\0\0\1"
MARKS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
"""What puts the marks between the parts of a packet again, by codec."""

REMARKS = {0x06, 0x4E}
"""First bytes of what an encoder remarks on itself, in H.264 and HEVC."""


def part_of(path: Path) -> Path:
    """Name the file that a video is written to, piece by piece, until it is whole."""
    return path.with_name(path.name + ".part")


def kept_of(path: Path) -> Path:
    """Name the file that a video which is gone on with was begun in."""
    return path.with_name(path.name + ".kept")


def count_kept(films: Sequence[Path], folders: Sequence[Path]) -> int:
    """Return how many frames of an interrupted run need not be made again, and put the begun films aside.

    A film can be cut where a group of images ends, and at its end where it was finished. Files of
    frames are whole, or not there.

    Args:
        films: Names of the films; each may have been finished when the user stopped the run, or
            been left as pieces when it was killed.
        folders: Folders with one file a frame.
    """
    cuts = [_best_of(path) for path in films]
    files = [
        sum(path.suffix != ".part" for path in folder.iterdir()) if folder.is_dir() else 0
        for folder in folders
    ]
    if not cuts:
        return min(files, default=0)
    most = min(files, default=max(cuts[0]))
    return max(cut for cut in set.intersection(*cuts) if cut <= most)


def kept_packets(
    path: Path, count: int, extradata: bytes | None
) -> "Iterator[Packet[VideoStream]]":
    """Return the packets of the first frames of a begun film, by the clock of a growing one.

    Args:
        path: Name of the film.
        count: How many frames, as `count_kept` gave it.
        extradata: What the encoder that goes on writes into the file's head.

    Raises:
        ConfigError: The film was begun with other options.
    """
    begun = kept_of(path) if kept_of(path).exists() else path
    with _open(begun) as container:
        stream = container.streams.video[0]
        if not _fits(stream.codec_context.extradata or b"", extradata or b""):
            msg = (
                f"{path} was begun with other options or versions; say the same ones as then, or"
                " leave out --resume"
            )
            raise ConfigError(msg)
        for packet in islice(_decodable(_as_encoded(stream)), count):
            if begun == path:
                move(packet, SHIFT)
            yield packet


def _as_encoded(stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """Return a stream's packets as the encoder gave them.

    MP4 puts the length of each part before it, where a mark was.
    """
    assert isinstance(stream.container, InputContainer)
    packets = (packet for packet in stream.container.demux(stream) if packet.size)
    name = MARKS.get(stream.codec_context.name)
    if name is None or (stream.codec_context.extradata or b"").startswith(MARK):
        yield from packets
        return
    filtered = BitStreamFilterContext(name, stream)
    for packet in packets:
        yield from filtered.filter(packet)


def _decodable(packets: "Iterator[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
    """Return packets with decoding times.

    A growing video tells none for the first ones, which are decoded before the time 0.
    """
    first: list[Packet[VideoStream]] = []
    for packet in packets:
        if packet.dts is None:
            first.append(packet)
            continue
        for place, early in enumerate(first):
            early.dts = packet.dts - (len(first) - place) * (packet.duration or 1)
        yield from first
        first = []
        yield packet
    # All of them are shown in the order in which they are decoded.
    for early in first:
        early.dts = early.pts
        yield early


def _fits(begun: bytes, encoder: bytes) -> bool:
    """Return whether the parameters of the encoder that goes on are those in the head of a begun film, however that arranges them."""
    parts = [part for part in encoder.replace(MARK[1:], MARK).split(MARK) if part.strip(b"\0")]
    return all(part.strip(b"\0") in begun for part in parts if part[0] not in REMARKS)


def _best_of(path: Path) -> set[int]:
    """Return the numbers of frames after which a begun film can be cut, of the file that has most; it is put aside if it is but pieces."""
    part, kept = part_of(path), kept_of(path)
    found = {
        begun: _cuts(begun, whole=begun == path) for begun in (path, part, kept) if begun.is_file()
    }
    best = max(found, key=lambda begun: max(found[begun]), default=path)
    if best == part:
        part.replace(kept)
    elif best == path:
        kept.unlink(missing_ok=True)
    return found.get(best, {0})


def _cuts(path: Path, *, whole: bool) -> set[int]:
    cuts, count = {0}, 0
    # Of a run that was killed early nothing may be readable; then it begins anew.
    with suppress(av.FFmpegError), _open(path) as container:
        for packet in container.demux(video=0):
            if packet.size:
                cuts |= {count} if packet.is_keyframe else set()
                count += 1
    return cuts | ({count} if whole else set())


def _open(path: Path) -> InputContainer:
    return av.open(str(path), format="mp4" if path.suffix == ".mp4" else GROWING)
