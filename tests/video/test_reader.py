"""A video is read as a player shows it.

Frames are upright, each at its own time, and damage is reported.
"""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segdeploy.arrays import Image
from segdeploy.errors import DataError
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Frame
from segdeploy.video.reader import VideoSource
from segdeploy.video.writer import VideoSink

RATE = Fraction(30000, 1001)


def quadrants(
    height: int = 48, width: int = 64, *, shades: tuple[int, int, int, int] = (40, 90, 150, 220)
) -> Image:
    """Return an image of four shades of gray: top left, top right, bottom left, bottom right."""
    image = np.empty((height, width, 3), np.uint8)
    rows, columns = (
        (slice(0, height // 2), slice(height // 2, None)),
        (slice(0, width // 2), slice(width // 2, None)),
    )
    for number, shade in enumerate(shades):
        image[rows[number // 2], columns[number % 2]] = shade
    return image


def write(
    path: Path, count: int = 20, *, rate: Fraction = RATE, aspect: Fraction = Fraction(1)
) -> Path:
    """Write frames of growing brightness."""
    with VideoSink(
        path, width=64, height=48, rate=rate, aspect=aspect, encoding=Encoding(crf=10)
    ) as sink:
        for index in range(count):
            sink.write(np.full((48, 64, 3), 20 + 10 * index, np.uint8), seconds=float(index / rate))
    return path


def read(path: Path) -> list[Frame]:
    with VideoSource(path) as source:
        return list(source)


def test_frames_come_in_order_at_their_times(tmp_path: Path) -> None:
    """Index, time and image belong together."""
    path = write(tmp_path / "clip.mp4")

    with VideoSource(path) as source:
        frames = list(source)

        assert (source.width, source.height, source.rate, source.frames, source.aspect) == (
            64,
            48,
            RATE,
            20,
            1,
        )
        assert (source.skipped, source.losses) == (0, [])
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose(
        [frame.seconds for frame in frames],
        [index * 1001 / 30000 for index in range(20)],
        atol=1e-6,
    )
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.image[24, 32], 20 + 10 * frame.index, atol=5)


def test_variable_times_are_kept(tmp_path: Path) -> None:
    """The time of a frame is the container's, not its number over the rate."""
    given = [0.0, 0.033, 0.5, 0.533, 2.0]
    with VideoSink(tmp_path / "clip.mp4", width=64, height=48, rate=Fraction(25)) as sink:
        for seconds in given:
            sink.write(quadrants(), seconds=seconds)

    np.testing.assert_allclose(
        [frame.seconds for frame in read(tmp_path / "clip.mp4")], given, atol=1e-4
    )


def test_time_begins_with_the_file(tmp_path: Path) -> None:
    """A transport stream's clock starts anywhere; our times start at 0."""
    with av.open(str(tmp_path / "clip.ts"), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(quadrants(), format="bgr24")
            frame.pts, frame.time_base = 1000 + index, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    np.testing.assert_allclose(
        [frame.seconds for frame in read(tmp_path / "clip.ts")],
        [0, 0.04, 0.08, 0.12, 0.16],
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), (40, 90, 150, 220)),
        ((0, 1, -1, 0), (150, 40, 220, 90)),  # a quarter turn clockwise
        ((-1, 0, 0, -1), (220, 150, 90, 40)),
        ((0, -1, 1, 0), (90, 220, 40, 150)),  # a quarter turn counter-clockwise
        ((-1, 0, 0, 1), (90, 40, 220, 150)),  # a mirror, as of a camera that looks at its user
        ((1, 0, 0, -1), (150, 220, 40, 90)),
        ((0, 1, 1, 0), (40, 150, 90, 220)),
        ((0, -1, -1, 0), (220, 90, 150, 40)),
    ],
)
def test_rotated_clip_is_read_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], expected: tuple[int, int, int, int]
) -> None:
    """A phone stores the sensor's image and its orientation."""
    with VideoSink(
        tmp_path / "clip.mp4", width=64, height=48, rate=RATE, encoding=Encoding(crf=5)
    ) as sink:
        sink.write(quadrants(), seconds=0)
    content = bytearray((tmp_path / "clip.mp4").read_bytes())
    a, b, c, d = (number << 16 for number in matrix)
    # The matrix stands 40 bytes behind the name of the track's header (ISO/IEC 14496-12, 8.3.2).
    struct.pack_into(">9i", content, content.find(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "clip.mp4").write_bytes(content)

    with VideoSource(tmp_path / "clip.mp4") as source:
        (frame,) = list(source)

        assert frame.image.shape == (source.height, source.width, 3)
    size = (64, 48) if matrix[0] == 0 else (48, 64)
    assert frame.image.shape[:2] == size
    np.testing.assert_allclose(frame.image, quadrants(*size, shades=expected), atol=40)
    height, width = size
    for row, column in ((8, 8), (8, width - 8), (height - 8, 8), (height - 8, width - 8)):
        np.testing.assert_allclose(
            frame.image[row, column], quadrants(*size, shades=expected)[row, column], atol=4
        )


def test_pixel_aspect_is_read(tmp_path: Path) -> None:
    """Pixels of analog television are not square; without the aspect, a copy looks squeezed."""
    with VideoSource(write(tmp_path / "clip.mp4", aspect=Fraction(16, 15))) as source:
        assert source.aspect == Fraction(16, 15)


def test_stream_that_changes_its_size_keeps_the_first(tmp_path: Path) -> None:
    """All frames of a video must have one size."""
    for name, size in (("a", (64, 48)), ("b", (96, 80))):
        with av.open(str(tmp_path / f"{name}.h264"), "w") as output:
            stream = output.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for _ in range(3):
                output.mux(
                    stream.encode(
                        av.VideoFrame.from_ndarray(quadrants(size[1], size[0]), format="bgr24")
                    )
                )
            output.mux(stream.encode(None))
    (tmp_path / "both.h264").write_bytes(
        (tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes()
    )

    frames = read(tmp_path / "both.h264")

    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 6
    assert [frame.seconds for frame in frames] == sorted({frame.seconds for frame in frames})


def test_single_frame_is_a_video(tmp_path: Path) -> None:
    """Nothing divides by the time between frames."""
    (frame,) = read(write(tmp_path / "clip.mp4", count=1))

    assert (frame.index, frame.seconds) == (0, 0.0)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.99])
def test_truncated_file_returns_its_good_frames_and_reports_the_rest(
    tmp_path: Path, share: float
) -> None:
    """An interrupted download is useful if the missing part is reported."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)
    with VideoSink(tmp_path / "whole.mp4", width=64, height=48, rate=RATE) as sink:
        for index, image in enumerate(noise):
            sink.write(image, seconds=float(index / RATE))
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: int(len(content) * share)])
    whole = read(tmp_path / "whole.mp4")

    with VideoSource(tmp_path / "cut.mp4") as source:
        frames = list(source)

        assert len(frames) + source.skipped == 40
        assert source.skipped > 0
        count = "1 frame" if source.skipped == 1 else f"{source.skipped} frames"
        assert source.losses == [
            f"{source.path} is damaged: {count} could not be decoded and had to be left out"
        ]
    assert frames
    for frame, good in zip(frames[:-1], whole, strict=False):
        np.testing.assert_array_equal(frame.image, good.image)


def test_truncated_webm_reports_about_how_much_is_missing(tmp_path: Path, real: Path) -> None:
    """WebM has no index to count by; its duration shows it: 30 frames in 1.001 seconds."""
    content = (real / "video" / "odd_size_vp9.webm").read_bytes()
    (tmp_path / "cut.webm").write_bytes(content[: int(len(content) * 0.6)])

    with VideoSource(tmp_path / "cut.webm") as source:
        frames = list(source)

        assert len(frames) + source.skipped == 30


@pytest.mark.slow
def test_damaged_part_is_skipped_and_counted(real: Path) -> None:
    """One packet of fifty is broken: where other readers stop after 28 frames, 49 are there."""
    with VideoSource(real / "video" / "corrupted.mp4") as source:
        frames = sum(1 for _ in source)

        assert (frames, source.skipped) == (49, 1)


@pytest.mark.parametrize(
    ("name", "shape", "rate", "count"),
    [
        ("dashcam_short.mp4", (720, 1280, 3), Fraction(25), 38),
        ("odd_size_vp9.webm", (121, 161, 3), Fraction(2997, 100), 30),
        pytest.param("rotated_270.mp4", (1280, 720, 3), RATE, 149, marks=pytest.mark.slow),
    ],
)
def test_real_clips_are_read_completely(
    real: Path, name: str, shape: tuple[int, int, int], rate: Fraction, count: int
) -> None:
    """With audio, odd sides, rotated by the phone."""
    with VideoSource(real / "video" / name) as source:
        shapes = [frame.image.shape for frame in source]

        assert (source.rate, source.frames, source.skipped) == (rate, count, 0)
    assert shapes == [shape] * count


def test_file_without_a_good_frame_is_refused(tmp_path: Path) -> None:
    """An empty result would seem to be one."""
    content = write(tmp_path / "clip.mp4").read_bytes()
    start = content.find(b"mdat") + 4
    (tmp_path / "clip.mp4").write_bytes(content[:start] + bytes(len(content) - start))

    with pytest.raises(DataError, match=r"no frame of .*clip\.mp4 can be decoded"):
        VideoSource(tmp_path / "clip.mp4")


def test_file_without_any_frame_is_refused(tmp_path: Path) -> None:
    """A recorder that lost power leaves a header only."""
    with av.open(str(tmp_path / "clip.mkv"), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        output.start_encoding()

    with pytest.raises(DataError, match=r"clip\.mkv cannot be read as a video \(End of file\)"):
        VideoSource(tmp_path / "clip.mkv")


@pytest.mark.parametrize("content", [b"", b"these are words and no video", bytes(4096)])
def test_file_that_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    """The message has the name."""
    (tmp_path / "clip.mp4").write_bytes(content)

    with pytest.raises(DataError, match=r"clip\.mp4 cannot be read as a video"):
        VideoSource(tmp_path / "clip.mp4")


def test_truncated_index_is_refused(tmp_path: Path) -> None:
    """Without its index an MP4 file cannot be decoded."""
    content = write(tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(content[: content.find(b"mdat") - 100])

    with pytest.raises(DataError, match="clip"):
        VideoSource(tmp_path / "clip.mp4")


def test_missing_file_is_reported(tmp_path: Path) -> None:
    """So is a folder."""
    for path in (tmp_path / "clip.mp4", tmp_path):
        with pytest.raises(DataError, match="there is no video"):
            VideoSource(path)


def test_audio_file_is_refused(tmp_path: Path) -> None:
    """It is a file that FFmpeg reads, and still shows nothing."""
    with av.open(str(tmp_path / "audio.wav"), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))

    with pytest.raises(DataError, match="has no video stream"):
        VideoSource(tmp_path / "audio.wav")
