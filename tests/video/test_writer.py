"""Written videos are decoded, as a player does."""

import os
import re
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from segdeploy.arrays import Image
from segdeploy.errors import DataError, OutputError
from segdeploy.video.codecs import Encoding
from segdeploy.video.reader import VideoSource
from segdeploy.video.writer import VideoSink
from tests.helpers.clips import write_tone

RATE = Fraction(30000, 1001)


def plain(color: tuple[int, int, int], *, width: int = 64, height: int = 48) -> Image:
    return np.full((height, width, 3), color, np.uint8)


def write(
    path: Path,
    count: int = 30,
    *,
    audio: Path | None = None,
    width: int = 64,
    height: int = 48,
    frames: int | None = None,
) -> Path:
    with VideoSink(path, width=width, height=height, rate=RATE, audio=audio, frames=frames) as sink:
        for index in range(count):
            sink.write(
                plain((index, 128, 128), width=width, height=height), seconds=float(index / RATE)
            )
    return path


def times(path: Path) -> list[float]:
    with av.open(str(path)) as clip:
        return [frame.time for frame in clip.decode(video=0)]


def audio_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as clip:
        return [bytes(packet) for packet in clip.demux(audio=0) if packet.size]


def audio_span(path: Path) -> tuple[float, float]:
    """Return when the decoded audio begins and ends, in seconds."""
    with av.open(str(path)) as clip:
        frames = list(clip.decode(audio=0))
        return frames[0].time, frames[-1].time + frames[-1].samples / frames[-1].sample_rate


def test_browsers_play_it(tmp_path: Path) -> None:
    """H.264 in 4:2:0, and the index before the images, so that it plays while it loads."""
    path = write(tmp_path / "new" / "clip.mp4", frames=30)

    with av.open(str(path)) as clip:
        codec = clip.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
    content = path.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize(
    "rate", [Fraction(25), RATE, Fraction(24000, 1001), Fraction(1, 2), Fraction(19001, 317)]
)
def test_rate_is_exact(tmp_path: Path, rate: Fraction) -> None:
    """29.97 stored as 30 drifts from the audio by a second in a quarter of an hour."""
    path = tmp_path / "clip.mp4"

    with VideoSink(path, width=64, height=48, rate=rate) as sink:
        for index in range(20):
            sink.write(plain((0, 0, 0)), seconds=float(index / rate))

    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        exact = [frame.pts * stream.time_base for frame in clip.decode(video=0)]
        assert stream.average_rate == rate
    assert exact == [index / rate for index in range(20)]


def test_variable_times_survive(tmp_path: Path) -> None:
    """A phone stretches the time between frames when it is dark."""
    given = [0.0, 0.033, 0.1, 0.14, 1.5, 1.533, 2.0]

    with VideoSink(tmp_path / "clip.mp4", width=64, height=48, rate=Fraction(25)) as sink:
        for seconds in given:
            sink.write(plain((9, 9, 9)), seconds=seconds)

    np.testing.assert_allclose(times(tmp_path / "clip.mp4"), given, atol=1e-5)


def test_pause_of_a_day_is_refused(tmp_path: Path) -> None:
    """An MP4 cannot hold it; the frames before are kept."""
    path = tmp_path / "clip.mp4"

    with VideoSink(path, width=64, height=48, rate=Fraction(25)) as sink:
        for seconds in (0.0, 0.04, 19000.0):
            sink.write(plain((9, 9, 9)), seconds=seconds)
        with pytest.raises(DataError, match="before the frame at 86400 s is longer than 5 hours"):
            sink.write(plain((9, 9, 9)), seconds=86400.0)

    assert times(path) == pytest.approx([0.0, 0.04, 19000.0])


def test_video_may_begin_after_its_audio(tmp_path: Path) -> None:
    """A camera that starts half a second late must not shift all images against the audio."""
    tone = write_tone(tmp_path / "tone.wav", rate=48000)
    with VideoSink(
        tmp_path / "clip.mp4", width=64, height=48, rate=Fraction(25), audio=tone
    ) as sink:
        for index in range(5):
            sink.write(plain((9, 9, 9)), seconds=0.5 + index / 25)

    np.testing.assert_allclose(
        times(tmp_path / "clip.mp4"), [0.5, 0.54, 0.58, 0.62, 0.66], atol=1e-5
    )
    assert abs(audio_span(tmp_path / "clip.mp4")[0]) < 0.001


