"""Connections to cameras and addresses."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer

from segdeploy.errors import DataError
from segdeploy.pictures import Picture
from segdeploy.video.sources import USUAL_RATE, VideoSource

PATIENCE = (10.0, 10.0)
"""Seconds that an address may take to answer, and then to send more."""


class CameraFeed:
    """The pictures of a camera of this machine."""

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
            msg = f"there is no camera {number} that can be used; close other programs that use it, or choose another number"
            raise DataError(msg)
        # One picture may wait in the driver: what is older is of no use.
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        rate = self._camera.get(cv2.CAP_PROP_FPS)
        self.rate = Fraction(rate).limit_denominator(1001) if rate > 0 else USUAL_RATE

    def __iter__(self) -> Iterator[Picture]:
        while True:
            found, picture = self._camera.read()
            if not found:
                return
            yield np.asarray(picture, dtype=np.uint8)

    def close(self) -> None:
        """Let others use the camera."""
        self._camera.release()


class AddressFeed:
    """The pictures that come from an address."""

    def __init__(self, address: str, container: InputContainer) -> None:
        """Wait for the first frame.

        Args:
            address: What it is called.
            container: What `connect` gave.

        Raises:
            DataError: It sends no pictures.
        """
        self._source = VideoSource(Path(address), opened=container, prompt=True)
        self.rate = self._source.rate

    def __iter__(self) -> Iterator[Picture]:
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
        msg = f"{address} does not answer with a video ({error.strerror or error}); check the address"
        raise DataError(msg) from error


def connect_feed(address: str) -> AddressFeed:
    """Connect to an address that is live.

    Raises:
        DataError: As `connect`, or it sends no pictures.
    """
    return AddressFeed(address, connect(address))
