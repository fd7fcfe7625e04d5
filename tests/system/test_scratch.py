"""A scratch folder in use stays; one of a killed process is removed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segdeploy.system.files import (
    CAN_LOCK,
    LOCK,
    hold_folder,
    make_scratch_folder,
    remove_abandoned,
)

pytestmark = pytest.mark.skipif(not CAN_LOCK, reason="this system has no fcntl")

MAKES = """
import sys
from pathlib import Path
from segdeploy.system.files import make_scratch_folder
folder, _ = make_scratch_folder(Path(sys.argv[1]))
(folder / "pixels").write_bytes(bytes(1000))
print(folder, flush=True)
sys.stdin.read()
"""
HOLDS = """
import sys
from pathlib import Path
from segdeploy.system.files import hold_folder
hold_folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def process(code: str, argument: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run code in a process that prints a line and waits, until it is killed."""
    command = [sys.executable, "-c", code, str(argument)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


def test_a_folder_of_another_process_is_removed_once_that_is_killed(
    tmp_path: Path,
) -> None:
    """SIGKILL leaves no time to clean up, and a gigabyte of decoded pixels would stay forever."""
    with process(MAKES, tmp_path) as (child, line):
        folder = Path(line)
        remove_abandoned(tmp_path)
        kept = (folder / "pixels").is_file()
        child.send_signal(signal.SIGKILL)
        child.wait()

        left = folder.is_dir()
        own, held = make_scratch_folder(tmp_path)

    assert (kept, left) == (True, True)
    assert list(tmp_path.iterdir()) == [own]
    assert held is not None
    os.close(held)


def test_a_worker_holds_it_after_its_owner_was_killed(tmp_path: Path) -> None:
    """Workers live on for a moment, and must not read from files that are gone."""
    with process(MAKES, tmp_path) as (owner, line), process(HOLDS, Path(line)) as (worker, output):
        owner.kill()
        owner.wait()
        remove_abandoned(tmp_path)
        kept = Path(line).is_dir()
        worker.kill()
        worker.wait()
        remove_abandoned(tmp_path)

    assert (output, kept, Path(line).exists()) == ("held", True, False)


def test_a_child_by_fork_holds_it_too(tmp_path: Path) -> None:
    """It inherits the open file, and with it the lock."""
    folder, held = make_scratch_folder(tmp_path)
    assert held is not None
    if (child := os.fork()) == 0:
        signal.pause()
        os._exit(0)
    os.close(held)

    remove_abandoned(tmp_path)
    kept = folder.is_dir()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    remove_abandoned(tmp_path)

    assert (kept, folder.exists()) == (True, False)


def test_other_folders_stay(tmp_path: Path) -> None:
    """Folders of that name without a lock, of earlier versions and of other tools, and what a link
    points to.
    """
    (tmp_path / "segdeploy-old").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / LOCK).touch()
    (tmp_path / "segdeploy-link").symlink_to(tmp_path / "other")

    remove_abandoned(tmp_path)
    remove_abandoned(tmp_path / "nowhere")

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other",
        "segdeploy-link",
        "segdeploy-old",
    ]
    assert (tmp_path / "other" / LOCK).exists()


def test_a_removed_folder_cannot_be_held(tmp_path: Path) -> None:
    """The caller then finds the files missing."""
    folder, held = make_scratch_folder(tmp_path)
    assert held is not None
    os.close(held)
    shutil.rmtree(folder)

    assert hold_folder(folder) is None
