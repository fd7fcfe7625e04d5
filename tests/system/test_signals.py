"""The first signal is a request to stop; the second interrupts."""

import os
import signal
import threading

import pytest

from segdeploy.system.signals import stoppable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals to itself")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number: signal.Signals) -> None:
    """The work continues until its result is complete; a scheduler's signal counts as Ctrl-C
    does."""
    before = signal.getsignal(number)

    with stoppable() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.wait(1)

    assert signal.getsignal(number) is before


def test_the_second_signal_interrupts() -> None:
    """A user who presses twice does not want to wait."""
    with stoppable():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_other_threads_are_left_alone() -> None:
    """Python handles signals in the main thread only.

    A program that uses the package in a thread keeps its own handlers.
    """
    seen: list[bool] = []

    def use() -> None:
        with stoppable() as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

    assert seen == [False]
