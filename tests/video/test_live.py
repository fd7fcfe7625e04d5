"""Live sources: the newest frame is returned, and a lost connection is restored."""

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest

from segdeploy.arrays import Image
from segdeploy.errors import DataError
from segdeploy.video.live import LiveSource
from segdeploy.video.run_options import Selection


def image_at(level: int, height: int = 6) -> Image:
    return np.full((height, 8, 3), level, np.uint8)


class FakeFeed:
    """A connection that delivers some images, each when it is released, and then is lost."""

    rate = Fraction(10)

    def __init__(self, images: list[Image], let: Callable[[], object] = lambda: None) -> None:
        self._images, self._let = images, let
        self.closed = False

    def __iter__(self) -> Iterator[Image]:
        for one in self._images:
            self._let()
            yield one

    def close(self) -> None:
        self.closed = True


def connecting(*feeds: FakeFeed | None) -> Callable[[], FakeFeed]:
    """Return the feeds one after the other.

    None for a try that fails, and so is every further one.
    """
    left = iter(feeds)

    def connect() -> FakeFeed:
        feed = next(left, None)
        if feed is None:
            msg = "no connection"
            raise DataError(msg)
        return feed

    return connect


def test_fast_reader_gets_every_frame() -> None:
    """No frame is dropped while none is newer."""
    go = threading.Semaphore(1)
    feed = FakeFeed([image_at(level) for level in range(5)], go.acquire)

    levels = []
    with LiveSource("camera", connecting(feed), pauses=()) as source:
        for frame in source:
            levels.append(int(frame.image[0, 0, 0]))
            go.release()

    assert levels == [0, 1, 2, 3, 4]
    assert source.notes == []
    assert feed.closed


def test_newest_frame_is_returned() -> None:
    """While the first is processed, nine others arrive: the last of them is returned."""
    all_came = threading.Event()

    def images() -> Iterator[Image]:
        yield from (image_at(level) for level in range(10))
        all_came.set()

    feed = FakeFeed([])
    feed.__class__ = type("Feed", (FakeFeed,), {"__iter__": lambda _: images()})
    with LiveSource("camera", connecting(feed), pauses=()) as source:
        all_came.wait(5)
        frames = list(source)

    assert [(frame.index, int(frame.image[0, 0, 0])) for frame in frames] == [(9, 9)]
    assert source.dropped == 9
    assert source.notes == ["9 frames of camera were dropped, since newer ones had arrived"]


def test_lost_connection_is_restored() -> None:
    """After two failed tries the third one delivers frames.

    They are resized to the size of the first one.
    """
    go = threading.Semaphore(1)
    feeds = (
        FakeFeed([image_at(1)], go.acquire),
        None,
        None,
        FakeFeed([image_at(2, height=12)], go.acquire),
    )

    frames = []
    with LiveSource("rtsp://door", connecting(*feeds), pauses=(0.0, 0.0, 0.0)) as source:
        for frame in source:
            frames.append(frame)
            go.release()

    assert [frame.image.shape for frame in frames] == [(6, 8, 3)] * 2
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2]
    assert source.losses == [
        "the connection to rtsp://door was lost 2 times and could not be restored"
    ]


def test_source_without_any_frame_is_refused() -> None:
    """A camera that another program uses opens, and delivers nothing."""
    feed = FakeFeed([])

    with pytest.raises(DataError, match="camera delivered no frame"):
        LiveSource("camera", connecting(feed))

    assert feed.closed


def test_stop_does_not_wait_for_a_frame() -> None:
    """Ctrl-C ends a run over a camera that hangs."""
    forever = threading.Event()
    stopped = threading.Event()
    first = iter([None])
    feed = FakeFeed([image_at(1), image_at(2)], lambda: next(first, forever) and forever.wait(5))

    start = time.monotonic()
    with LiveSource("camera", connecting(feed), should_stop=stopped.is_set, pauses=()) as source:
        frames = iter(source)
        next(frames)
        threading.Timer(0.05, stopped.set).start()
        assert next(frames, None) is None
        assert time.monotonic() - start < 2
        forever.set()


def test_selection_counts_received_frames() -> None:
    """Every third of nine, two at most; the rate is a third."""
    go = threading.Semaphore(0)
    feed = FakeFeed([image_at(level) for level in range(9)], lambda: go.acquire(timeout=5))
    go.release()

    with LiveSource(
        "camera", connecting(feed), selection=Selection(stride=3, max_frames=2), pauses=()
    ) as source:
        assert (source.rate, source.frames) == (Fraction(10, 3), 2)
        indices = []
        for frame in source:
            indices.append(frame.index)
            go.release(3)
        go.release(9)

    assert indices == [0, 3]
