"""An interrupted run is resumed, with the same number and times of frames."""

import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segdeploy.arrays import Image
from segdeploy.errors import ConfigError
from segdeploy.system.posix import CAN_LOCK
from segdeploy.video.codecs import CODECS, Encoding
from segdeploy.video.reader import VideoSource
from segdeploy.video.resume import NUT, SHIFT, count_resumable, kept_path, part_path
from segdeploy.video.writer import VideoSink
from tests.helpers.clips import write_tone

RATE = Fraction(30000, 1001)


def moment(index: int) -> float:
    """Return the time of a frame.

    29.97 a second, and a third of a second is missing after the hundredth.
    """
    return float(index / RATE) + (index >= 100) / 3


def image_at(index: int) -> Image:
    image = np.full((48, 64, 3), 60, np.uint8)
    image[8:24, index % 24 : index % 24 + 40] = 160
    return image


def sink(path: Path, *, resumed: int = 0, encoding: Encoding | None = None) -> VideoSink:
    return VideoSink(
        path, width=64, height=48, rate=RATE, encoding=encoding, threads=1, resumed=resumed
    )


def write(opened: VideoSink, indices: range) -> None:
    for index in indices:
        opened.write(image_at(index), seconds=moment(index))


def finish(path: Path, count: int, encoding: Encoding | None = None) -> None:
    with sink(path, resumed=count, encoding=encoding) as opened:
        write(opened, range(count, 620))


