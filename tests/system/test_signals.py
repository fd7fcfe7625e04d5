"""A signal asks once, and breaks off when it asks twice."""

import os
import signal
import threading

import pytest

from segdeploy.system.signals import stoppable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals to itself")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_asks(number: signal.Signals) -> None:
    """The work goes on to where its result is whole; a scheduler's signal counts as Ctrl-C does."""
    before = signal.getsignal(number)

    with stoppable() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.wait(1)

    assert signal.getsignal(number) is before


def test_second_signal_breaks_off() -> None:
    """Whoever asks twice does not want to wait."""
    with stoppable():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_other_threads_are_left_alone() -> None:
    """Python lets only the main thread handle signals.

    A program that uses us in a thread keeps its own way.
    """
    seen: list[bool] = []

    def use() -> None:
        with stoppable() as stop:
            seen.append(stop.asked)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

    assert seen == [False]
