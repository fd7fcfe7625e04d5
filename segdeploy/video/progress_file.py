"""The file of a video in progress: fragmented MP4 that is finished in place.

While it grows it can be read at any time, also after the process was killed. At the end FFmpeg
would turn its fragments into one MP4 by writing an index and overwriting a header; here, what it
writes for that is collected, and put into the file in an order in which it can be read at any
moment, but for that between two writes of eight bytes. The index goes into the room reserved at the
front, so that players can start before they have all of the file, or behind the end where it does
not fit.
"""

import math
import os
import sys
from fractions import Fraction
from io import BytesIO
from pathlib import Path

MUXER = "mp4"

OPTIONS = {
    # A fragment begins with its times, so the first one waits for a packet of each stream.
    "movflags": "hybrid_fragmented+delay_moov",
    # Microseconds of a fragment: what is lost with a killed process.
    "frag_duration": "500000",
    # Each fragment is handed to the system at once.
    "flush_packets": "1",
    # Microseconds that packets wait for those of another stream, which may have a pause.
    "max_interleave_delta": "1000000",
}
"""Options of FFmpeg's muxer."""

RESERVE = "moov_size"
"""FFmpeg's option for the bytes that are reserved for the index."""

BOX = 8
"""Bytes of a box's header: its size, and the four letters of its kind (ISO/IEC 14496-12, 4.2)."""

PER_FRAME, PER_SECOND, LEAST = 24, 400, 4096
"""Bytes of the index for each frame, for a second of audio with its fragments, and for the rest."""


def reserved_bytes(frames: int | None, rate: Fraction) -> int:
    """Return how many bytes to reserve for the index of so many frames; few where unknown."""
    return LEAST + round((frames or 0) * (PER_FRAME + PER_SECOND / rate))


class ProgressFile:
    """A file that FFmpeg writes through `write`, `seek` and `tell`; see the module's docstring."""

    def __init__(self, descriptor: int, path: Path) -> None:
        """Take an open file, in which nothing is changed before `begin`.

        Args:
            descriptor: The open file, as `claim` returned it; closed by `close`.
            path: Its path.
        """
        self.path = path
        self._descriptor = descriptor
        self._position = self._size = 0
        # Where the reserved room begins and ends, and where the first fragment begins.
        self._room = (0, 0)
        self._fragments = sys.maxsize
        self._is_ending = self._is_closed = False
        self._index = BytesIO()

    def begin(self) -> None:
        """Empty the file."""
        os.ftruncate(self._descriptor, 0)

    def begin_fragments(self) -> None:
        """Note that the header is complete, and what follows are fragments."""
        self._fragments = self._size

    def write(self, content: bytes) -> int:
        """Write at the current position; raises OSError where there is no room."""
        if self._is_closed:
            self._position += len(content)
            return len(content)
        # After the last fragment FFmpeg goes back, and writes the index, also beyond its room.
        self._is_ending |= self._position < self._fragments < self._size
        if self._is_ending:
            self._index.seek(self._position - self._room[0])
            self._index.write(content)
        else:
            if self._position > self._size:
                self._reserve(self._position)
            _write_at(self._descriptor, content, self._position)
            self._size = max(self._size, self._position + len(content))
        self._position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the current position."""
        return self._position

    def finish(self, begin: Fraction, end: Fraction) -> None:
        """Put the collected index into the file, which then is an MP4 without fragments.

        Args:
            begin: When the first frame of the video is shown, in seconds.
            end: When the last one is no longer shown.

        Raises:
            OSError: There is no room for it; the file remains as it was.
            ValueError: FFmpeg has written no index.
        """
        content = self._index.getvalue()
        size = int.from_bytes(content[:4], "big")
        if content[4:BOX] != b"moov" or not BOX < size <= len(content):
            msg = "the index of the video is incomplete"
            raise ValueError(msg)
        index = _lasting(content[:size], begin, end)
        start, stop = self._room
        rest = stop - start - size
        if rest == 0 or rest >= BOX:
            # Until its header is written, the index is the content of a box that readers skip.
            _write_at(self._descriptor, index[BOX:] + _free(rest), start + BOX)
            os.fsync(self._descriptor)
            _write_at(self._descriptor, index[:BOX], start)
        else:
            self._append(index)
            os.fsync(self._descriptor)
        self._cover_fragments()
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; what FFmpeg still writes afterwards is not written."""
        if not self._is_closed:
            os.close(self._descriptor)
            self._is_closed = True

    def _append(self, index: bytes) -> None:
        try:
            _write_at(self._descriptor, index, self._size)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise

    def _cover_fragments(self) -> None:
        """Make one box of media of all fragments, whose own boxes readers no longer see."""
        # FFmpeg leaves an empty box before it, for a size of 64 bits.
        position = self._room[1] + BOX
        size = self._size - position
        if size < 1 << 32:
            _write_at(self._descriptor, size.to_bytes(4, "big") + b"mdat", position)
        else:
            header = (1).to_bytes(4, "big") + b"mdat" + (size + BOX).to_bytes(8, "big")
            _write_at(self._descriptor, header, position - BOX)

    def _reserve(self, end: int) -> None:
        """Fill the room up to a position with a box that readers skip."""
        self._room = self._size, end
        _write_at(self._descriptor, _free(end - self._size), self._size)
        self._size = end


def _lasting(index: bytes, begin: Fraction, end: Fraction) -> bytes:
    """Return an index whose first track begins and ends at these times, in seconds.

    At the beginning of each fragment FFmpeg forgets which of the frames before is shown last, and
    the track would end before frames that are decoded before others and shown after them.
    """
    changed = bytearray(index)
    movie = _boxes(index, BOX, len(index))
    track = _boxes(index, *movie[b"trak"])
    media = _boxes(index, *track[b"mdia"])

    def put(at: int, ticks: int, *, wide: bool) -> None:
        width = 8 if wide else 4
        changed[at : at + width] = ticks.to_bytes(width, "big")

    # A box of version 1 has times and durations of 8 bytes (ISO/IEC 14496-12, 8.2.2 to 8.6.6).
    at = movie[b"mvhd"][0]
    is_wide = bool(index[at])
    scale = _number(index, at + (20 if is_wide else 12), wide=False)
    place = at + (24 if is_wide else 16)
    ticks = math.ceil(end * scale)
    put(place, max(ticks, _number(index, place, wide=is_wide)), wide=is_wide)
    at = track[b"tkhd"][0]
    put(at + (28 if index[at] else 20), ticks, wide=bool(index[at]))
    at = media[b"mdhd"][0]
    is_wide = bool(index[at])
    media_scale = _number(index, at + (20 if is_wide else 12), wide=False)
    put(at + (24 if is_wide else 16), round((end - begin) * media_scale), wide=is_wide)
    if b"edts" in track:
        at = _boxes(index, *track[b"edts"])[b"elst"][0]
        is_wide = bool(index[at])
        size = 20 if is_wide else 12
        last = at + BOX + size * (_number(index, at + 4, wide=False) - 1)
        for earlier in range(at + BOX, last, size):
            ticks -= _number(index, earlier, wide=is_wide)
        put(last, ticks, wide=is_wide)
    return bytes(changed)


def _number(content: bytes, at: int, *, wide: bool) -> int:
    return int.from_bytes(content[at : at + (8 if wide else 4)], "big")


def _boxes(content: bytes, start: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Return where the content of the first box of each kind begins and ends."""
    found: dict[bytes, tuple[int, int]] = {}
    while start + BOX <= end:
        size = int.from_bytes(content[start : start + 4], "big")
        found.setdefault(content[start + 4 : start + BOX], (start + BOX, start + size))
        start += max(size, BOX)
    return found


def _free(size: int) -> bytes:
    """Return a box of so many bytes that readers skip; nothing for none."""
    return size.to_bytes(4, "big") + b"free" + bytes(size - BOX) if size else b""


def _write_at(descriptor: int, content: bytes, position: int) -> None:
    """Write all of some bytes at a position."""
    view = memoryview(content)
    while view:
        os.lseek(descriptor, position, os.SEEK_SET)
        written = os.write(descriptor, view)
        position += written
        view = view[written:]
