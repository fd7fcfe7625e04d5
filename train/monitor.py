"""What happens between two steps of a training: progress is shown, the run saved or stopped."""

import time
from collections.abc import Callable

from segdeploy.system.signals import StopRequest

from .distributed import Processes

SAVE_EVERY = 600.0
"""Seconds after which a run is saved within an epoch."""

SYNC_EVERY = 10
"""Steps after which several processes agree whether to save or stop, which makes them wait."""


class TrainingStopped(BaseException):
    """The run ends on request; it is saved."""


class StepMonitor:
    """Called between two steps: shows progress, saves the run at intervals, stops it on request."""

    def __init__(
        self,
        stop: StopRequest,
        save: Callable[[], None],
        processes: Processes,
        *,
        show: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the interval.

        Args:
            stop: Whether a stop is requested.
            save: Writes the run as it is.
            processes: All that take part; they save and stop at the same step.
            show: Shows progress; called with a short text.
            clock: Returns seconds.
        """
        self._stop, self._save, self._processes, self._clock = stop, save, processes, clock
        self.show = show
        self._saved = clock()
        self._steps = 0

    def __call__(self, text: str) -> None:
        """Act once, between two steps, in all processes.

        Raises:
            TrainingStopped: A stop was requested, and the run is saved.
        """
        self.show(text)
        self._steps += 1
        requested, due = self._stop.requested, self._clock() - self._saved >= SAVE_EVERY
        if self._processes.size > 1:
            if self._steps % SYNC_EVERY:
                return
            requested, due = self._processes.any(requested, due)
        if requested or due:
            self._save()
            self._saved = self._clock()
        if requested:
            raise TrainingStopped
