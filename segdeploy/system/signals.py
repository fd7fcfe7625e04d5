"""Ctrl-C and SIGTERM as a request to stop, so that work ends where its result is whole."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from segdeploy.errors import InterruptedRun

SIGNALS = (signal.SIGINT, signal.SIGTERM)

GRACE = 2.0
"""Seconds after the second signal in which the work must end; a stage that does not answer, such as
a codec that hangs, is left behind then."""


class StopRequest:
    """A request to stop, by a signal or by a key in a window.

    Attributes:
        requested: Whether a stop was requested.
        kept: Files in progress, which stay where the work cannot be completed.
    """

    def __init__(self) -> None:
        """Start with no request."""
        self.requested = False
        self.kept: Sequence[Path] = ()
        self._event = threading.Event()

    def request(self) -> None:
        """Request a stop."""
        self.requested = True
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait for a request, at most so many seconds, and return whether there is one."""
        return self._event.wait(seconds)

    def interruption(self) -> str:
        """Return that the work was interrupted, and where what was done is."""
        kept = ", ".join(str(path) for path in self.kept if path.exists())
        return (
            f"interrupted; what was done is in {kept}, and --resume continues it"
            if kept
            else "interrupted"
        )

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Take the first signal as a request; a second one interrupts at once.

        Raises:
            KeyboardInterrupt: A stop was requested before.
        """
        if self.requested:
            raise KeyboardInterrupt
        self.request()


@contextmanager
def stoppable(*, grace: float = GRACE) -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a request to stop; a second signal interrupts at once.

    Outside the main thread, where Python handles no signals, nothing changes.

    Args:
        grace: Seconds after the second signal in which the block must end; the process ends then,
            with what is on the disk.

    Yields:
        The request, which the block has to check.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.on_signal) for number in SIGNALS}
    try:
        with _end_after_second_signal(stop, grace):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _end_after_second_signal(stop: StopRequest, grace: float) -> Iterator[None]:
    """End the process where the block does not, some time after the second signal.

    Python's handlers run in the main thread, which may be in a library that does not return; the
    numbers of signals are written to this socket also then.
    """
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    done = threading.Event()

    def watch() -> None:
        count = 0
        while count < 2:
            numbers = ours.recv(64)
            if not numbers:
                return
            count += sum(number in SIGNALS for number in numbers)
        if not done.wait(grace):
            if sys.stderr:
                words = (
                    f"segdeploy: {stop.interruption()}; a stage that does not answer is left behind"
                )
                print(ascii(words)[1:-1], file=sys.stderr, flush=True)
            os._exit(InterruptedRun.exit_code)

    watcher = threading.Thread(target=watch, name="segdeploy-signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(before)
        theirs.close()
        watcher.join()
        ours.close()
