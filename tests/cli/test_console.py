"""Notes and progress go to stderr; without a terminal there are no bars."""

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from segdeploy.cli.console import next_step, note, progress

BAR = """
import time
from segdeploy.cli.console import progress
with progress("measuring [b]", 3) as step:
    for name in ("a", "[/b]", "c"):
        step(name)
        time.sleep(0.15)
print("the result")
"""


def test_is_quiet_when_stderr_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """The log of a build has no bars."""
    with progress("measuring", 2) as step:
        step("first")
        step("")

    assert capfd.readouterr() == ("", "")


def test_notes_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """stdout holds the result alone, for the next program."""
    note("took 3 s")
    next_step("segdeploy", "export")

    assert capfd.readouterr() == ("", "took 3 s\nnext: segdeploy export\n")


def test_next_step_can_be_pasted(capfd: pytest.CaptureFixture[str]) -> None:
    """Folders with spaces are common, and a quote in a name must not open one in the shell."""
    words = ["segdeploy", "data", "check", "my images/it's $HOME"]
    next_step(*words[:3], Path(words[3]))

    assert shlex.split(capfd.readouterr().err.removeprefix("next: ")) == words


def test_an_error_inside_passes_through() -> None:
    """The bar hides no error."""
    with pytest.raises(ValueError, match="within"), progress("measuring", None):
        raise ValueError("within")  # noqa: EM101


def test_shows_a_bar_on_a_terminal() -> None:
    """The bar goes to stderr, names are shown as they are, and stdout has the result alone."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", BAR],
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        env=environment,
    ) as process:
        result, _ = process.communicate(timeout=60)
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)

    assert result == "the result\n"
    assert "measuring [b]" in shown
    assert "[/b]" in shown
    assert "3/3" in shown