def check(path: Path) -> None:
    """Assert that all frames are there at their times, and no other file is."""
    with VideoSource(path) as source:
        frames = list(source)
    assert [frame.seconds for frame in frames] == pytest.approx(
        [moment(index) for index in range(620)], abs=2e-5
    )
    for frame in frames[::31]:
        np.testing.assert_allclose(
            frame.image.astype(int), image_at(frame.index).astype(int), atol=60
        )
    assert [other.name for other in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("codec", list(CODECS))
def test_stopped_run_is_resumed(tmp_path: Path, codec: str) -> None:
    """Ctrl-C completed a video of 333 frames; each of them is kept."""
    path = tmp_path / "video.mp4"
    encoding = Encoding(codec=codec, preset=CODECS[codec].presets[0])
    with sink(path, encoding=encoding) as opened:
        write(opened, range(333))

    count = count_resumable([path], [])
    finish(path, count, encoding)

    assert count == 333
    check(path)


def kill(path: Path, opened: VideoSink, *, lost: int = 0) -> None:
    """Leave the files that a killed process leaves of a video in progress."""
    shutil.copy(part_path(path), path.parent / "left")
    opened.__exit__(None, None, None)
    path.unlink()
    content = (path.parent / "left").read_bytes()
    part_path(path).write_bytes(content[: len(content) - lost])
    (path.parent / "left").unlink()


@pytest.mark.parametrize("lost", [0, 1, 777])
def test_killed_run_is_resumed_at_a_keyframe(tmp_path: Path, lost: int) -> None:
    """libx264 makes groups of at most 250.

    Of 600 frames at least 250 are kept, whatever the last bytes are.
    """
    path = tmp_path / "video.mp4"
    opened = sink(path)
    write(opened, range(600))
    kill(path, opened, lost=lost)

    count = count_resumable([path], [])
    finish(path, count)

    assert 250 <= count < 600
    check(path)


def test_killed_twice(tmp_path: Path) -> None:
    """The second run was killed before it came as far as the first one."""
    path = tmp_path / "video.mp4"
    opened = sink(path)
    write(opened, range(600))
    kill(path, opened)
    count = count_resumable([path], [])
    assert kept_path(path).exists()
    shutil.copy(kept_path(path), tmp_path / "again")
    opened = sink(path, resumed=count)
    kill(path, opened, lost=part_path(path).stat().st_size // 2)
    (tmp_path / "again").replace(kept_path(path))

    again = count_resumable([path], [])
    finish(path, again)

    assert again == count
    check(path)


def test_nothing_left_starts_from_the_beginning(tmp_path: Path) -> None:
    """Of a run that was killed at once there may be no file, or one without a header or video."""
    assert count_resumable([tmp_path / "video.mp4"], []) == 0
    write_tone(tmp_path / "tone.wav").replace(part_path(tmp_path / "video.mp4"))
    assert count_resumable([tmp_path / "video.mp4"], []) == 0
    part_path(tmp_path / "video.mp4").write_bytes(b"nu")
    assert count_resumable([tmp_path / "video.mp4"], []) == 0


def test_files_of_frames_bound_the_videos(tmp_path: Path) -> None:
    """A video is cut at what all outputs have: 600 frames of video, and 412 masks."""
    path, masks = tmp_path / "video.mp4", tmp_path / "masks"
    with sink(path) as opened:
        write(opened, range(600))
    masks.mkdir()
    for index in range(412):
        (masks / f"{index:06d}.png").touch()

    assert 250 <= count_resumable([path], [masks]) <= 412
    assert count_resumable([], [masks]) == 412
    assert count_resumable([path], [masks, tmp_path / "none"]) == 0


def test_other_options_are_refused(tmp_path: Path) -> None:
    """A video of two encodings is not playable."""
    path = tmp_path / "video.mp4"
    with sink(path) as opened:
        write(opened, range(20))

    with pytest.raises(ConfigError, match="was begun with other options"):
        sink(path, resumed=20, encoding=Encoding(codec="hevc"))

    assert len(list(VideoSource(path))) == 20


def test_part_file_is_read_by_ffmpeg(tmp_path: Path) -> None:
    """Without resuming, its frames can still be used."""
    path = tmp_path / "video.mp4"
    opened = sink(path)
    write(opened, range(600))
    kill(path, opened)

    with av.open(str(part_path(path))) as container:
        assert sum(1 for _ in container.decode(video=0)) > 400


def test_names_on_disk_are_those_of_older_versions(tmp_path: Path) -> None:
    """Runs that an older version began must be resumed."""
    path = tmp_path / "video.mp4"

    assert part_path(path) == tmp_path / "video.mp4.part"
    assert kept_path(path) == tmp_path / "video.mp4.kept"


def test_video_in_progress_of_an_older_version_is_resumed(tmp_path: Path) -> None:
    """Older versions wrote NUT, with 16 seconds added to all times."""
    path = tmp_path / "video.mp4"
    with sink(path) as opened:
        write(opened, range(600))
    with av.open(str(path)) as clip, av.open(str(part_path(path)), "w", format=NUT) as old:
        stream = clip.streams.video[0]
        copy = old.add_stream_from_template(stream)
        for packet in clip.demux(stream):
            if packet.size:
                assert packet.pts is not None
                assert packet.dts is not None
                packet.pts += round(SHIFT / packet.time_base)
                packet.dts += round(SHIFT / packet.time_base)
                packet.stream = copy
                old.mux_one(packet)
    path.unlink()

    count = count_resumable([path], [])
    finish(path, count)

    assert 250 <= count < 600
    check(path)


@pytest.mark.skipif(os.name != "posix", reason="makes links")
@pytest.mark.parametrize("name", ["video.mp4.part", "video.mp4.kept"])
def test_links_are_not_followed(tmp_path: Path, name: str) -> None:
    """In a folder that others write to, a link would lead to any film of the user."""
    path, other = tmp_path / "out" / "video.mp4", tmp_path / "other.mp4"
    with sink(other) as opened:
        write(opened, range(300))
    before = other.read_bytes()
    path.parent.mkdir()
    (path.parent / name).symlink_to(other)

    count = count_resumable([path], [])
    with sink(path) as opened:
        write(opened, range(3))

    assert count == 0
    assert other.read_bytes() == before
    assert not path.is_symlink()


@pytest.mark.skipif(not CAN_LOCK, reason="this system has no fcntl")
def test_two_runs_do_not_write_one_video(tmp_path: Path) -> None:
    """Each would overwrite what the other one writes; the first one is not disturbed."""
    path = tmp_path / "video.mp4"
    with sink(path) as opened:
        write(opened, range(100))
        with pytest.raises(ConfigError, match="another run is writing"):
            sink(path)
        with pytest.raises(ConfigError, match="another run is writing"):
            count_resumable([path], [])
        write(opened, range(100, 620))

    check(path)


def test_interrupted_video_is_not_replaced_unasked(tmp_path: Path) -> None:
    """What was recorded may be all that there is."""
    path = tmp_path / "video.mp4"
    opened = sink(path)
    write(opened, range(300))
    kill(path, opened)
    left = part_path(path).read_bytes()

    with pytest.raises(ConfigError, match="--resume"):
        VideoSink(path, width=64, height=48, rate=RATE, overwrite=False)

    assert part_path(path).read_bytes() == left
