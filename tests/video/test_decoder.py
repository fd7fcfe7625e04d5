"""Every frame at its own time, also where the container has wrong ones; ends that are missing."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segdeploy.errors import DataError
from segdeploy.video.reader import VideoSource
from segdeploy.video.run_options import Selection


def make(
    path: Path, encoder: str = "libx264", *, count: int = 30, rate: int = 10, audio: str = ""
) -> bytes:
    """Write frames of noise, with as much audio, and return the file's content."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(encoder, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        track = output.add_stream(audio, rate=48000, layout="mono") if audio else None
        for index in range(count):
            image = random.integers(0, 256, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            output.mux(stream.encode(frame))
            if track:
                samples = 48000 // rate
                sound = av.AudioFrame.from_ndarray(
                    random.integers(-9000, 9000, (1, samples), np.int16),
                    format="s16",
                    layout="mono",
                )
                sound.sample_rate, sound.pts = 48000, samples * index
                sound.time_base = Fraction(1, 48000)
                output.mux(track.encode(sound))
        output.mux(stream.encode(None))
        if track:
            output.mux(track.encode(None))
    return path.read_bytes()


def times(path: Path) -> list[float]:
    with VideoSource(path) as source:
        return [frame.seconds for frame in source]


@pytest.mark.parametrize(
    ("ending", "encoder", "audio"),
    [
        ("webm", "libvpx", ""),
        ("webm", "libvpx", "libopus"),
        ("mkv", "libx264", "aac"),
        ("flv", "flv", "libmp3lame"),
        ("avi", "mpeg4", "libmp3lame"),
    ],
)
def test_end_that_is_cut_off_is_reported(
    tmp_path: Path, ending: str, encoder: str, audio: str
) -> None:
    """An interrupted download, whose header says that there are 30 frames in 3 seconds."""
    path = tmp_path / f"clip.{ending}"
    content = make(path, encoder, audio=audio)
    with VideoSource(path) as source:
        assert len(list(source)) == 30
        assert source.losses == []

    path.write_bytes(content[: len(content) * 6 // 10])

    with VideoSource(path) as source:
        count = len(list(source))
        (loss,) = source.losses
    assert 0 < count < 25
    assert f"{source.path} is cut off" in loss
    assert abs(count + source.skipped - 30) <= 1


@pytest.mark.parametrize(
    ("ending", "encoder"), [("gif", "gif"), ("webm", "libvpx"), ("mp4", "libx264")]
)
def test_last_frame_lasts_as_long_as_the_film(tmp_path: Path, ending: str, encoder: str) -> None:
    """A slide that stays is not an end that is missing."""
    path = tmp_path / f"hold.{ending}"
    pixels = "rgb8" if encoder == "gif" else "yuv420p"
    with av.open(str(path), "w") as output:
        stream = output.add_stream(encoder, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for index in range(8):
            image = np.full((48, 64, 3), 20 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = index, Fraction(1, 10)
            frame.duration = 30 if index == 7 else 1
            packets = stream.encode(frame)
            for packet in packets:
                output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    with av.open(str(path)) as clip:
        assert clip.duration is not None
        whole = clip.duration / av.time_base

    with VideoSource(path) as source:
        frames = list(source)
        assert source.losses == []
    assert frames[-1].seconds + frames[-1].duration == pytest.approx(whole, abs=0.011)
    assert [frame.duration for frame in frames[:-1]] == pytest.approx([0.1] * 7, abs=0.001)


def test_clock_that_begins_anew_goes_on(tmp_path: Path) -> None:
    """Two transport streams joined by their bytes, as recorders do."""
    part = make(tmp_path / "part.ts", "mpeg2video", count=12, rate=25)
    path = tmp_path / "both.ts"
    path.write_bytes(part + part)

    with VideoSource(path) as source:
        seconds = [frame.seconds for frame in source]
        assert any("began anew once" in note for note in source.notes)

    assert seconds == pytest.approx([index / 25 for index in range(24)], abs=1e-4)


def test_frames_of_avi_that_are_stored_out_of_order_are_even(tmp_path: Path) -> None:
    """AVI has no time for a frame that is shown before the one stored before it."""
    make(tmp_path / "clip.avi", "libx264", count=20, rate=25)

    assert times(tmp_path / "clip.avi") == pytest.approx([index / 25 for index in range(20)])


def test_part_of_a_film_ends_where_it_is_cut(tmp_path: Path) -> None:
    """The last frame of a selection is shown until the next one of the film, or the chosen end."""
    make(tmp_path / "clip.mp4", count=10, rate=10)

    def durations(selection: Selection) -> Sequence[float]:
        with VideoSource(tmp_path / "clip.mp4", selection=selection) as source:
            return [frame.duration for frame in source]

    assert durations(Selection(stride=4)) == pytest.approx([0.4, 0.4, 0.2])
    assert durations(Selection(end=0.25)) == pytest.approx([0.1, 0.1, 0.05])
    assert durations(Selection(max_frames=2)) == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("rate", ["1000000000:1", "1:1000000000"])
def test_impossible_rate_is_refused(tmp_path: Path, rate: str) -> None:
    """Y4M has no times but those of the rate in its header."""
    path = tmp_path / "clip.y4m"
    path.write_bytes(f"YUV4MPEG2 W64 H48 F{rate} C420\n".encode() + b"FRAME\n" + bytes(4608))

    with pytest.raises(DataError, match="frames per second by its header"):
        VideoSource(path)


def test_unknown_codec_is_refused(tmp_path: Path) -> None:
    """A new camera: the message says what to do."""
    content = make(tmp_path / "clip.mp4", count=3)
    (tmp_path / "clip.mp4").write_bytes(content.replace(b"avc1", b"zzzz"))

    with pytest.raises(DataError, match="have a codec that cannot be decoded"):
        VideoSource(tmp_path / "clip.mp4")


def test_audio_of_an_unknown_codec_is_left_out(tmp_path: Path) -> None:
    """Phones add a second kind of sound that no decoder is known for."""
    content = make(tmp_path / "clip.mov", count=3, audio="pcm_s16le")
    (tmp_path / "clip.mov").write_bytes(content.replace(b"sowt", b"zzzz"))

    with VideoSource(tmp_path / "clip.mov") as source:
        assert len(list(source)) == 3
        assert any("audio" in note and "left out" in note for note in source.notes)
