"""Caches of libraries lie in one folder of the user, and do not grow for ever."""

import os
from pathlib import Path

import pytest

from segdeploy.system.cache import cache_folder, cache_folders, private_cache_folder, remove_oldest


def test_all_caches_are_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is created before a library needs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    assert cache_folder("torch") == tmp_path / "cache" / "segdeploy" / "torch"
    assert set(cache_folders().values()) == {
        str(tmp_path / "cache" / "segdeploy" / name) for name in ("matplotlib", "torch")
    }
    assert not (tmp_path / "cache").exists()


def test_private_folder_is_refused_where_others_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write a file there could change what a network answers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = private_cache_folder("graphs")
    assert folder == tmp_path / "segdeploy" / "graphs"
    assert folder.stat().st_mode & 0o777 == 0o700

    folder.chmod(0o770)
    assert private_cache_folder("graphs") is None
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    assert private_cache_folder("graphs") is None
    (tmp_path / "segdeploy" / "file").touch()
    assert private_cache_folder("file") is None


def test_oldest_files_of_a_cache_go_first(tmp_path: Path) -> None:
    """Engines have hundreds of megabytes, and every version of a driver makes new ones."""
    for age, name in enumerate(("newest", "middle", "oldest")):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))

    remove_oldest(tmp_path, 20)

    assert {path.name for path in tmp_path.iterdir()} == {"newest", "middle"}
