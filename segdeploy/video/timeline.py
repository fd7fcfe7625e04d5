"""Times of frames and packets from clocks that start anywhere, jump, or begin anew."""

LONGEST_JUMP = 3600
"""Seconds by which the clock of a broadcast may go ahead at once; at more it was set anew."""

BROADCAST_FORMATS = frozenset({"mpegts", "mpeg", "flv", "live_flv"})
"""Formats of streams that are joined and cut by their bytes, so that clocks begin anew in them."""


class Timeline:
    """Times that increase, whatever the clock of a stream does; in ticks of the stream.

    A clock that goes back begins anew: what follows is placed behind what was there before.

    Attributes:
        restarts: How often the clock began anew.
    """

    def __init__(self, *, start: int, step: int, longest: int | None) -> None:
        """Begin before the first time.

        Args:
            start: The first time, where the stream has none.
            step: Ticks until the next one, where a frame has no duration.
            longest: Ticks by which the clock may go ahead at once; None for any number.
        """
        self.restarts = 0
        self._next = start
        self._step = max(1, step)
        self._longest = longest
        self._last: int | None = None
        self._offset = 0
        # The offset of a clock that may have begun anew, until a second time agrees with it.
        self._other: int | None = None

    def place(self, time: int | None, *, duration: int = 0) -> int:
        """Return the time of the next frame, later than that of the one before.

        Args:
            time: Its time by the stream's clock; None where it has none.
            duration: Its duration; 0 where that is unknown.
        """
        placed = self._placed(time)
        self._last = placed
        self._next = placed + (duration if duration > 0 else self._step)
        return placed

    def _placed(self, time: int | None) -> int:
        if time is None:
            return self._next
        if self._last is None or self._follows(time + self._offset):
            self._other = None
            return time + self._offset
        if self._other is not None and self._follows(time + self._other):
            self._offset, self._other = self._other, None
            self.restarts += 1
            return time + self._offset
        self._other = self._next - time
        return self._next

    def _follows(self, time: int) -> bool:
        assert self._last is not None
        return time > self._last and (self._longest is None or time - self._last <= self._longest)
