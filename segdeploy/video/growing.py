"""A video while it is written, which stays readable when the process is killed; and whole, which begins to play before all has come."""

from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from segdeploy.atomic import sync

GROWING = "nut"
"""FFmpeg's own container: every codec, any clock to the tick, and no head or index without which the rest is worth nothing.

MP4 in fragments loses frames of VP9 and refuses sound from transport streams; Matroska rounds times to milliseconds.
"""

AT_ONCE = {"flush_packets": "1"}
"""Each packet goes to the system as it comes: what waits in a buffer dies with the process."""

SHIFT = 16
"""Seconds that all times in a growing video are late: it can hold no negative ones, with which encoders begin."""

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
        with av.open(str(part), format=GROWING) as grown, av.open(str(whole), "w", format="mp4", options={"movflags": WHOLE}) as output:
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
        stream.index: output.add_stream_from_template(stream, opaque=True) for stream in (*grown.streams.video, *grown.streams.audio)
    }
    before: dict[int, int] = {}
    if tag:
        streams[grown.streams.video[0].index].codec_context.codec_tag = tag
    for packet in grown.demux():
        # The last one of each stream is empty, and only flushes decoders.
        if packet.size:
            index = packet.stream.index
            # NUT keeps no durations, and MP4 would leave out the last piece of a sound that has none.
            if packet.dts is not None:
                packet.duration = packet.duration or packet.dts - before.get(index, packet.dts)
                before[index] = packet.dts
            move(packet, -SHIFT)
            packet.stream = streams[index]
            output.mux_one(packet)
