"""Many things at once, in order, and no more in memory than there is need."""

import threading

import pytest

from segdeploy.system.concurrency import AHEAD, map_in_order
from segdeploy.system.machine import cores


def test_results_keep_the_order():
    """Whatever is done first."""
    assert list(map_in_order(lambda number: number * number, range(100))) == [
        number * number for number in range(100)
    ]


def test_only_a_few_are_begun_ahead():
    """Ten thousand images must not wait in memory for whoever is slow to take them."""
    begun = []
    results = map_in_order(begun.append, range(1000))

    next(results)

    assert len(begun) <= AHEAD * cores() + 1


def test_an_error_ends_it():
    """The rest is not begun, and nobody waits."""
    begun = []
    lock = threading.Lock()

    def fail(number):
        with lock:
            begun.append(number)
        if number == 3:
            raise ValueError(number)

    with pytest.raises(ValueError, match="3"):
        list(map_in_order(fail, range(1000)))
    assert len(begun) < 100
