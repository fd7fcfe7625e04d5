"""Missing or wrong bytes anywhere in a file.

The intact frames are read, the others are counted, or one sentence says that there are none.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from segdeploy.errors import DataError
from segdeploy.video.reader import VideoSource

FRAMES = 30


def write(path: Path, encoder: str) -> bytes:
    """Write frames of noise, so that every byte matters, with audio."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.gop_size = 8
        audio = output.add_stream(
            "aac" if path.suffix != ".webm" else "libopus", rate=48000, layout="mono"
        )
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(
                random.integers(0, 256, (48, 64, 3), np.uint8), format="bgr24"
            )
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(stream.encode(frame))
            tone = av.AudioFrame.from_ndarray(
                random.integers(-9000, 9000, (1, 1920), np.int16), format="s16", layout="mono"
            )
            tone.sample_rate, tone.pts, tone.time_base = 48000, 1920 * index, Fraction(1, 48000)
            output.mux(audio.encode(tone))
        output.mux(stream.encode(None))
        output.mux(audio.encode(None))
    return path.read_bytes()


@pytest.fixture(
    scope="module",
    params=[("mp4", "libx264"), ("mkv", "libx264"), ("ts", "libx264"), ("webm", "libvpx-vp9")],
    ids=lambda one: one[0],
)
def clip(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, bytes]:
    """A complete file of each container, and the path of a damaged copy."""
    ending, encoder = request.param
    path = tmp_path_factory.mktemp("damage") / f"clip.{ending}"
    return path, write(path, encoder)


def read(path: Path, content: bytes) -> tuple[int, int] | None:
    """Return how many frames were read and how many are reported missing.

    None where the file is refused.
    """
    path.write_bytes(content)
    try:
        with VideoSource(path) as source:
            frames = list(source)
            lost = source.skipped
    except DataError as error:
        # A refusal is one of two valid outcomes.
        assert "\n" not in str(error)  # noqa: PT017
        return None
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(frame.image.shape == (48, 64, 3) for frame in frames)
    assert bool(source.losses) == (lost > 0)
    return len(frames), lost


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=some.floats(0, 1))
def test_file_truncated_anywhere(clip: tuple[Path, bytes], share: float) -> None:
    """An interrupted download, a full memory card."""
    path, content = clip

    found = read(path, content[: round(share * len(content))])

    if share == 1:
        assert found == (FRAMES, 0)
    if found is not None:
        assert 0 < found[0] <= FRAMES
        # An MP4 file whose index comes last has nothing without its end; one with a complete index
        # lists every frame.
        assert found[0] + found[1] <= FRAMES + 1


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    places=some.lists(
        some.tuples(some.floats(0, 0.999), some.integers(1, 255)), min_size=1, max_size=20
    )
)
def test_wrong_bytes(clip: tuple[Path, bytes], places: list[tuple[float, int]]) -> None:
    """A bad disk changes bytes anywhere, also in headers and indices."""
    path, content = clip
    damaged = bytearray(content)
    for share, change in places:
        damaged[int(share * len(damaged))] ^= change

    found = read(path, bytes(damaged))

    assert found is None or found[0] > 0


def test_film_without_a_readable_frame_is_refused(tmp_path: Path) -> None:
    """Its index says how long it is, and every packet is damaged."""
    path = tmp_path / "clip.mp4"
    content = write(path, "libx264")
    start = content.index(b"mdat")
    size = int.from_bytes(content[start - 4 : start])

    assert read(path, content[: start + 4] + bytes(size - 8) + content[start - 4 + size :]) is None
