"""Streams: every kind of source, in order, in threads that end."""

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdeploy.api.network import Network
from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.errors import ConfigError, DataError, SegdeployError
from segdeploy.imaging.io import write_image
from tests.helpers.backends import ChannelBackend
from tests.helpers.clips import gray_frames, write_clip
from tests.helpers.http import serve_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with images/a.png ... c.png, list.txt, and clip.mp4 of 12 frames."""
    path = tmp_path_factory.mktemp("sources")
    (path / "images").mkdir()
    for index, name in enumerate("abc"):
        write_image(path / "images" / f"{name}.png", np.full((8, 9, 3), index, np.uint8))
    (path / "list.txt").write_text("images/a.png\nimages/c.png\n")
    write_clip(path / "clip.mp4", gray_frames(12))
    return path


@pytest.fixture
def net() -> Network:
    """Return a network whose classes are the strongest colors."""
    return Network(ChannelBackend())


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Whatever a test does with a stream, its threads end."""
    yield
    end = time.monotonic() + 5
    while any(thread.name.startswith("segdeploy") for thread in threading.enumerate()):
        gc.collect()
        assert time.monotonic() < end, threading.enumerate()
        time.sleep(0.01)


def test_frames_come_in_order_with_their_times(net: Network, folder: Path) -> None:
    """At 25 frames a second, with name, image and mask of each."""
    with net.stream(folder / "clip.mp4") as stream:
        results = list(stream)

    assert [result.index for result in results] == list(range(12))
    np.testing.assert_allclose([result.seconds for result in results], np.arange(12) / 25)
    assert {result.name for result in results} == {str(folder / "clip.mp4")}
    assert all(result.mask.shape == (48, 64) for result in results)
    assert results[3].confidence.shape == (48, 64)
    assert stream.times is not None
    assert stream.times.frames == 12
    assert stream.losses == []
    assert repr(stream) == "Stream(12 results so far)"


def test_part_of_a_video_is_selected(net: Network, folder: Path) -> None:
    results = list(net.stream(str(folder / "clip.mp4"), start=0.1, stride=2, max_frames=3))

    np.testing.assert_allclose([result.seconds for result in results], [0.12, 0.2, 0.28])


@pytest.mark.parametrize("options", [{"serial": True}, {"throughput": False}, {"threads": 3}])
def test_schedule_changes_no_result(net: Network, folder: Path, options: Any) -> None:
    expected = list(net.stream(folder / "clip.mp4"))

    for result, other in zip(net.stream(folder / "clip.mp4", **options), expected, strict=True):
        np.testing.assert_array_equal(result.mask, other.mask)
        assert result.seconds == other.seconds


def test_smoothed_results_have_no_confidence(net: Network, folder: Path) -> None:
    """That of the network belongs to another mask."""
    results = list(net.stream(folder / "clip.mp4", smooth="hysteresis"))

    assert len(results) == 12
    assert results[0].output is None


def test_break_ends_the_threads(net: Network, folder: Path) -> None:
    """And so does a stream of which nothing was taken; the fixture looks."""
    for result in net.stream(folder / "clip.mp4"):
        assert result.index == 0
        break
    net.stream(folder / "clip.mp4")
    stream = net.stream(folder / "clip.mp4")
    next(stream)
    stream.close()
    stream.close()

    assert list(stream) == []


def test_slow_program_holds_few_frames(net: Network) -> None:
    """Memory stays bounded however long the source is."""
    read = []

    def frames() -> Iterator[Any]:
        for index in range(1000):
            read.append(index)
            yield np.zeros((4, 5, 3), np.uint8)

    stream = net.stream(frames(), threads=2, batch=1)
    next(stream)
    time.sleep(0.2)

    assert len(read) < 40
    stream.close()


def test_error_comes_after_the_results_before_it(net: Network) -> None:
    """Of the program's own iterator, and of an image that is none."""

    def failing() -> Iterator[Any]:
        yield np.zeros((4, 5, 3), np.uint8)
        msg = "the disk is gone"
        raise RuntimeError(msg)

    stream = net.stream(failing())
    next(stream)
    with pytest.raises(RuntimeError, match="the disk is gone"):
        next(stream)
    stream = net.stream(iter([np.zeros((4, 5, 3), np.uint8), "none.png"]))
    next(stream)
    with pytest.raises(FileNotFoundError, match="none"):
        next(stream)


