"""High dynamic range and wide gamuts are converted for SDR screens.

Expected numbers are worked out from the standards.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segdeploy.video.color import hlg_to_light, light_to_pq, pq_to_light, roll_off, to_sdr
from segdeploy.video.reader import VideoSource

PQ, HLG = 16, 18


def write(
    path: Path,
    levels: list[tuple[int, int, int]],
    *,
    transfer: int = PQ,
    size: tuple[int, int] = (640, 360),
) -> Path:
    """Write frames of one color each, (Y, Cb, Cr) of 10 bits, as HEVC with BT.2020 primaries."""
    width, height = size
    with av.open(str(path), "w") as output:
        stream = output.add_stream(
            "libx265",
            rate=25,
            options={
                "crf": "4",
                "preset": "ultrafast",
                "x265-params": "log-level=none:pools=1:bframes=0",
            },
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p10le"
        codec = stream.codec_context
        codec.color_trc, codec.color_primaries, codec.colorspace, codec.color_range = (
            transfer,
            (9 if transfer > 2 else 1),
            (9 if transfer > 2 else 1),
            1,
        )
        for index, color in enumerate(levels):
            frame = av.VideoFrame(width, height, "yuv420p10le")
            for plane, level in zip(frame.planes, color, strict=True):
                plane.update(np.full(plane.buffer_size // 2, level, np.uint16).tobytes())
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def gray(signal: float) -> tuple[int, int, int]:
    return round(64 + 876 * signal), 512, 512


@pytest.mark.parametrize(
    ("signal", "light"),
    [(0.0, 0.0), (0.5081, 100.0), (0.5807, 203.0), (0.7518, 1000.0), (1.0, 10000.0)],
)
def test_pq_matches_the_standard(signal: float, light: float) -> None:
    """The pairs are from ITU-R BT.2408, table 4 and in SMPTE ST 2084."""
    assert pq_to_light(np.array(signal)) == pytest.approx(light, rel=2e-3, abs=1e-6)
    assert light_to_pq(np.array(light)) == pytest.approx(signal, abs=2e-4)


def test_hlg_matches_the_standard() -> None:
    """75% is white of 203, and 100% is 1000 candelas (ITU-R BT.2408, table 1)."""
    light = hlg_to_light(np.array([[0.75] * 3, [1.0] * 3, [0.0] * 3]))

    np.testing.assert_allclose(light[:, 1], (203, 1000, 0), rtol=5e-3, atol=1e-6)


def test_dark_stays_and_bright_is_rolled_off() -> None:
    """The knee lies at 1.5 * 0.5807 / 0.7518 - 0.5 = 0.659 of PQ's 1000, which is 49 candelas.

    1000 becomes 203.
    """
    light = roll_off(np.array([0.0, 1.0, 40.0, 203.0, 1000.0, 4000.0]))

    np.testing.assert_allclose(light[:3], (0, 1, 40), atol=1e-6)
    assert 100 < light[3] < 203
    np.testing.assert_allclose(light[4:], 203, rtol=1e-6)


def test_gray_stays_gray_and_hues_stay() -> None:
    """Rows of the matrix sum up to 1.

    A red of the BT.709 gamut has no green after conversion to BT.2020 and back.
    """
    signal = light_to_pq(np.array([[30.0, 30.0, 30.0], [0.6274 * 40, 0.0691 * 40, 0.0164 * 40]]))

    screen = to_sdr(signal, PQ)

    np.testing.assert_allclose(screen[0], (30 / 203) ** (1 / 2.4), atol=1e-3)
    np.testing.assert_allclose(screen[1], ((40 / 203) ** (1 / 2.4), 0, 0), atol=0.06)


@pytest.mark.parametrize(
    ("transfer", "signal", "light"), [(PQ, 0.4401, 50.0 * 0.985), (HLG, 0.5, 50.6)]
)
def test_hdr_is_tone_mapped_and_reported(
    tmp_path: Path, transfer: int, signal: float, light: float
) -> None:
    """Middle tones keep their light.

    About 50 candelas are (50 / 203) ^ (1 / 2.4) = 0.558 of 255.
    """
    with VideoSource(write(tmp_path / "clip.mp4", [gray(signal)] * 3, transfer=transfer)) as source:
        frames = list(source)
        notes = source.notes

    assert len(frames) == 3
    np.testing.assert_allclose(frames[1].image[100, 100], 255 * (light / 203) ** (1 / 2.4), atol=3)
    name = "PQ" if transfer == PQ else "HLG"
    has = f"{tmp_path / 'clip.mp4'} has high dynamic range ({name}) and 10 bits a channel"
    assert notes == [f"{has}; it is converted to 8 bits and BT.709"]


def test_wide_red_is_red(tmp_path: Path) -> None:
    """The matrix of BT.2020 is undone before the colors are changed.

    R' 0.5 alone has Y 0.1314, Cb -0.0698, Cr 0.25.
    """
    level = (round(64 + 876 * 0.1314), round(512 + 896 * -0.0698), round(512 + 896 * 0.25))

    with VideoSource(write(tmp_path / "clip.mp4", [level])) as source:
        (frame,) = source

    blue, green, red = (int(value) for value in frame.image[100, 100])
    assert red > 150
    assert max(blue, green) < 20


def test_ten_bits_are_converted_to_eight(tmp_path: Path) -> None:
    """Gray of 50% in 10 bits is 502 of limited range, and 128 in 8; nothing is tone mapped."""
    with VideoSource(write(tmp_path / "clip.mp4", [gray(0.5)] * 3, transfer=1)) as source:
        frames = list(source)
        notes = source.notes

    np.testing.assert_allclose(frames[0].image[100, 100], 128, atol=1)
    assert notes[0].startswith(f"{tmp_path / 'clip.mp4'} has 10 bits a channel; ")


@pytest.mark.parametrize(("height", "matrix"), [(480, 5), (720, 1)])
def test_unspecified_colors_are_those_of_players(tmp_path: Path, height: int, matrix: int) -> None:
    """Standard definition has one matrix (BT.601), high definition another (BT.709).

    10 levels of green lie between them.
    """
    with av.open(str(tmp_path / "clip.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 640, height, "yuv420p"
        frame = av.VideoFrame(640, height, "yuv420p")
        for plane, level in zip(frame.planes, (120, 90, 180), strict=True):
            plane.update(np.full(plane.buffer_size, level, np.uint8).tobytes())
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    to_green = {1: (0.2132, 0.5329), 5: (0.3917, 0.8129)}[matrix]
    expected = 1.1644 * (120 - 16) - to_green[0] * (90 - 128) - to_green[1] * (180 - 128)

    with VideoSource(tmp_path / "clip.mp4") as source:
        (read,) = source

    assert int(read.image[100, 100, 1]) == pytest.approx(expected, abs=2)


def test_frames_of_another_size_are_resized_and_reported(tmp_path: Path) -> None:
    """Tone-mapped ones too are resized to the first one's size."""
    for name, size in (("a", (640, 360)), ("b", (320, 240))):
        write(tmp_path / f"{name}.hevc", [gray(0.44)] * 3, size=size)
    (tmp_path / "both.hevc").write_bytes(
        (tmp_path / "a.hevc").read_bytes() + (tmp_path / "b.hevc").read_bytes()
    )

    with VideoSource(tmp_path / "both.hevc") as source:
        frames = list(source)
        notes = source.notes

    assert [frame.image.shape for frame in frames] == [(360, 640, 3)] * 6
    np.testing.assert_allclose(frames[5].image[100, 100], frames[0].image[100, 100], atol=1)
    assert (
        notes[1]
        == f"3 frames of {tmp_path / 'both.hevc'} have another size than its first, and were"
        " resized to 640x360"
    )
