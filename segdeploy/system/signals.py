"""Ctrl-C and SIGTERM as a request to stop, so that work ends where its result is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """A request to stop, by a signal or by a key in a window.

    Attributes:
        requested: Whether a stop was requested.
    """

    def __init__(self) -> None:
        """Start with no request."""
        self.requested = False
        self._event = threading.Event()

    def request(self) -> None:
        """Request a stop."""
        self.requested = True
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait for a request, at most so many seconds, and return whether there is one."""
        return self._event.wait(seconds)

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Take the first signal as a request; a second one interrupts at once.

        Raises:
            KeyboardInterrupt: A stop was requested before.
        """
        if self.requested:
            raise KeyboardInterrupt
        self.request()


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a request to stop; a second signal interrupts at once.

    Outside the main thread, where Python handles no signals, nothing changes.

    Yields:
        The request, which the block has to check.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.on_signal) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
