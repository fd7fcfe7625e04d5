"""Show results in a window during a run: q quits, space pauses, s saves the image."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2

from segdeploy.arrays import Image
from segdeploy.errors import OutputError
from segdeploy.imaging.io import write_image
from segdeploy.imaging.overlay import OVERLAY
from segdeploy.system.concurrency import PYTHON
from segdeploy.video.frames import SegmentedFrame

TITLE = "segdeploy"
KEY_INTERVAL = 50
"""Milliseconds between two polls of the keyboard while paused."""


class Window(Protocol):
    """A window that shows images and returns keys."""

    def show(self, image: Image) -> None:
        """Show an image instead of the one before."""
        ...

    def key(self, wait: int) -> str:
        """Return the key that is pressed within so many milliseconds.

        "" for none, "q" if the window was closed.
        """
        ...

    def close(self) -> None:
        """Close the window."""
        ...


class ScreenWindow:
    """OpenCV's window; all calls must come from the main thread."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            OutputError: There is no screen, or this OpenCV was built without windows.
        """
        # Qt ends the whole process where there is no screen, so another process tries first.
        code = f"import cv2; cv2.namedWindow({TITLE!r})"
        attempt = subprocess.run(  # noqa: S603 - this Python
            [*PYTHON, "-c", code], capture_output=True, check=False
        )
        if attempt.returncode:
            msg = (
                "no window can be opened: there is no screen, or OpenCV is opencv-python-headless;"
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
        """Close the window."""
        cv2.destroyWindow(TITLE)


class Viewer:
    """Shows results in a window and handles its keys."""

    def __init__(self, window: Window, folder: Path, *, stop: Callable[[], None]) -> None:
        """Connect a window.

        Args:
            window: Shows the images.
            folder: Where "s" saves them.
            stop: Called on "q".
        """
        self._window = window
        self._folder = folder
        self._stop = stop

    def show_result(self, result: SegmentedFrame) -> None:
        """Show a result and handle a key; after a space, wait for the next one."""
        self._window.show(result.drawn[OVERLAY])
        paused = False
        while True:
            key = self._window.key(KEY_INTERVAL if paused else 1)
            if key == "q":
                self._stop()
                return
            if key == "s":
                write_image(
                    self._folder / f"shown-{result.frame.index:06d}.png", result.drawn[OVERLAY]
                )
            paused ^= key == " "
            if not paused:
                return
