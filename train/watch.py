"""What is looked at between two steps: whether to stop, and whether it is time to keep what was learned."""

import time
from collections.abc import Callable

from .interruption import Halt, Stop
from .processes import Processes

KEPT_EVERY = 600.0
"""Seconds after which a run is kept within an epoch, so that a long one is not lost."""

ASKED_EVERY = 10
"""Steps after which several processes agree on what to do, since asking makes them wait for each other."""


class Watch:
    """Keeps a run from time to time, and ends it when somebody asked."""

    def __init__(self, stop: Stop, keep: Callable[[], None], processes: Processes, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count the time.

        Args:
            stop: Whether the end was asked for.
            keep: Writes the run as it is.
            processes: Who must agree.
            clock: Gives seconds.
        """
        self._stop = stop
        self._keep = keep
        self._processes = processes
        self._clock = clock
        self._kept = clock()
        self._steps = 0

    def look(self) -> None:
        """Look once, when nothing is half done, in all processes.

        Raises:
            Halt: The run was kept and shall end.
        """
        self._steps += 1
        if self._processes.size > 1 and self._steps % ASKED_EVERY:
            return
        asked, due = self._processes.any(self._stop.asked, self._clock() - self._kept >= KEPT_EVERY)
        if asked or due:
            self._keep()
            self._kept = self._clock()
        if asked:
            raise Halt
