"""The first signal is a request to stop; the second interrupts."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

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


DEAF = """
import sys, time
from pathlib import Path
from segdeploy.system.signals import stoppable
with stoppable(grace=0.2) as stop:
    stop.kept = [Path(sys.argv[1])]
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


def test_work_that_does_not_answer_is_left_behind(tmp_path: Path) -> None:
    """A codec that hangs would otherwise need kill -9; what is kept is named."""
    kept = tmp_path / "film.mp4.part"
    kept.write_bytes(b"frames")
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF, str(kept)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert f"what was done is in {kept}, and --resume continues it" in errors
    assert kept.read_bytes() == b"frames"
