"""Each codec has its own settings, and what it writes is decoded correctly."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segdeploy.errors import ConfigError
from segdeploy.video.codecs import CODECS, Encoding
from segdeploy.video.reader import VideoSource
from segdeploy.video.writer import VideoSink

COLOR = (40, 90, 200)


@pytest.mark.parametrize("codec", list(CODECS))
def test_codec_keeps_frames_times_and_colors(
    codec: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """29.97 frames per second stay exact, and the encoder prints nothing."""
    rate = Fraction(30000, 1001)
    with VideoSink(
        tmp_path / "clip.mp4",
        width=130,
        height=98,
        rate=rate,
        encoding=Encoding(codec=codec),
        threads=1,
    ) as sink:
        for index in range(12):
            sink.write(np.full((98, 130, 3), COLOR, np.uint8), seconds=float(index / rate))

    with VideoSource(tmp_path / "clip.mp4") as source:
        frames = list(source)
        assert source.rate == rate
    assert [frame.seconds for frame in frames] == pytest.approx(
        [float(index / rate) for index in range(12)], abs=2e-5
    )
    np.testing.assert_allclose(frames[5].image[50, 60], COLOR, atol=4)
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        assert (
            clip.streams.video[0].codec_context.codec_tag
            == {"h264": "avc1", "hevc": "hvc1", "av1": "av01", "vp9": "vp09"}[codec]
        )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"codec": "divx"}, "there is no codec 'divx'; choose from h264, hevc, av1, vp9"),
        ({"crf": 52}, r"the crf is 52; that of h264 must be within 0 and 51 \(default 23\)"),
        ({"codec": "av1", "crf": 64}, "that of av1 must be within 0 and 63"),
        (
            {"codec": "av1", "preset": "veryfast"},
            "av1 has no preset 'veryfast'; choose from 11, 10",
        ),
        ({"preset": "8"}, "h264 has no preset '8'"),
    ],
)
def test_settings_of_another_codec_are_refused(values: dict[str, str], sentence: str) -> None:
    """An encoder would accept the wrong scale silently."""
    with pytest.raises(ConfigError, match=sentence):
        Encoding(**values)  # type: ignore[arg-type]


def test_a_named_preset_is_the_encoders_own() -> None:
    """What the default leaves out of a preset, `--preset` names whole."""
    default, named = Encoding().options(1), Encoding(preset="superfast").options(1)

    assert named == {"crf": "23", "preset": "superfast"}
    assert default == {**named, "bf": "0", "weightp": "none", "8x8dct": "0", "subq": "0"}
    assert CODECS["h264"].default_preset == "superfast without B-frames"


@pytest.mark.parametrize(
    ("encoding", "faster"),
    [
        (Encoding(), "ultrafast"),
        (Encoding(preset="medium"), "fast"),
        (Encoding(preset="ultrafast"), None),
        (Encoding(codec="av1"), "10"),
    ],
)
def test_the_next_faster_preset(encoding: Encoding, faster: str | None) -> None:
    """A run that waits for its encoder names it."""
    assert encoding.faster_preset == faster


@pytest.mark.parametrize("codec", list(CODECS))
def test_quality_and_speed_reach_the_encoder(codec: str, tmp_path: Path) -> None:
    """A value that is not passed on would be an option without effect."""
    sizes = []
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    for crf in (10, 45):
        encoding = Encoding(codec=codec, crf=crf, preset=CODECS[codec].presets[0])
        with VideoSink(
            tmp_path / f"{crf}.mp4",
            width=128,
            height=96,
            rate=Fraction(25),
            encoding=encoding,
            threads=1,
        ) as sink:
            for index in range(3):
                sink.write(np.roll(image, index, 1), seconds=index / 25)
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)

    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("codec", list(CODECS))
def test_shortest_clips_are_complete(codec: str, count: int, tmp_path: Path) -> None:
    """An encoder that buffers frames must not fail where there are fewer.

    Libx265 did every fifth time.
    """
    for _ in range(4):
        with VideoSink(
            tmp_path / "clip.mp4",
            width=64,
            height=64,
            rate=Fraction(25),
            encoding=Encoding(codec=codec),
            threads=1,
        ) as sink:
            for index in range(count):
                sink.write(np.full((64, 64, 3), COLOR, np.uint8), seconds=index / 25)

        with VideoSource(tmp_path / "clip.mp4") as source:
            assert [frame.seconds for frame in source] == pytest.approx(
                [index / 25 for index in range(count)]
            )
