"""Work in threads keeps its order and holds few items in memory; freed memory is kept."""

import platform
import subprocess
import sys
import threading

import pytest

from segdeploy.system.concurrency import AHEAD, map_in_order
from segdeploy.system.machine import cores


def test_results_keep_the_order():
    """Whatever finishes first."""
    assert list(map_in_order(lambda number: number * number, range(100))) == [
        number * number for number in range(100)
    ]


def test_only_a_few_are_started_ahead():
    """Ten thousand images must not wait in memory for a slow consumer."""
    started = []
    results = map_in_order(started.append, range(1000))

    next(results)

    assert len(started) <= AHEAD * cores() + 1


def test_an_error_ends_the_map():
    """The rest is not started."""
    started = []
    lock = threading.Lock()

    def fail(number):
        with lock:
            started.append(number)
        if number == 3:
            raise ValueError(number)

    with pytest.raises(ValueError, match="3"):
        list(map_in_order(fail, range(1000)))
    assert len(started) < 100


CODE = """
import resource, sys
from segdeploy.system.concurrency import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
size = 4 << 20
faults = []
for _ in range(21):
    blocks = [b"x" * size for _ in range(4)]
    del blocks
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


def faults(how: str) -> int:
    """Count the page faults of a fresh process while it allocates and frees 4 blocks of 4 MiB,
    twenty times after the first.
    """
    done = subprocess.run(
        [sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are"
)
def test_freed_blocks_are_reused() -> None:
    """Each of the twenty rounds would otherwise fault 16 MiB again: 20 * 4096 pages of 4 KiB.

    Huge pages are fewer.
    """
    kept = faults("kept")

    assert kept < 500
    assert kept < faults("given back") / 2
