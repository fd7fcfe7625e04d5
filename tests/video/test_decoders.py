"""Hardware decoders are used where they exist, and are not required."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from segdeploy.cli.run_inputs import DECODERS
from segdeploy.errors import DataError, DeviceError
from segdeploy.video.decoder import HARDWARE
from segdeploy.video.reader import VideoSource
from segdeploy.video.writer import VideoSink


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames."""
    with VideoSink(
        tmp_path / "clip.mp4", width=320, height=240, rate=Fraction(25), threads=1
    ) as sink:
        for index in range(10):
            sink.write(np.full((240, 320, 3), 20 * index, np.uint8), seconds=index / 25)
    return tmp_path / "clip.mp4"


def images(clip: Path, decoder: str) -> list[bytes]:
    with VideoSource(clip, decoder=decoder) as source:
        return [frame.image.tobytes() for frame in source]


def test_auto_decodes_the_same_frames(clip: Path) -> None:
    """Whatever decoders this machine has."""
    assert images(clip, "auto") == images(clip, "cpu")


@pytest.mark.parametrize("decoder", HARDWARE)
def test_device_decodes_the_same_or_is_refused(clip: Path, decoder: str) -> None:
    """There is no silent fallback."""
    try:
        decoded = images(clip, decoder)
    except DeviceError as error:
        # A refusal is one of two valid outcomes.
        assert str(error).startswith(f"the decoder '{decoder}' does not decode")  # noqa: PT017
    else:
        assert decoded == images(clip, "cpu")


@pytest.mark.parametrize("decoder", ["cpu", "auto", "cuda"])
def test_bad_file_is_not_blamed_on_the_device(tmp_path: Path, decoder: str) -> None:
    """The message is about the file."""
    (tmp_path / "words.mp4").write_text("words")

    with pytest.raises(DataError, match=r"words\.mp4 cannot be read as a video"):
        VideoSource(tmp_path / "words.mp4", decoder=decoder)


def test_command_knows_all_decoders() -> None:
    """The command lists them without importing FFmpeg."""
    assert ("cpu", "auto", *HARDWARE) == DECODERS
