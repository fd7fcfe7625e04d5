"""Keys in a window, and results in a pipe."""

import io
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from segdeploy.arrays import Image
from segdeploy.errors import OutputError
from segdeploy.imaging.overlay import MASK, OVERLAY
from segdeploy.video.frames import Frame, SegmentedFrame
from segdeploy.video.pipe import pipe_outputs
from segdeploy.video.run_options import Selection
from segdeploy.video.viewer import ScreenWindow, Viewer


class FakeWindow:
    """A window with prepared key presses."""

    def __init__(self, *keys: str) -> None:
        self._keys = list(keys)
        self.shown: list[Image] = []
        self.waits: list[int] = []

    def show(self, image: Image) -> None:
        self.shown.append(image)

    def key(self, wait: int) -> str:
        self.waits.append(wait)
        return self._keys.pop(0) if self._keys else ""

    def close(self) -> None:
        pass


class FakeVideo:
    """Five by three pixels, 30000/1001 frames a second."""

    name = "video"
    width, height = 5, 3
    rate = Fraction(30000, 1001)
    aspect = Fraction(1)
    audio: Path | None = None
    selection = Selection()


def result(index: int = 0, level: int = 100) -> SegmentedFrame:
    image = np.full((3, 5, 3), level, np.uint8)
    frame = Frame(image=image, index=index, seconds=0.0)
    return SegmentedFrame(
        frame=frame,
        mask=np.full((3, 5), level % 7, np.uint8),
        confidence=None,
        drawn={OVERLAY: image},
        stage_seconds={},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a screen")
def test_missing_screen_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server has none, and Qt would end the process without our message."""
    for name in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":987")

    with pytest.raises(OutputError, match="leave out --show"):
        ScreenWindow()


def test_shows_each_result(tmp_path: Path) -> None:
    """Without a key press it does not wait."""
    window = FakeWindow()
    viewer = Viewer(window, tmp_path, stop=lambda: pytest.fail("q was not pressed"))

    viewer.show_result(result(level=1))
    viewer.show_result(result(level=2))

    assert [int(image[0, 0, 0]) for image in window.shown] == [1, 2]
    assert window.waits == [1, 1]


def test_space_pauses_until_space(tmp_path: Path) -> None:
    """Meanwhile s saves the image."""
    window = FakeWindow(" ", "", "s", "", " ")
    viewer = Viewer(window, tmp_path, stop=lambda: pytest.fail("q was not pressed"))

    viewer.show_result(result(index=7))

    assert window.waits == [1, 50, 50, 50, 50]
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "shown-000007.png")), result().drawn[OVERLAY]
    )


@pytest.mark.parametrize("keys", [("q",), (" ", "q")])
def test_q_stops(tmp_path: Path, keys: tuple[str, ...]) -> None:
    """Also while paused."""
    stops: list[str] = []

    Viewer(FakeWindow(*keys), tmp_path, stop=lambda: stops.append("q")).show_result(result())

    assert stops == ["q"]


def test_y4m_is_read_back() -> None:
    """Odd sizes, the rate and the colors come through."""
    pipe = io.BytesIO()

    with pipe_outputs(FakeVideo(), pipe, kind=OVERLAY, form="y4m") as outputs:
        for level in (50, 200):
            outputs.write(result(level=level))

    assert pipe.getvalue().startswith(b"YUV4MPEG2 W5 H3 F30000:1001")
    pipe.seek(0)
    with av.open(pipe) as container:
        frames = list(container.decode(video=0))
    assert [int(frame.to_ndarray(format="bgr24")[1, 1, 1]) for frame in frames] == pytest.approx(
        [50, 200], abs=2
    )


@pytest.mark.parametrize(
    ("kind", "expected"), [(OVERLAY, bytes([9]) * 45), (MASK, bytes([2]) * 15)]
)
def test_raw_rows(kind: str, expected: bytes) -> None:
    """Three bytes a pixel of an overlay, one of a mask."""
    pipe = io.BytesIO()

    with pipe_outputs(FakeVideo(), pipe, kind=kind, form="raw") as outputs:
        outputs.write(result(level=9))
        outputs.write(result(level=9))

    assert pipe.getvalue() == 2 * expected


def test_masks_as_gray_y4m() -> None:
    """The numbers themselves, in a file of brightness alone."""
    pipe = io.BytesIO()

    with pipe_outputs(FakeVideo(), pipe, kind=MASK, form="y4m") as outputs:
        outputs.write(result(level=9))

    assert pipe.getvalue().endswith(b"FRAME\n" + bytes([2]) * 15)


def test_closed_pipe_is_reported() -> None:
    """`| head` closes it early."""

    class Closed(io.BytesIO):
        def write(self, _data: object) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with (
        pytest.raises(OutputError, match="the pipe was closed by its reader"),
        pipe_outputs(FakeVideo(), Closed(), kind=OVERLAY, form="raw") as outputs,
    ):
        outputs.write(result())
