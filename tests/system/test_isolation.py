"""Processes that are started never import from the current folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from segdeploy.errors import OutputError
from segdeploy.system import concurrency
from segdeploy.system.concurrency import PYTHON
from segdeploy.video.viewer import ScreenWindow
from tests.helpers.imports import MODULES

NAMES = ("cv2", "numpy", "av", "onnxruntime", "PIL", "click", "multiprocessing", "runpy", "pickle")

START = """
from segdeploy.system.concurrency import process_context

process = process_context("{method}").Process(target=print, args=("started",))
process.start()
process.join()
raise SystemExit(process.exitcode)
"""

COMMANDS = (
    [*PYTHON, "-c", START.format(method="spawn")],
    [*PYTHON, "-c", START.format(method="forkserver")],
    [sys.executable, "-m", "segdeploy", "models"],
)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with files named like modules; each creates a file when it is run."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / name)!r}, 'w').close()")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def executed(folder: Path) -> list[str]:
    """Return which modules of the folder were imported."""
    return [name for name in NAMES if (folder / name).exists()]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(COMMANDS[0], id="spawn"),
        pytest.param(COMMANDS[1], id="forkserver"),
        pytest.param(COMMANDS[2], id="-m segdeploy", marks=pytest.mark.slow),
    ],
)
def test_processes_import_nothing_from_the_current_folder(
    hostile: Path, command: list[str]
) -> None:
    """multiprocessing starts its own by `python -c`, and torchrun its own by `python -m`."""
    if "forkserver" in command[-1] and sys.platform == "win32":
        pytest.skip("Windows has no forkserver")

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, executed(hostile)) == (0, []), done.stderr


def test_the_search_for_a_screen_imports_nothing_from_the_current_folder(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run --show` in a folder of untrusted files."""
    monkeypatch.setenv("DISPLAY", ":none")
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")

    with pytest.raises(OutputError, match="no window can be opened"):
        ScreenWindow()

    assert executed(hostile) == []


def test_every_process_is_started_in_these_ways() -> None:
    """Another call could import from the current folder."""
    ways = re.compile(r"sys\.executable|\bget_context\(|import .*get_context|multiprocessing\.Pro")

    found = [name for name, path in MODULES.items() if ways.search(path.read_text("utf-8"))]

    assert found == [concurrency.__name__]
