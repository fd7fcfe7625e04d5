"""Cameras and network streams, newest frame, reconnect."""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Protocol, Self

import av
import cv2
import numpy as np
from av.container import InputContainer

from segdeploy.arrays import Image
from segdeploy.errors import DataError
from segdeploy.imaging.preprocess import resize
from segdeploy.video.frames import Frame, Selection
from segdeploy.video.reader import USUAL_RATE, VideoSource

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 30.0)
"""Seconds before each further try to connect again; after three minutes without a frame the source
has ended."""

GLANCE = 0.2
"""Seconds after which a source that gives nothing looks whether the user still waits for it."""


class Feed(Protocol):
    """One connection to what gives images, each as soon as it is there."""

    @property
    def rate(self) -> Fraction:
        """Usual number of images a second."""
        ...

    def __iter__(self) -> Iterator[Image]:
        """Return images, (H, W, 3) uint8 blue-green-red, until the connection ends or is lost."""
        ...

    def close(self) -> None:
        """End the connection; called by the thread that read from it."""
        ...


class LiveSource:
    """The newest frame, whenever one is asked for; a context manager, whose end stops reading.

    A frame's index counts those that came, also those that were left out because a newer one came
    before they were asked for.

    Attributes:
        name: What its results are called after.
        width: Width of each frame, in pixels: that of the first.
        height: Height of each frame, in pixels.
        rate: Usual number of frames a second, of those that are wanted.
        aspect: Width of a pixel over its height: 1.
        sound: None: the sound of a live source is not kept.
        selection: Which frames are wanted.
        frames: How many will come, where a bound was asked for; else None.
        left_out: How many frames came and were never asked for.
        lost: How often the connection was lost.
    """

    aspect = Fraction(1)
    sound: Path | None = None

    def __init__(
        self,
        name: str,
        connect: Callable[[], Feed],
        *,
        selection: Selection | None = None,
        go_on: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        """Connect, and wait for the first frame.

        Args:
            name: What the source is called.
            connect: Makes a connection, or raises DataError.
            selection: Which frames are wanted; all where None.
            go_on: Asked again and again; once it says no, no more frames are given.
            clock: Gives seconds that never go back.
            pauses: Seconds before each further try to connect again.

        Raises:
            DataError: There is no connection, or it ends before the first frame.
        """
        self.name = name
        self.selection = selection or Selection()
        self.frames = self.selection.most
        self.left_out = self.lost = 0
        self._connect, self._go_on, self._clock, self._pauses = connect, go_on, clock, pauses
        self._feed = connect()
        self._images = iter(self._feed)
        first = next(self._images, None)
        if first is None:
            self._feed.close()
            msg = f"{name} gave no frame; check that nothing else uses it"
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
        """Return the newest frame each time, and wait where there is none that was not given yet."""
        taken = 0
        while self.selection.most is None or taken < self.selection.most:
            frame = self._next()
            if frame is None or (
                self.selection.end is not None and frame.seconds >= self.selection.end
            ):
                return
            taken += 1
            yield frame

    @property
    def losses(self) -> list[str]:
        """How often the connection was lost, in a sentence."""
        times = "once" if self.lost == 1 else f"{self.lost} times"
        return (
            [
                f"the connection to {self.name} was lost"
                f" {times}{' and did not come back' * self._ended}"
            ]
            if self.lost
            else []
        )

    @property
    def notes(self) -> list[str]:
        """How many frames were left out, in a sentence."""
        return (
            [
                f"{self.left_out} frames of {self.name} came while others were worked on, and were"
                " left out"
            ]
            if self.left_out
            else []
        )

    def _next(self) -> Frame | None:
        with self._changed:
            while self._newest is None and not self._ended and self._go_on():
                self._changed.wait(GLANCE)
            frame, self._newest = self._newest, None
            return frame if self._go_on() else None

    def _watch(self) -> None:
        """Read until the end, connecting again where the connection is lost."""
        while True:
            for picture in self._images:
                if self._stopping.is_set():
                    break
                self._take(picture)
            self._feed.close()
            if self._stopping.is_set() or not self._reconnect():
                break
        with self._changed:
            self._ended = not self._stopping.is_set()
            self._changed.notify_all()

    def _reconnect(self) -> bool:
        """Try to connect until an image comes, ever more slowly; tell whether one came."""
        self.lost += 1
        for pause in self._pauses:
            if self._stopping.wait(pause):
                return False
            try:
                self._feed = self._connect()
            except DataError:
                continue
            self._images = iter(self._feed)
            picture = next(self._images, None)
            if picture is not None:
                self._take(picture)
                return True
            self._feed.close()
        return False

    def _take(self, picture: Image) -> None:
        seconds = self._clock() - self._start
        if picture.shape[:2] != (self.height, self.width):
            picture = resize(picture, self.height, width=self.width)
        with self._changed:
            if seconds >= self.selection.start and self._count % self.selection.stride == 0:
                self.left_out += self._newest is not None
                self._newest = Frame(image=picture, index=self._count, seconds=seconds)
                self._changed.notify_all()
            self._count += 1


PATIENCE = (10.0, 10.0)
"""Seconds that an address may take to answer, and then to send more."""


class CameraFeed:
    """The images of a camera of this machine."""

    def __init__(self, number: int) -> None:
        """Open a camera.

        Args:
            number: The first camera is 0.

        Raises:
            DataError: There is none of that number, or another program uses it.
        """
        # A camera that is not there would be told by OpenCV's own words on stderr beside ours.
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._camera = cv2.VideoCapture(number)
        cv2.utils.logging.setLogLevel(level)
        if not self._camera.isOpened():
            msg = (
                f"there is no camera {number} that can be used; close other programs that use it,"
                " or choose another number"
            )
            raise DataError(msg)
        # One image may wait in the driver: what is older is of no use.
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        rate = self._camera.get(cv2.CAP_PROP_FPS)
        self.rate = Fraction(rate).limit_denominator(1001) if rate > 0 else USUAL_RATE

    def __iter__(self) -> Iterator[Image]:
        while True:
            found, picture = self._camera.read()
            if not found:
                return
            yield np.asarray(picture, dtype=np.uint8)

    def close(self) -> None:
        """Let others use the camera."""
        self._camera.release()


class AddressFeed:
    """The images that come from an address."""

    def __init__(self, address: str, container: InputContainer) -> None:
        """Wait for the first frame.

        Args:
            address: What it is called.
            container: What `connect` gave.

        Raises:
            DataError: It sends no images.
        """
        self._source = VideoSource(Path(address), opened=container, prompt=True)
        self.rate = self._source.rate

    def __iter__(self) -> Iterator[Image]:
        return (frame.image for frame in self._source)

    def close(self) -> None:
        """End the connection."""
        self._source.close()


def connect(address: str) -> InputContainer:
    """Open an address with FFmpeg: RTSP, HTTP and what else it knows.

    Raises:
        DataError: Nothing answers there, or nothing that is a video.
    """
    # Over UDP, the default, lost packets would tear frames apart.
    options = {"rtsp_transport": "tcp"} if address.startswith("rtsp") else {}
    try:
        return av.open(address, timeout=PATIENCE, options=options)
    except (av.FFmpegError, OSError) as error:
        msg = (
            f"{address} does not answer with a video ({error.strerror or error}); check the address"
        )
        raise DataError(msg) from error


def connect_feed(address: str) -> AddressFeed:
    """Connect to an address that is live.

    Raises:
        DataError: As `connect`, or it sends no images.
    """
    return AddressFeed(address, connect(address))
