"""Results in a window while they are made: q ends, space waits, s saves what is shown."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2

from segdeploy.arrays import Image
from segdeploy.errors import OutputError
from segdeploy.imaging.io import write_image
from segdeploy.imaging.overlay import OVERLAY
from segdeploy.video.frames import Segmented

TITLE = "segdeploy"
WAIT = 50
"""Milliseconds between two looks at the keys while the image stands still."""


class Window(Protocol):
    """What shows images and knows which key was pressed."""

    def show(self, image: Image) -> None:
        """Show an image in place of the one before."""
        ...

    def key(self, wait: int) -> str:
        """Return the key that was pressed within so many milliseconds.

        "" for none, "q" where the window was closed.
        """
        ...

    def close(self) -> None:
        """Take the window away."""
        ...


class ScreenWindow:
    """A window of OpenCV's, on the screen; all calls must come from the main thread."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            OutputError: There is no screen, or this OpenCV was built without windows.
        """
        # Qt ends the whole process where there is no screen, so another one is sent ahead.
        tried = subprocess.run(
            [sys.executable, "-c", f"import cv2; cv2.namedWindow({TITLE!r})"],
            capture_output=True,
            check=False,
        )  # noqa: S603 - this Python
        if tried.returncode:
            msg = (
                "no window can be opened; there is no screen, or this is opencv-python-headless:"
                " leave out --show"
            )
            raise OutputError(msg)
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)

    def show(self, image: Image) -> None:
        """Show an image."""
        cv2.imshow(TITLE, image)

    def key(self, wait: int) -> str:
        """Return the key that was pressed."""
        code = cv2.waitKey(wait)
        if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            return "q"
        return "" if code < 0 else chr(code & 0xFF)

    def close(self) -> None:
        """Take the window away."""
        cv2.destroyWindow(TITLE)


class Viewer:
    """Shows results in a window and does what the keys say."""

    def __init__(self, window: Window, folder: Path, *, stop: Callable[[], None]) -> None:
        """Put the parts together.

        Args:
            window: What shows the images.
            folder: Where "s" saves them.
            stop: Called on "q".
        """
        self._window = window
        self._folder = folder
        self._stop = stop

    def look(self, result: Segmented) -> None:
        """Show a result, and act on a key; while it is halted by a space, wait for the next one."""
        self._window.show(result.drawn[OVERLAY])
        halted = False
        while True:
            key = self._window.key(WAIT if halted else 1)
            if key == "q":
                self._stop()
                return
            if key == "s":
                write_image(
                    self._folder / f"shown-{result.frame.index:06d}.png", result.drawn[OVERLAY]
                )
            halted ^= key == " "
            if not halted:
                return
