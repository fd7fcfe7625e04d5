"""Notes and progress go to stderr; without a terminal there are no bars."""

import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from segdeploy.cli.console import add_row, echo, next_step, note, printable, progress, show
from tests.helpers.cli import run_cli
from tests.helpers.imports import MODULES

HOSTILE = "\x1b]0;title\x07\x1b[2J[/b][red]road [wet] :car: \x9b31m \u202egnp.exe \udcff"
"""Changes a terminal's title, clears it, closes markup that was not opened, and is not UTF-8."""

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


def test_next_step_installs_what_it_needs(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hint that ends in a missing library helps nobody."""
    monkeypatch.setitem(sys.modules, "onnx", None)

    next_step("segdeploy", "export", extra="export")

    words = shlex.split(capfd.readouterr().err)
    assert words[:3] == ["next:", "pip", "install"]
    assert words[-3:] == ["&&", "segdeploy", "export"]


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


def test_control_characters_are_escaped() -> None:
    """JSON decodes the same text; letters, accents and characters of any language stay."""
    assert printable("Straße 道路 می‌روم 🚗 [wet]") == "Straße 道路 می‌روم 🚗 [wet]"
    assert printable("a\nb\x1b[31m") == r"a\u000ab\u001b[31m"
    assert json.loads(printable(json.dumps(HOSTILE, ensure_ascii=False))) == HOSTILE


def test_printed_names_do_not_control_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """A name is shown as it is, in brackets too."""
    table = Table(box=None)
    add_row(table, HOSTILE, Text(HOSTILE, style="bold"))

    echo(f"{HOSTILE}\nsecond line")
    note(f"{HOSTILE}\nthe same line")
    next_step("segdeploy", HOSTILE)
    show(table, Text("a line of ours"))

    out, err = capfd.readouterr()
    assert not re.search(r"[^\n -~]", out + err)
    assert len(err.splitlines()) == 2
    assert all("[/b][red]road [wet] :car:" in text for text in (out, err))


@pytest.mark.parametrize("colors", ["standard", None])
def test_a_table_has_no_escape_sequences_but_its_own(colors: Literal["standard"] | None) -> None:
    """On a terminal too, where rich writes some of its own."""
    table, screen = Table(box=None), io.StringIO()
    add_row(table, HOSTILE, "second")

    Console(file=screen, force_terminal=True, color_system=colors, markup=False).print(table)

    assert "\x1b]" not in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()


def test_messages_of_errors_are_escaped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """They name files, and cite what is in them; those of wrong options too."""
    path = tmp_path / "a\x1b[2J[x].onnx"
    path.write_bytes(b"no model")

    codes = run_cli("inspect", path), run_cli("inspect", tmp_path / "missing\x1b[2J.onnx")

    err = capfd.readouterr().err
    assert 0 not in codes
    assert "\x1b" not in err
    assert r"a\u001b[2J[x].onnx" in err


def test_all_output_goes_through_these_functions() -> None:
    """Another call could print control characters of a name."""
    ways = re.compile(r"\bclick\.s?echo\(|\.add_row\(|\bConsole\(|\.(stdout|stderr)\.write\(")

    found = [name for name, path in MODULES.items() if ways.search(path.read_text("utf-8"))]

    assert found == ["segdeploy.cli.console"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_missing_stream_ends_no_command(closed: str) -> None:
    """A service may start without them; nothing else gets their numbers."""
    program = shlex.join([sys.executable, "-m", "segdeploy", "data", "--help"])

    done = subprocess.run(
        ["/bin/bash", "-c", f"exec {program} {closed}"], capture_output=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (">&-" not in closed.split())


PRINTING = """
import click
from segdeploy.cli.console import echo, note
from segdeploy.cli.main import invoke
@click.command()
def printing():
    note("took 3 s")
    echo("result")
invoke(printing, [], name="printing")
"""


FULL = (
    b"took 3 s\n"
    b"segdeploy: cannot write to standard output: No space left on device; redirect it to another"
    b" place\n"
)


@pytest.mark.parametrize(
    ("full", "code", "out", "err"),
    [
        ("stderr", 0, b"result\n", None),
        (
            "stdout",
            1,
            None,
            FULL,
        ),
    ],
)
def test_only_results_that_cannot_be_written_are_an_error(
    full: str, code: int, out: bytes | None, err: bytes | None
) -> None:
    """A full disk behind `> card.txt` is no success; a full log of notes ends nothing."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    with Path("/dev/full").open("wb") as device:
        done = subprocess.run(
            [sys.executable, "-c", PRINTING], **{**streams, full: device}, check=False
        )

    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)
