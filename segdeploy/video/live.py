"""Live sources: cameras and network streams, of which the newest frame is read."""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Protocol, Self

import cv2
import numpy as np
from av.container import InputContainer

from segdeploy.arrays import Image
from segdeploy.errors import DataError
from segdeploy.imaging.preprocess import resize
from segdeploy.video.container import connect
from segdeploy.video.decoder import DEFAULT_RATE
from segdeploy.video.frames import Frame
from segdeploy.video.reader import VideoSource
from segdeploy.video.run_options import Selection

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 30.0)
"""Seconds before each further try to reconnect; after three minutes without a frame the source has
ended."""

STOP_INTERVAL = 0.2
"""Seconds after which a source that delivers nothing checks whether it should stop."""


class Feed(Protocol):
    """One connection, which delivers each image as soon as it arrives."""

    @property
    def rate(self) -> Fraction:
        """Nominal images per second."""
        ...

    def __iter__(self) -> Iterator[Image]:
        """Return images, (H, W, 3) uint8 blue-green-red, until the connection ends or is lost."""
        ...

    def close(self) -> None:
        """End the connection; called by the thread that read from it."""
        ...


class LiveSource:
    """The newest frame of a live source, read by a thread.

    A frame's index counts all frames that arrived, also those that were dropped because a newer one
    arrived before they were taken. It is a context manager that stops the thread.

    Attributes:
        name: Stem of its outputs' names.
        width: Width of each frame, in pixels: that of the first.
        height: Height of each frame, in pixels.
        rate: Nominal frames per second, of the selected ones.
        aspect: Width of a pixel over its height: 1.
        audio: None: the audio of a live source is not kept.
        selection: Which frames are read.
        frames: Maximum number of frames, if the selection has one; else None.
        dropped: How many frames arrived and were never taken.
        lost: How often the connection was lost.
    """

    aspect = Fraction(1)
    audio: Path | None = None

    def __init__(
        self,
        name: str,
        connect: Callable[[], Feed],
        *,
        selection: Selection | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        """Connect, and wait for the first frame.

        Args:
            name: Name of the source.
            connect: Opens a connection, or raises DataError.
            selection: Which frames are read; all where None.
            should_stop: Called repeatedly; once it returns True, no more frames are returned.
            clock: Returns seconds that never decrease.
            pauses: Seconds before each further try to reconnect.

        Raises:
            DataError: There is no connection, or it ends before the first frame.
        """
        self.name = name
        self.selection = selection or Selection()
        self.frames = self.selection.max_frames
        self.dropped = self.lost = 0
        self._connect, self._should_stop = connect, should_stop
        self._clock, self._pauses = clock, pauses
        self._feed = connect()
        self._images = iter(self._feed)
        first = next(self._images, None)
        if first is None:
            self._feed.close()
            msg = f"{name} delivered no frame; check that no other program uses it"
            raise DataError(msg)
        self.height, self.width = first.shape[:2]
        self.rate = self._feed.rate / self.selection.stride
        self._start = clock()
        self._count = 0
        self._newest: Frame | None = None
        self._ended = False
        self._changed = Condition()
        self._stopping = Event()
        self._take(first)
        self._thread = Thread(target=self._watch, name="segdeploy-live", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Frame]:
        """Return the newest frame each time; wait for one that was not returned yet."""
        taken = 0
        while self.selection.max_frames is None or taken < self.selection.max_frames:
            frame = self._next()
            if frame is None or (
                self.selection.end is not None and frame.seconds >= self.selection.end
            ):
                return
            taken += 1
            yield frame

    @property
    def losses(self) -> list[str]:
        """A sentence about how often the connection was lost."""
        if not self.lost:
            return []
        times = "once" if self.lost == 1 else f"{self.lost} times"
        end = " and could not be restored" * self._ended
        return [f"the connection to {self.name} was lost {times}{end}"]

    @property
    def notes(self) -> list[str]:
        """A sentence about how many frames were dropped."""
        if not self.dropped:
            return []
        return [f"{self.dropped} frames of {self.name} were dropped, since newer ones had arrived"]

    def _next(self) -> Frame | None:
        with self._changed:
            while self._newest is None and not self._ended and not self._should_stop():
                self._changed.wait(STOP_INTERVAL)
            frame, self._newest = self._newest, None
            return None if self._should_stop() else frame

    def _watch(self) -> None:
        """Read until the end, and reconnect when the connection is lost."""
        while True:
            for image in self._images:
                if self._stopping.is_set():
                    break
                self._take(image)
            self._feed.close()
            if self._stopping.is_set() or not self._reconnect():
                break
        with self._changed:
            self._ended = not self._stopping.is_set()
            self._changed.notify_all()

    def _reconnect(self) -> bool:
        """Try to reconnect with growing pauses; return whether an image arrived."""
        self.lost += 1
        for pause in self._pauses:
            if self._stopping.wait(pause):
                return False
            try:
                self._feed = self._connect()
            except DataError:
                continue
            self._images = iter(self._feed)
            image = next(self._images, None)
            if image is not None:
                self._take(image)
                return True
            self._feed.close()
        return False

    def _take(self, image: Image) -> None:
        seconds = self._clock() - self._start
        if image.shape[:2] != (self.height, self.width):
            image = resize(image, self.height, width=self.width)
        with self._changed:
            if seconds >= self.selection.start and self._count % self.selection.stride == 0:
                self.dropped += self._newest is not None
                self._newest = Frame(image=image, index=self._count, seconds=seconds)
                self._changed.notify_all()
            self._count += 1


class CameraFeed:
    """The images of a local camera."""

    def __init__(self, number: int) -> None:
        """Open a camera.

        Args:
            number: Number of the camera; the first is 0.

        Raises:
            DataError: There is no such camera, or another program uses it.
        """
        # OpenCV would report a missing camera on stderr beside our message.
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._camera = cv2.VideoCapture(number)
        cv2.utils.logging.setLogLevel(level)
        if not self._camera.isOpened():
            msg = (
                f"camera {number} cannot be opened; close other programs that use it, or choose"
                " another number"
            )
            raise DataError(msg)
        # One image may wait in the driver: older ones are not needed.
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        rate = self._camera.get(cv2.CAP_PROP_FPS)
        self.rate = Fraction(rate).limit_denominator(1001) if rate > 0 else DEFAULT_RATE

    def __iter__(self) -> Iterator[Image]:
        while True:
            is_read, image = self._camera.read()
            if not is_read:
                return
            yield np.asarray(image, dtype=np.uint8)

    def close(self) -> None:
        """Release the camera."""
        self._camera.release()


class AddressFeed:
    """The images of a network stream."""

    def __init__(self, address: str, container: InputContainer) -> None:
        """Wait for the first frame.

        Args:
            address: The address.
            container: The connection that `connect` returned.

        Raises:
            DataError: It has no video.
        """
        self._source = VideoSource(Path(address), opened=container, prompt=True)
        self.rate = self._source.rate

    def __iter__(self) -> Iterator[Image]:
        return (frame.image for frame in self._source)

    def close(self) -> None:
        """End the connection."""
        self._source.close()


def connect_feed(address: str) -> AddressFeed:
    """Connect to a live address.

    Raises:
        DataError: There is no response, or it is not a video.
    """
    return AddressFeed(address, connect(address))
