"""Between two steps a run is kept from time to time, and ended when somebody asked."""

import pytest

from segdeploy.system.signals import Halt, StopRequest
from segdeploy.train.distributed import ALONE
from segdeploy.train.trainer import KEPT_EVERY, Watch


class Clock:
    """Shows what it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_keeps_after_its_time_and_counts_anew() -> None:
    """A step after ten minutes, none after eleven, one after twenty."""
    clock, kept = Clock(), []
    watch = Watch(StopRequest(), lambda: kept.append(clock.now), ALONE, clock=clock)

    for clock.now in (KEPT_EVERY - 1, KEPT_EVERY, KEPT_EVERY + 60, 2 * KEPT_EVERY):
        watch.look()

    assert kept == [KEPT_EVERY, 2 * KEPT_EVERY]


def test_keeps_before_it_ends() -> None:
    """Whoever asks for the end loses nothing."""
    stop, kept = StopRequest(), []
    watch = Watch(stop, lambda: kept.append(True), ALONE, clock=Clock())

    watch.look()
    stop.on_signal(15, None)
    with pytest.raises(Halt):
        watch.look()

    assert kept == [True]


def test_second_signal_waits_for_nothing() -> None:
    """As Ctrl-C does everywhere else."""
    stop = StopRequest()
    stop.on_signal(2, None)

    with pytest.raises(KeyboardInterrupt):
        stop.on_signal(2, None)
