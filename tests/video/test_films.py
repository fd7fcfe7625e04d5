"""Films of all encoders and containers: the right frames at the right times, in and out."""

import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.codec import Codec

from segdeploy.video.codecs import CODECS, Encoding
from segdeploy.video.frames import Frame
from segdeploy.video.reader import VideoSource
from segdeploy.video.writer import VideoSink

CONTAINERS = ("mp4", "mkv", "webm", "mov", "avi", "ts", "flv")

CLOCKS = {
    "1/25": (Fraction(1, 25), 1),
    "1001/30000": (Fraction(1001, 30000), 1),
    "1/90000": (Fraction(1, 90000), 3600),
}
"""Time bases, and the ticks between two frames."""

CONSTANT = tuple(range(12))
VARIABLE = (0, 1, 2, 5, 6, 8, 9, 10, 18, 19, 20, 22)
"""When each frame is shown, in multiples of the nominal time between two."""

NO_SOFTWARE = ("nvenc", "amf", "qsv", "v4l2m2m", "vaapi", "videotoolbox", "mf", "d3d12va", "vulkan")
"""Parts of the names of encoders that need hardware."""


def shade(index: int) -> int:
    return 20 + 18 * index


def make(path: Path, encoder: str, base: Fraction, step: int, times: Sequence[int]) -> None:
    """Write frames of growing brightness; raises where the container does not take the codec."""
    formats = [kind.name for kind in Codec(encoder, "w").video_formats or ()]
    pixels = "yuv420p" if "yuv420p" in formats or not formats else formats[0]
    with av.open(str(path), "w") as output:
        stream = output.add_stream(encoder, rate=1 / (base * step), options=quiet(encoder))
        stream.width, stream.height, stream.pix_fmt = 176, 144, pixels
        stream.codec_context.time_base = base
        for index, time in enumerate(times):
            image = np.full((144, 176, 3), shade(index), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base, frame.duration = time * step, base, step
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def quiet(encoder: str) -> dict[str, str]:
    return {"x265-params": "log-level=none"} if encoder == "libx265" else {}


def check(frames: Sequence[Frame], times: Sequence[float]) -> None:
    """Assert that the frames are those written, each at its time from the first one on."""
    shown = [frame.seconds - frames[0].seconds for frame in frames]
    # Some containers store milliseconds.
    np.testing.assert_allclose(shown, times, atol=1.2e-3)
    for index, frame in enumerate(frames):
        assert abs(float(frame.image.mean()) - shade(index)) < 9


def check_film(path: Path, times: Sequence[float]) -> None:
    """Assert that a film is read as it was written, and written as it was read."""
    with VideoSource(path) as source:
        frames = list(source)
        assert source.losses == []
    check(frames, times)
    written = path.with_name("written.mp4")
    with VideoSink(written, width=176, height=144, rate=source.rate, frames=len(frames)) as sink:
        for frame in frames:
            sink.write(frame.image, seconds=frame.seconds, duration=frame.duration)
    with VideoSource(written) as source:
        again = list(source)
    assert [frame.seconds for frame in again] == pytest.approx(
        [frame.seconds for frame in frames], abs=2e-5
    )


@pytest.mark.parametrize(
    ("encoder", "container", "clock"),
    [
        *product(["libx264"], ["mp4", "mkv", "mov", "avi", "ts", "flv"], CLOCKS),
        *product(["libvpx-vp9"], ["webm"], CLOCKS),
        ("mpeg2video", "ts", "1001/30000"),
        ("mpeg4", "avi", "1/25"),
        ("tiff", "mov", "1/25"),
    ],
)
def test_film_is_read_and_written(tmp_path: Path, encoder: str, container: str, clock: str) -> None:
    """The containers that cameras, editors and the web use, with frames stored out of order.

    TIFF has data beside its frames that PyAV does not know.
    """
    base, step = CLOCKS[clock]
    # AVI has no times, only a rate.
    times = CONSTANT if container == "avi" else VARIABLE
    path = tmp_path / f"film.{container}"
    make(path, encoder, base, step, times)

    check_film(path, [float(time * step * base) for time in times])


def encoders() -> list[str]:
    """Return the video encoders of this FFmpeg that need no hardware."""
    found = []
    for name in sorted(av.codecs_available):
        try:
            codec = Codec(name, "w")
        except ValueError:
            continue
        if codec.type == "video" and not any(part in name for part in NO_SOFTWARE):
            found.append(name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("encoder", encoders())
def test_film_of_every_encoder(tmp_path: Path, encoder: str) -> None:
    """Whatever FFmpeg writes: each container that takes it, each clock, even and uneven times."""
    os.environ.setdefault("SVT_LOG", "1")
    for container in CONTAINERS:
        for base, step in CLOCKS.values():
            for times in (CONSTANT, VARIABLE):
                path = tmp_path / f"film.{container}"
                try:
                    make(path, encoder, base, step, times)
                    with av.open(str(path)) as clip:
                        count = sum(1 for _ in clip.decode(video=0))
                except (av.FFmpegError, ValueError, IndexError, AttributeError):
                    continue
                if count == len(times) and not (container == "avi" and times == VARIABLE):
                    check_film(path, [float(time * step * base) for time in times])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", [Fraction(1, 10), Fraction(30000, 1001)])
def test_last_frame_lasts(tmp_path: Path, codec: str, rate: Fraction) -> None:
    """A slide that stays for three seconds at the end of a film, however slow the film is."""
    path = tmp_path / "slides.mp4"
    encoding = Encoding(codec=codec, preset=CODECS[codec].presets[0])
    with VideoSink(path, width=64, height=48, rate=rate, encoding=encoding) as sink:
        for index in range(8):
            image = np.full((48, 64, 3), 20 * index, np.uint8)
            sink.write(image, seconds=float(index / rate), duration=3.0)

    with VideoSource(path) as source:
        frames = list(source)
    assert [frame.seconds for frame in frames] == pytest.approx(
        [float(index / rate) for index in range(8)], abs=2e-5
    )
    assert frames[-1].duration == pytest.approx(3, abs=1e-3)
    with av.open(str(path)) as clip:
        assert clip.duration is not None
        assert clip.duration / av.time_base == pytest.approx(float(7 / rate) + 3, abs=2e-3)
