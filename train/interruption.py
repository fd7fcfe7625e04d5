"""Ctrl-C, and SIGTERM which a scheduler sends, end a run between two steps, where nothing is half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Halt(BaseException):
    """The run shall end here; what was learned until now is whole."""


class Stop:
    """Whether somebody asked for the end.

    Attributes:
        asked: Whether a signal came.
    """

    def __init__(self) -> None:
        """Start with nothing asked for."""
        self.asked = False

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        """Remember the first signal; at a second one nobody wants to wait any more."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Remember Ctrl-C and SIGTERM in the block instead of dying of them; outside the main thread nothing changes."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = [(number, signal.signal(number, stop.ask)) for number in SIGNALS]
    try:
        yield stop
    finally:
        for number, handler in before:
            signal.signal(number, handler)
