"""Which frames of a clip are selected, with their times and audio."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segdeploy.errors import ConfigError
from segdeploy.video.reader import VideoSource
from segdeploy.video.run_options import Selection
from segdeploy.video.writer import VideoSink
from tests.helpers.clips import write_tone


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Fifty frames at 25 a second, each of its own gray, with two seconds of audio."""
    path = tmp_path / "clip.mp4"
    with VideoSink(
        path, width=64, height=48, rate=Fraction(25), audio=write_tone(tmp_path / "tone.wav", 2)
    ) as sink:
        for index in range(50):
            sink.write(np.full((48, 64, 3), 4 * index, np.uint8), seconds=index / 25)
    return path


@pytest.mark.parametrize(
    ("selection", "indices"),
    [
        (Selection(), range(50)),
        (Selection(stride=20), [0, 20, 40]),
        (Selection(start=1.0), range(25, 50)),
        (Selection(end=0.2), range(5)),
        (Selection(max_frames=3), range(3)),
        (Selection(stride=10, start=0.5, end=1.9), [13, 23, 33, 43]),
        (Selection(stride=2, max_frames=2), [0, 2]),
        (Selection(max_frames=100), range(50)),
        (Selection(start=5.0), []),
    ],
)
def test_selected_frames(clip: Path, selection: Selection, indices: list[int]) -> None:
    """Frames keep their index and time; the expected count is known before."""
    with VideoSource(clip, selection=selection) as source:
        expected = source.frames
        frames = list(source)

    assert [frame.index for frame in frames] == list(indices)
    assert [frame.seconds for frame in frames] == pytest.approx([index / 25 for index in indices])
    assert [int(frame.image[20, 30, 0]) for frame in frames] == pytest.approx(
        [4 * index for index in indices], abs=2
    )
    assert expected == pytest.approx(len(frames), abs=1)


def test_rate_follows_the_stride(clip: Path) -> None:
    """Every fifth of 25 a second."""
    with VideoSource(clip, selection=Selection(stride=5)) as source:
        assert source.rate == 5


def test_end_before_start_is_refused() -> None:
    """It would select nothing."""
    with pytest.raises(ConfigError, match=r"the end, 2 s, is no later than the start, 3\.5 s"):
        Selection(start=3.5, end=2)


@pytest.mark.parametrize("frames", [None, 100])
def test_expected_count(frames: int | None) -> None:
    """Of 100 frames at 10 a second, 2 to 5 seconds are 30, every fourth of them 8."""
    assert Selection(stride=4, start=2, end=5).count(frames, 10.0) == (8 if frames else None)
    assert Selection(stride=4, start=2, end=5, max_frames=6).count(frames, 10.0) == 6


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_audio_is_cut_with_the_frames(tmp_path: Path, codec: str) -> None:
    """From 0.5 to 1.5 seconds of the clip: a file of 1 second that begins at 0."""
    tone = write_tone(tmp_path / "tone.mkv", 2, codec=codec)
    with VideoSink(
        tmp_path / "part.mp4",
        width=64,
        height=48,
        rate=Fraction(25),
        audio=tone,
        start=0.5,
        end=1.5,
    ) as sink:
        for index in range(13, 38):
            sink.write(np.zeros((48, 64, 3), np.uint8), seconds=index / 25)

    with av.open(str(tmp_path / "part.mp4")) as part:
        times = [
            packet.pts * packet.time_base
            for packet in part.demux(audio=0)
            if packet.pts is not None
        ]
    with VideoSource(tmp_path / "part.mp4") as source:
        frames = list(source)
    # An AAC encoder's first packet is its own silence of 1024 samples, 0.128 s, before the audio.
    assert -0.13 <= times[0] < 0.15
    assert times[-1] == pytest.approx(1.0, abs=0.15)
    assert len(frames) == 25
