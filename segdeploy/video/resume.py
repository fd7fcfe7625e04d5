"""Resume an interrupted video: its names in progress, and what can be kept of it.

A video in progress is `NAME.part`; when a resumed run begins, what a killed one left is renamed to
`NAME.kept`. These names and the formats are read by later versions.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from segdeploy.errors import ConfigError
from segdeploy.system.files import PART
from segdeploy.system.locks import claim
from segdeploy.video.container import open_file

NUT, NUT_MARK = "nut", b"nut/"
"""Container of a video in progress of earlier versions, and how such a file begins."""

SHIFT = 16
"""Seconds that earlier versions added to all times in that container."""

START_CODE = b"\0\0\0\1"
ANNEX_B_FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
"""FFmpeg's filters that put the start codes between the parts of a packet again, by codec."""

SEI_TYPES = {0x06, 0x4E}
"""First bytes of supplemental information (SEI), in H.264 and HEVC; it may differ by version."""


def part_path(path: Path) -> Path:
    """Return the path of a video in progress."""
    return path.with_name(path.name + PART)


def kept_path(path: Path) -> Path:
    """Return the path of the interrupted video that is being resumed."""
    return path.with_name(path.name + ".kept")


def count_resumable(videos: Sequence[Path], folders: Sequence[Path]) -> int:
    """Return how many frames of an interrupted run can be kept, and set its partial videos aside.

    A video can be cut before a keyframe, and at its end if it was completed. Files of single frames
    are complete or missing.

    Args:
        videos: Paths of the videos; each may have been completed when the user stopped the run, or
            been left in progress when it was killed.
        folders: Folders with one file per frame.

    Raises:
        ConfigError: Another run is writing one of the videos.
    """
    cuts = [_longest_cuts(path) for path in videos]
    files = [
        sum(path.suffix != PART for path in folder.iterdir()) if folder.is_dir() else 0
        for folder in folders
    ]
    if not cuts:
        return min(files, default=0)
    most = min(files, default=max(cuts[0]))
    return max(cut for cut in set.intersection(*cuts) if cut <= most)


def _longest_cuts(path: Path) -> set[int]:
    """Return the frame counts at which the longest file of an interrupted video can be cut.

    If that file is one in progress, it is renamed to `kept_path`.
    """
    part, kept = part_path(path), kept_path(path)
    if part.exists():
        os.close(claim(part))
    if kept.is_symlink():
        # Ours never is, and one of another user may lead to any file.
        kept.unlink()
    cuts = {
        file: _cuts(file, is_complete=file == path) for file in (path, part, kept) if file.is_file()
    }
    longest = max(cuts, key=lambda file: max(cuts[file]), default=path)
    if longest == part:
        part.replace(kept)
    elif longest == path:
        kept.unlink(missing_ok=True)
    return cuts.get(longest, {0})


def _cuts(path: Path, *, is_complete: bool) -> set[int]:
    cuts, count = {0}, 0
    for packet in _video_packets(path):
        cuts |= {count} if packet.is_keyframe else set()
        count += 1
    return cuts | ({count} if is_complete else set())


def has_frames(path: Path) -> bool:
    """Return whether a video in progress holds at least one frame."""
    return any(True for _ in _video_packets(path))


def _video_packets(path: Path) -> "Iterator[Packet[VideoStream]]":
    """Return the packets of a video in progress, as far as it can be read.

    Of a run that was killed early nothing may be readable; it starts from the beginning.
    """
    with suppress(av.FFmpegError), _open(path) as container:
        if container.streams.video:
            yield from (packet for packet in container.demux(video=0) if packet.size)


def _is_nut(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(NUT_MARK)) == NUT_MARK


def _open(path: Path) -> InputContainer:
    return open_file(path, form=NUT if _is_nut(path) else "mp4")


def resumable_packets(
    path: Path, count: int, extradata: bytes | None
) -> "Iterator[Packet[VideoStream]]":
    """Return the packets of the first frames of an interrupted video.

    Args:
        path: Path of the completed video.
        count: Number of frames, as `count_resumable` returned it.
        extradata: Header of the encoder that continues the video.

    Raises:
        ConfigError: The video was encoded with other options.
    """
    interrupted = kept_path(path) if kept_path(path).exists() else path
    is_nut = _is_nut(interrupted)
    with _open(interrupted) as container:
        stream = container.streams.video[0]
        if not _is_same_encoder(stream.codec_context.extradata or b"", extradata or b""):
            msg = (
                f"{path} was begun with other options or versions; give the same ones, or leave out"
                " --resume"
            )
            raise ConfigError(msg)
        for packet in islice(_with_decoding_times(_as_encoded(stream)), count):
            if is_nut:
                _shift(packet, -SHIFT)
            yield packet


def _is_same_encoder(begun: bytes, encoder: bytes) -> bool:
    """Return whether each parameter set of an encoder is in the header of an interrupted video.

    Containers arrange them differently.
    """
    parts = [
        part
        for part in encoder.replace(START_CODE[1:], START_CODE).split(START_CODE)
        if part.strip(b"\0")
    ]
    return all(part.strip(b"\0") in begun for part in parts if part[0] not in SEI_TYPES)


def _as_encoded(stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """Return a stream's packets as the encoder returned them.

    MP4 replaces the start code before each part by its length.
    """
    assert isinstance(stream.container, InputContainer)
    packets = (packet for packet in stream.container.demux(stream) if packet.size)
    name = ANNEX_B_FILTERS.get(stream.codec_context.name)
    if name is None or (stream.codec_context.extradata or b"").startswith(START_CODE):
        yield from packets
        return
    annex_b = BitStreamFilterContext(name, stream)
    for packet in packets:
        yield from annex_b.filter(packet)


def _with_decoding_times(
    packets: "Iterator[Packet[VideoStream]]",
) -> "Iterator[Packet[VideoStream]]":
    """Return packets with decoding times.

    A video in progress has none for the first packets, which are decoded before the time 0.
    """
    untimed: list[Packet[VideoStream]] = []
    for packet in packets:
        if packet.dts is None:
            untimed.append(packet)
            continue
        for index, early in enumerate(untimed):
            early.dts = packet.dts - (len(untimed) - index) * (packet.duration or 1)
        yield from untimed
        untimed = []
        yield packet
    # All of them are shown in the order in which they are decoded.
    for early in untimed:
        early.dts = early.pts
        yield early


def _shift(packet: "Packet[Any]", seconds: int) -> None:
    """Make a packet so many seconds later."""
    ticks = round(seconds / packet.time_base)
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks
