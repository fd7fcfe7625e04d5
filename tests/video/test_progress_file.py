"""A video in progress can be read at any moment, and is finished where it lies."""

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segdeploy.system.locks import claim
from segdeploy.video.progress_file import (
    MUXER,
    OPTIONS,
    RESERVE,
    ProgressFile,
    reserved_bytes,
)

FRAMES = 40


def begin(path: Path, *, reserve: int) -> tuple[ProgressFile, av.container.OutputContainer]:
    """Write frames of noise, and close the container, but not the file."""
    file = ProgressFile(claim(path), path)
    file.begin()
    container = av.open(file, "w", format=MUXER, options={**OPTIONS, RESERVE: str(reserve)})
    stream = container.add_stream("libx264", rate=25, options={"bf": "2"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    container.start_encoding()
    file.begin_fragments()
    random = np.random.default_rng(0)
    for index in range(FRAMES):
        image = random.integers(0, 256, (48, 64, 3), np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    return file, container


def end(container: av.container.OutputContainer) -> None:
    # Where the index is larger than its room.
    with suppress(av.ArgumentError):
        container.close()


def times(path: Path) -> list[float]:
    with av.open(str(path), format="mp4") as clip:
        return [frame.time for frame in clip.decode(video=0)]


def boxes(path: Path) -> Iterator[str]:
    """Return the kinds of the boxes of an MP4 file, in order."""
    content, at = path.read_bytes(), 0
    while at < len(content):
        yield content[at + 4 : at + 8].decode()
        at += int.from_bytes(content[at : at + 4], "big")


EVEN = [index / 25 for index in range(FRAMES)]


@pytest.mark.parametrize(
    ("reserve", "expected"),
    [
        (reserved_bytes(FRAMES, Fraction(25)), ["ftyp", "moov", "free", "free", "mdat"]),
        (64, ["ftyp", "free", "free", "mdat", "moov"]),
    ],
    ids=["room at the front", "no room"],
)
def test_file_is_finished_in_place(tmp_path: Path, reserve: int, expected: list[str]) -> None:
    """The index is at the front where it fits, so that players start at once; else at the end."""
    path = tmp_path / "clip.mp4"
    file, container = begin(path, reserve=reserve)
    size = path.stat().st_size

    end(container)
    before = times(path)
    file.finish(Fraction(0), Fraction(FRAMES, 25))
    file.close()

    assert before == times(path) == EVEN
    assert list(boxes(path)) == expected
    with av.open(str(path)) as clip:
        assert clip.streams.video[0].frames == FRAMES
        assert clip.duration == FRAMES / 25 * av.time_base
    # No copy of the frames: the last fragment and an index are all that is added.
    assert path.stat().st_size < 1.5 * size


def test_index_larger_than_all_fragments_so_far_does_not_overwrite_them(tmp_path: Path) -> None:
    """FFmpeg writes the index piece by piece, over whatever follows its room."""
    path = tmp_path / "clip.mp4"
    file = ProgressFile(claim(path), path)
    file.begin()
    container = av.open(file, "w", format=MUXER, options={**OPTIONS, RESERVE: "64"})
    stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
    stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
    stream.codec_context.time_base = Fraction(1, 50)
    container.start_encoding()
    file.begin_fragments()
    frame = av.VideoFrame(16, 16, "yuv420p")
    for index in range(4000):
        frame.pts, frame.time_base = 2 * index + index % 3 // 2, Fraction(1, 50)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))

    end(container)
    file.finish(Fraction(0), Fraction(8000, 50))
    file.close()

    content = path.read_bytes()
    assert len(content) - content.rfind(b"moov") > 1 << 16
    assert len(times(path)) == 4000


@pytest.mark.skipif(os.name != "posix", reason="limits the size of a file")
def test_file_without_room_for_the_index_stays_as_it_was(tmp_path: Path) -> None:
    """A disk may be full at the very end."""
    path = tmp_path / "clip.mp4"
    file, container = begin(path, reserve=64)
    end(container)
    size = path.stat().st_size
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            file.finish(Fraction(0), Fraction(FRAMES, 25))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.close()

    assert path.stat().st_size == size
    assert times(path) == EVEN


def test_closed_file_is_not_touched_by_what_ffmpeg_still_writes(tmp_path: Path) -> None:
    """When a run fails, closing the container must not write half an index."""
    path = tmp_path / "clip.mp4"
    file, container = begin(path, reserve=4096)
    file.close()
    left = path.read_bytes()

    end(container)

    assert path.read_bytes() == left
    assert len(times(path)) > FRAMES // 2
