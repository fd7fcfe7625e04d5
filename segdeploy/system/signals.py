"""Ctrl-C and SIGTERM as a request to stop, so that work ends where its result is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Halt(BaseException):
    """The run ends here; what was learned until now is whole."""


class StopRequest:
    """Whether somebody asked for the end: a signal, or a key in a window."""

    def __init__(self) -> None:
        """Start with nothing asked for."""
        self._event = threading.Event()

    @property
    def asked(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()

    def ask(self) -> None:
        """Ask for the end."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait until the end is asked for, at most so many seconds, and return whether it was."""
        return self._event.wait(seconds)

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Remember the first signal; at a second one nobody wants to wait any more.

        Raises:
            KeyboardInterrupt: The end was asked for before.
        """
        if self.asked:
            raise KeyboardInterrupt
        self.ask()


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """Let Ctrl-C and SIGTERM ask the block for its end instead of breaking it off.

    A second one does break it off.

    Outside the main thread, where Python lets nobody handle signals, nothing changes.

    Yields:
        The request, which the work has to look at.
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