def test_times_that_stand_still_move_on(tmp_path: Path) -> None:
    """A damaged clip repeats a timestamp; no frame may be lost by it."""
    with VideoSink(tmp_path / "clip.mp4", width=64, height=48, rate=Fraction(25)) as sink:
        for seconds in (0.0, 0.04, 0.04, 0.02, 0.08):
            sink.write(plain((9, 9, 9)), seconds=seconds)

    seen = times(tmp_path / "clip.mp4")
    assert len(seen) == 5
    assert seen == sorted(set(seen))


def test_colors_survive(tmp_path: Path) -> None:
    """The file says with which matrix its colors were written, so that blue-green-red comes back
    within rounding.
    """
    colors = [(0, 0, 0), (255, 255, 255), (128, 64, 128), (192, 0, 0), (0, 0, 192), (40, 200, 90)]

    with VideoSink(
        tmp_path / "clip.mp4", width=64, height=48, rate=Fraction(1), encoding=Encoding(crf=1)
    ) as sink:
        for index, color in enumerate(colors):
            sink.write(plain(color), seconds=index)

    with av.open(str(tmp_path / "clip.mp4")) as clip:
        for color, frame in zip(colors, clip.decode(video=0), strict=True):
            assert (frame.colorspace, frame.color_range) == (Colorspace.ITU709, ColorRange.MPEG)
            np.testing.assert_allclose(frame.to_ndarray(format="bgr24")[24, 32], color, atol=4)


def test_odd_sides_are_doubled_at_the_edge(tmp_path: Path) -> None:
    """4:2:0 has even sides only; a black edge would be seen, a doubled one is not."""
    image = plain((200, 200, 200), width=161, height=121)

    with VideoSink(
        tmp_path / "clip.mp4", width=161, height=121, rate=Fraction(25), encoding=Encoding(crf=1)
    ) as sink:
        sink.write(image, seconds=0)

    with av.open(str(tmp_path / "clip.mp4")) as clip:
        image = next(clip.decode(video=0)).to_ndarray(format="bgr24")
    assert image.shape == (122, 162, 3)
    np.testing.assert_allclose(image[-1, -1], (200, 200, 200), atol=4)


def test_image_of_another_size_is_refused(tmp_path: Path) -> None:
    """The message names both sizes; nothing is resized silently."""
    with VideoSink(tmp_path / "clip.mp4", width=64, height=48, rate=RATE) as sink:
        with pytest.raises(DataError, match=r"32x48 does not fit .* of 64x48"):
            sink.write(plain((0, 0, 0), width=32), seconds=0)
        sink.write(plain((0, 0, 0)), seconds=0)

    assert len(times(tmp_path / "clip.mp4")) == 1


@pytest.mark.parametrize(
    ("codec", "ending"), [("aac", "m4a"), ("aac", "ts"), ("libmp3lame", "mp3"), ("libopus", "webm")]
)
def test_audio_that_browsers_play_is_copied(tmp_path: Path, codec: str, ending: str) -> None:
    """Encoding again would lose quality."""
    tone = write_tone(tmp_path / f"tone.{ending}", codec=codec, rate=48000)

    path = write(tmp_path / "clip.mp4", audio=tone)

    given, kept = audio_packets(tone), audio_packets(path)
    header = (
        7 if ending == "ts" else 0
    )  # a transport stream puts 7 bytes before each AAC packet, which MP4 has once
    assert kept == [packet[header:] for packet in given]
    start, end = audio_span(path)
    assert abs(start) < 0.01
    assert end == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(
    ("codec", "ending", "rate"),
    [("pcm_s16le", "wav", 48000), ("pcm_s16le", "wav", 11111), ("flac", "flac", 96000)],
)
def test_other_audio_becomes_aac(tmp_path: Path, codec: str, ending: str, rate: int) -> None:
    """MP4 with PCM plays in editors only."""
    tone = write_tone(tmp_path / f"tone.{ending}", codec=codec, rate=rate)

    path = write(tmp_path / "clip.mp4", audio=tone)

    with av.open(str(path)) as clip:
        stream = clip.streams.audio[0]
        assert stream.codec_context.name == "aac"
        assert float(stream.duration * stream.time_base) == pytest.approx(1, abs=0.03)
        loudest = max(np.abs(frame.to_ndarray()).max() for frame in clip.decode(stream))
    assert loudest == pytest.approx(9000 / 32768, rel=0.1)
    assert abs(audio_span(path)[0]) < 0.001


