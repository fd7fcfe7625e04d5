"""Runs get folders of their own, and the newest is found."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from segdeploy.errors import ConfigError, ModelError, OutputError
from segdeploy.system.runs import new_run, newest_checkpoint, result_folder


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_name_that_is_taken_gets_a_number() -> None:
    """No run overwrites another's files."""
    folders = [new_run("train", "unet").as_posix() for _ in range(3)]

    assert folders == ["runs/train/unet", "runs/train/unet-2", "runs/train/unet-3"]
    assert all(Path(folder).is_dir() for folder in folders)


def test_commands_have_folders_of_their_own() -> None:
    """A benchmark may have the name of a training."""
    new_run("train", "unet")

    assert new_run("benchmark", "unet").as_posix() == "runs/benchmark/unet"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """Output stays below runs/."""
    with pytest.raises(ConfigError, match="not a plain folder name"):
        new_run("train", name)

    assert not Path("runs").exists()


def make_runs_a_file() -> None:
    Path("runs").touch()


def make_runs_a_link_to_nowhere() -> None:
    Path("runs").symlink_to("unmounted/runs")


@pytest.mark.parametrize("block", [make_runs_a_file, make_runs_a_link_to_nowhere])
def test_runs_that_cannot_be_created_are_reported(block: Callable[[], None]) -> None:
    """Such a link once made an endless loop, since `mkdir` says that it exists."""
    block()

    with pytest.raises(OutputError, match="cannot create the folder runs/train: runs is "):
        new_run("train", "unet")
    with (
        pytest.raises(OutputError, match="cannot create the folder runs/out"),
        result_folder("run", "clip", output=Path("runs/out")),
    ):
        pass


def test_the_newest_checkpoint_is_the_one_written_last() -> None:
    """`segdeploy export` with no checkpoint takes the newest, whatever the names of the runs."""
    for name, seconds in (("a", 300), ("b", 100), ("c", 200)):
        path = new_run("train", name) / "best.pt"
        path.touch()
        os.utime(path, (seconds, seconds))

    assert newest_checkpoint().as_posix() == "runs/train/a/best.pt"


def test_missing_run_is_reported() -> None:
    """A new user may export before training."""
    with pytest.raises(ModelError, match="run 'segdeploy train' first"):
        newest_checkpoint()


def test_folder_with_results_stays() -> None:
    """Nothing that a command wrote is removed."""
    with result_folder("run", "clip", output=None) as folder:
        (folder / "overlay.mp4").touch()

    assert folder.as_posix() == "runs/run/clip"
    assert folder.is_dir()


@pytest.mark.parametrize("output", [None, Path("mine/out")])
def test_folder_without_results_is_removed(output: Path | None) -> None:
    """A command that failed leaves nothing behind, and hides no error."""

    def fail() -> None:
        with result_folder("run", "clip", output=output) as folder:
            assert folder.is_dir()
            newest_checkpoint()

    with pytest.raises(ModelError, match="there is no"):
        fail()

    assert not Path("runs/run/clip").exists()
    assert not Path("mine/out").exists()


def test_existing_folder_stays() -> None:
    """An empty folder that the user created is not removed."""
    Path("mine").mkdir()

    with result_folder("run", "clip", output=Path("mine")):
        pass

    assert Path("mine").is_dir()
