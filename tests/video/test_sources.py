"""A source is opened by what the user names."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.errors import ConfigError, DataError, SegdeployError
from segdeploy.video.run_options import Selection
from segdeploy.video.sources import OpenedSource, open_camera, open_images, open_source
from segdeploy.video.writer import VideoSink


def never() -> bool:
    return False


def open_text(
    text: str, *, pipe: bytes = b"", raw: str | None = None, selection: Selection | None = None
) -> OpenedSource:
    return open_source(
        text, selection=selection or Selection(), raw=raw, pipe=io.BytesIO(pipe), should_stop=never
    )


def levels(opened: OpenedSource) -> list[int]:
    with opened:
        return [int(frame.image[3, 3, 0]) for frame in opened.source]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images and a note in a folder."""
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"p{number}.png"), np.full((8, 8, 3), 10 * number, np.uint8))
    (tmp_path / "notes.md").write_text("no image")
    return tmp_path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Five frames."""
    with VideoSink(tmp_path / "clip.mp4", width=64, height=48, rate=Fraction(25)) as sink:
        for index in range(5):
            sink.write(np.full((48, 64, 3), 40 * index, np.uint8), seconds=index / 25)
    return tmp_path / "clip.mp4"


def test_images_by_file_folder_pattern_and_list(images: Path) -> None:
    """Four notations for the same images; a pattern takes images only."""
    (images / "list.txt").write_text("# the best\np2.png\n\np0.png\n")

    assert levels(open_text(str(images / "p1.png"))) == [10]
    assert levels(open_text(str(images))) == [0, 10, 20]
    assert levels(open_text(str(images / "*"))) == [0, 10, 20]
    assert levels(open_text(str(images / "p[12].png"))) == [10, 20]
    assert levels(open_text(str(images / "list.txt"))) == [20, 0]


def test_name_that_is_too_long_is_none(images: Path) -> None:
    """The system refuses to look for it; a list is somebody else's."""
    (images / "list.txt").write_text("p0.png\n" + "a" * 5000)

    with pytest.raises(DataError, match=r"there is no .*aaa"):
        open_text(str(images / "list.txt"))


def test_name_with_brackets_is_a_name(images: Path) -> None:
    """A phone's "IMG (1) [edited].png" is not a pattern."""
    (images / "p1.png").rename(images / "a [edited].png")

    assert levels(open_text(str(images / "a [edited].png"))) == [10]


def test_every_other_image(images: Path) -> None:
    """Stride and number count images; times are refused."""
    assert levels(open_images([images], selection=Selection(stride=2))) == [0, 20]
    assert levels(open_images([images], selection=Selection(max_frames=1))) == [0]
    with pytest.raises(ConfigError, match="images have no time"):
        open_images([images], selection=Selection(start=1))


def test_video_file_is_a_video(clip: Path) -> None:
    """It has its own name, and every frame is read."""
    opened = open_text(str(clip))

    assert opened.info is not None
    assert opened.info.name == "clip"
    assert not opened.live
    assert levels(opened) == pytest.approx([0, 40, 80, 120, 160], abs=3)


def test_raw_frames_through_a_pipe() -> None:
    """Only the user knows their format."""
    rows = b"".join(np.full((6, 8, 3), 50 * index, np.uint8).tobytes() for index in range(4))

    opened = open_text("-", pipe=rows, raw="8x6:bgr24@10")

    assert opened.info is not None
    assert (opened.info.width, opened.info.height, opened.info.rate, opened.info.audio) == (
        8,
        6,
        10,
        None,
    )
    with opened:
        frames = list(opened.source)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 50, 100, 150]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_y4m_through_a_pipe() -> None:
    """Two frames of 4:2:0, gray 16 + 219 * 0.5."""
    frame = b"FRAME\n" + bytes([126]) * 64 + bytes([128]) * 32
    opened = open_text("-", pipe=b"YUV4MPEG2 W8 H8 F30000:1001 Ip A1:1 C420mpeg2\n" + 2 * frame)

    assert opened.info is not None
    assert opened.info.rate == Fraction(30000, 1001)
    assert levels(opened) == pytest.approx([128, 128], abs=1)


def test_mjpeg_through_a_pipe() -> None:
    """Images as a camera sends them, one after the other."""
    stream = b"".join(
        cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1].tobytes()
        for level in (30, 90, 150)
    )

    assert levels(open_text("-", pipe=stream)) == pytest.approx([30, 90, 150], abs=2)


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_address_of_a_file_is_a_video(clip: Path) -> None:
    """It has a duration: every frame is read, none is dropped."""
    content = clip.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as address:
        opened = open_text(f"{address}/videos/drive.mp4?key=1")
        assert opened.info is not None
        assert (opened.live is not None, opened.info.name) == (False, "drive")
        assert len(levels(opened)) == 5


def test_address_of_a_camera_is_live() -> None:
    """The stream is endless; two frames are selected."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for _ in range(500):
                    jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
                    self.wfile.write(
                        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                        % len(jpeg)
                        + jpeg
                        + b"\r\n"
                    )
                    threading.Event().wait(0.005)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as address:
        opened = open_text(f"{address}/door", selection=Selection(max_frames=2))
        assert opened.info is not None
        assert (opened.live is not None, opened.info.name) == (True, "door")
        assert levels(opened) == pytest.approx([90, 90], abs=2)


@pytest.mark.parametrize(
    ("text", "raw", "sentence"),
    [
        ("nothing.mp4", None, "there is no video nothing.mp4"),
        ("nothing/*.jpg", None, r"no file matches nothing/\*\.jpg"),
        ("nothing.txt", None, "nothing.txt cannot be read as a list of paths"),
        ("-", None, "standard input is not a video"),
        ("-", "8x6", "'8x6' does not describe raw frames"),
        ("-", "8x6:purple", "'8x6:purple' does not describe raw frames"),
        ("http://127.0.0.1:9/door", None, "no video can be read from http://127.0.0.1:9/door"),
    ],
)
def test_bad_names_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, raw: str | None, sentence: str
) -> None:
    """The message says what is wrong and what to do."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SegdeployError, match=sentence):
        open_text(text, raw=raw)


def test_missing_camera(capfd: pytest.CaptureFixture[str]) -> None:
    """Our message only, none of OpenCV's."""
    with pytest.raises(DataError, match="camera 97 cannot be opened"):
        open_camera(97, selection=Selection(), should_stop=never)

    assert capfd.readouterr().err == ""
