"""A scratch folder in use stays; one of a killed process is removed."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from segdeploy.system import files
from segdeploy.system.files import (
    CAN_LOCK,
    LOCK,
    hold_folder,
    make_scratch_folder,
    remove_abandoned,
    replacing,
    temporary_folder,
    write_text,
)
from segdeploy.video.annotations import json_lines
from segdeploy.video.writer import VideoSink
from tests.helpers.imports import MODULES

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


def test_a_folder_of_the_user_stays(tmp_path: Path) -> None:
    """Its name may begin like ours, and a file in it may be called like a lock of ours."""
    folder = tmp_path / "segdeploy-results"
    folder.mkdir(mode=0o700)
    (folder / LOCK).touch(mode=0o600)
    (folder / "precious.txt").write_text("results")

    remove_abandoned(tmp_path)

    assert (folder / "precious.txt").read_text() == "results"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755])
def test_a_folder_that_others_may_enter_stays(tmp_path: Path, mode: int) -> None:
    """It is not one of ours, whatever it contains."""
    folder, held = make_scratch_folder(tmp_path)
    assert held is not None
    os.close(held)
    folder.chmod(mode)

    remove_abandoned(tmp_path)

    assert folder.is_dir()


def test_only_the_user_may_enter_a_scratch_folder(tmp_path: Path) -> None:
    """On a machine of many users, all see its name."""
    with temporary_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / LOCK).stat().st_mode & 0o777 == 0o600


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Another user's link could make a process lock any file."""
    folder, held = make_scratch_folder(tmp_path)
    assert held is not None
    os.close(held)
    (tmp_path / "other").write_bytes((folder / LOCK).read_bytes())
    (tmp_path / "other").chmod(0o600)
    (folder / LOCK).unlink()
    (folder / LOCK).symlink_to(tmp_path / "other")

    remove_abandoned(tmp_path)

    assert folder.is_dir()
    with pytest.raises(OSError, match="symbolic"):
        hold_folder(folder)


def test_what_a_killed_command_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Every folder for temporary files is created in one way, so that any command removes it."""
    with process(MAKES, tmp_path) as (child, line):
        child.kill()
        child.wait()

    with temporary_folder(tmp_path) as folder:
        during = list(tmp_path.iterdir())

    assert Path(line) != folder
    assert during == [folder]
    assert list(tmp_path.iterdir()) == []


def test_every_temporary_folder_is_created_in_this_way() -> None:
    """Others stay when their process is killed, or have a name that can be guessed."""
    ways = re.compile(r"TemporaryDirectory|mkdtemp|mkstemp|NamedTemporaryFile|gettempdir|[\"']/tmp")

    found = [name for name, path in MODULES.items() if ways.search(path.read_text("utf-8"))]

    assert found == [files.__name__]


def link(path: Path, target: Path) -> Path:
    """Create a link as another user may in a folder that both write to; return its path."""
    target.write_text("precious")
    path.symlink_to(target)
    return path


def test_a_link_in_place_of_an_unfinished_file_is_not_followed(tmp_path: Path) -> None:
    """The file that it leads to would be overwritten."""
    part = link(tmp_path / "a.txt.part", tmp_path / "target")

    write_text(tmp_path / "a.txt", "result")

    assert (tmp_path / "target").read_text() == "precious"
    assert (tmp_path / "a.txt").read_text() == "result"
    assert not part.is_symlink()


def test_a_link_is_removed_before_the_block_begins(tmp_path: Path) -> None:
    """Libraries open the file by its name, and follow links."""
    link(tmp_path / "a.txt.part", tmp_path / "target")

    with replacing(tmp_path / "a.txt") as part:
        before = (part.is_symlink(), part.read_bytes())
        part.write_text("result")

    assert before == (False, b"")


def test_videos_and_their_annotations_follow_no_link(tmp_path: Path) -> None:
    """Their unfinished files stay for --resume, so they have names that can be guessed."""
    names = ("a.mp4.part", "a.mp4.whole.part", "a.jsonl.part")
    for name in names:
        link(tmp_path / name, tmp_path / f"target of {name}")

    with VideoSink(tmp_path / "a.mp4", width=32, height=32, rate=Fraction(5)) as video:
        video.write(np.zeros((32, 32, 3), np.uint8), seconds=0.0)
    with json_lines(tmp_path / "a.jsonl", (), lambda _: ""):
        pass

    assert all((tmp_path / f"target of {name}").read_text() == "precious" for name in names)
    assert (tmp_path / "a.mp4").stat().st_size > 100