def test_error_of_the_network_is_raised(folder: Path) -> None:
    class Broken(ChannelBackend):
        def run(self, batch: Batch) -> NetworkOutput:
            del batch
            msg = "the network broke"
            raise SegdeployError(msg)

    with pytest.raises(SegdeployError, match="the network broke"):
        list(Network(Broken()).stream(folder / "clip.mp4"))


def test_unreadable_image_is_reported_after_the_others(net: Network, tmp_path: Path) -> None:
    """As the command does, whose exit code is 3 then."""
    for name in ("a.png", "c.png"):
        write_image(tmp_path / name, np.zeros((4, 5, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    results = []

    stream = net.stream(tmp_path)
    with pytest.raises(DataError, match=r"1 of 3 images could not be read; .*b\.png"):
        results.extend(stream)
    with pytest.raises(StopIteration):
        next(stream)

    assert len(stream.losses) == 1


SOURCES = {
    "image": ("images/a.png", 1),
    "folder": ("images", 3),
    "pattern": ("images/[ab].png", 2),
    "list": ("list.txt", 2),
    "video": ("clip.mp4", 12),
}
"""Sources by their kind, and how many results they have."""


@pytest.mark.parametrize("kind", SOURCES)
def test_sources_with_a_name_are_streamed(net: Network, folder: Path, kind: str) -> None:
    """As `segdeploy run` reads them; each result says which file it is of."""
    path, count = SOURCES[kind]

    results = list(net.stream(str(folder / path)))

    assert len(results) == count
    assert all(Path(result.name).exists() for result in results)


def test_several_sources_follow_each_other(net: Network, folder: Path) -> None:
    """Images first, then each video."""
    names = [folder / "clip.mp4", str(folder / "images")]

    results = list(net.stream(names))

    assert [Path(result.name).name for result in results[:4]] == [
        "a.png",
        "b.png",
        "c.png",
        "clip.mp4",
    ]
    assert len(results) == 15


def test_address_of_an_image_and_of_a_video(net: Network, folder: Path) -> None:
    with serve_folder(folder) as address:
        [result] = net.stream(f"{address}/images/b.png")
        frames = list(net.stream(f"{address}/clip.mp4"))

    assert result.name.endswith("/images/b.png")
    assert len(frames) == 12


def test_images_in_memory_are_streamed(net: Network, folder: Path) -> None:
    """One, a list, an iterator, and a tensor of several."""
    torch = pytest.importorskip("torch")
    image = np.zeros((4, 5, 3), np.uint8)

    assert len(list(net.stream(image))) == 1
    assert len(list(net.stream([image, (folder / "images" / "a.png").read_bytes()]))) == 2
    assert len(list(net.stream(iter([image] * 7)))) == 7
    assert len(list(net.stream(torch.zeros(2, 3, 4, 5)))) == 2
    assert len(list(net.stream([]))) == 0


@pytest.mark.parametrize(
    ("source", "options", "error", "reason"),
    [
        ("none.mp4", {}, FileNotFoundError, "there is no video none"),
        ("none", {}, FileNotFoundError, "there is no none"),
        ("day/*.jpg", {}, DataError, "no file matches"),
        (None, {}, ValueError, "a NoneType"),
        ("images/a.png", {"start": 1.0}, ValueError, "images have no time"),
        ("images/a.png", {"smooth": "ema"}, ValueError, "not a sequence in time"),
        ("images/a.png", {"stride": 0}, ValueError, "stride is 0; it must be at least 1"),
        ("images/a.png", {"threads": 0}, ValueError, "threads is 0; it must be at least 1"),
        ("images/a.png", {"color": "gbr"}, ValueError, "color order"),
        ("images/a.png", {"speed": 2}, ValueError, "stream has no option 'speed'; known are"),
        ([np.zeros((2, 2, 3), np.uint8)], {"stride": 2}, ValueError, "images in memory"),
    ],
)
def test_other_sources_and_options_are_refused(
    net: Network,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: Any,
    options: Any,
    error: Any,
    reason: str,
) -> None:
    """In one sentence, as an error that a Python programmer expects."""
    monkeypatch.chdir(folder)

    with pytest.raises(error, match=reason) as caught:
        list(net.stream(source, **options))

    assert isinstance(caught.value, SegdeployError)


def test_camera_that_is_missing_is_a_sentence(net: Network) -> None:
    with pytest.raises(DataError, match="camera"):
        net.stream(97)


def test_options_are_checked_before_anything_is_read(net: Network) -> None:
    with pytest.raises(ConfigError, match="the end, 1 s, is no later than the start, 2 s"):
        net.stream("none.mp4", start=2.0, end=1.0)