def test_audio_stays_in_sync(tmp_path: Path) -> None:
    """A click in the middle of the audio is heard in the middle of the video.

    The encoder's delay is taken out.
    """
    samples = np.zeros(48000, np.int16)
    samples[24000:24480] = 20000
    with wave.open(str(tmp_path / "click.wav"), "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())

    path = write(tmp_path / "clip.mp4", audio=tmp_path / "click.wav")

    with av.open(str(path)) as clip:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in clip.decode(audio=0)])
    assert int(np.argmax(np.abs(heard) > 0.3)) == pytest.approx(24000, abs=100)


def test_silent_file_gives_a_silent_video(tmp_path: Path) -> None:
    """Most clips for inference have no audio, which is not an error."""
    path = write(tmp_path / "second.mp4", audio=write(tmp_path / "first.mp4"))

    with av.open(str(path)) as clip:
        assert not clip.streams.audio


def test_unreadable_audio_leaves_nothing(tmp_path: Path) -> None:
    """It is reported before hours of work."""
    (tmp_path / "audio.wav").write_bytes(b"no audio")

    with pytest.raises(DataError, match=r"audio\.wav cannot be read"):
        VideoSink(
            tmp_path / "clip.mp4", width=64, height=48, rate=RATE, audio=tmp_path / "audio.wav"
        )

    assert [path.name for path in tmp_path.iterdir()] == ["audio.wav"]


def write_until_interrupted(path: Path, count: int, *, audio: Path) -> None:
    with VideoSink(path, width=64, height=48, rate=Fraction(10), audio=audio) as sink:
        for index in range(count):
            sink.write(plain((0, 0, 0)), seconds=index / 10)
        raise KeyboardInterrupt


def test_interrupted_video_is_completed(tmp_path: Path) -> None:
    """It keeps the finished frames, plays, and its audio ends with its images."""
    path = tmp_path / "clip.mp4"
    tone = write_tone(tmp_path / "tone.wav", 5, rate=48000)

    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted(path, 10, audio=tone)

    assert len(times(path)) == 10
    assert audio_span(path)[1] == pytest.approx(1, abs=0.03)


def test_nothing_is_left_without_a_frame(tmp_path: Path) -> None:
    """An empty file would seem to be a result."""
    tone = write_tone(tmp_path / "tone.wav", rate=48000)

    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted(tmp_path / "clip.mp4", 0, audio=tone)

    assert list(tmp_path.iterdir()) == [tone]


def test_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """The message has the path."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(OutputError, match=r"cannot create the folder .*file"):
        VideoSink(tmp_path / "file" / "clip.mp4", width=64, height=48, rate=RATE)


FULL = """
import resource, signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from segdeploy.errors import OutputError
from segdeploy.video.reader import VideoSource
from segdeploy.video.writer import VideoSink

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8)
try:
    with VideoSink(Path(sys.argv[1]), width=64, height=48, rate=Fraction(25)) as sink:
        for index, image in enumerate(noise):
            sink.write(image, seconds=index / 25)
except OutputError as error:
    sys.exit(str(error))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="limits the size of a file")
def test_disk_that_fills_up_keeps_what_was_done(tmp_path: Path) -> None:
    """Wherever the space ends, also at the last byte, there is one message, no file that looks
    finished, and the frames so far.
    """
    path, part = tmp_path / "clip.mp4", tmp_path / "clip.mp4.part"

    fits = full(path, 10**7)
    size = path.stat().st_size
    path.unlink()
    assert fits.returncode == 0

    for limit, least in ((0, 0), (size // 2, 20), (size - 1, 48)):
        run = full(path, limit)

        assert re.match(rf"cannot (write|finish) {path}: File too large", run.stderr)
        assert "Traceback" not in run.stderr
        assert list(tmp_path.iterdir()) == ([part] if least else [])
        assert not least or len(list(VideoSource(part))) >= least
        part.unlink(missing_ok=True)


def full(path: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """Write a video where a file may have so many bytes."""
    return subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
