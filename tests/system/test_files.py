"""A file is written whole or not at all, and temporary folders are removed."""

import errno
import os
from pathlib import Path

import pytest

from segdeploy.errors import ConfigError, OutputError
from segdeploy.system.files import make_folder, replacing, temporary_folder, write_bytes, write_text


def write_half(path, error):
    """A block that fails in the middle."""
    path.write_text("half")
    raise error


def test_a_file_appears_under_its_name_only(tmp_path):
    """The folder is made, and nothing temporary stays."""
    path = tmp_path / "new" / "folder" / "a.txt"

    write_text(path, "grün")

    assert path.read_bytes() == "grün".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_failing_block_leaves_the_old_file(tmp_path):
    """The old file is better than part of a new one."""
    path = tmp_path / "a.txt"
    path.write_text("old")

    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        write_half(part, ZeroDivisionError())

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    """The second would otherwise empty the file that the first renames: half under its name."""
    path = tmp_path / "a.txt"

    with replacing(path) as part:
        part.write_text("first")
        with pytest.raises(ConfigError, match="another run is writing"):
            write_text(path, "second")

    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_not_in_the_file(tmp_path):
    """It may be longer than the new content."""
    path = tmp_path / "a.txt"
    path.with_name("a.txt.part").write_text("left by another")

    write_text(path, "new")

    assert path.read_text() == "new"


def test_a_full_disk_is_reported_in_a_sentence(tmp_path):
    """The system's error for a full disk names no file."""
    with (
        pytest.raises(OutputError, match=r"cannot write .*a\.txt: No space left"),
        replacing(tmp_path / "a.txt") as part,
    ):
        write_half(part, OSError(errno.ENOSPC, "No space left on device"))

    assert not list(tmp_path.iterdir())


def test_a_real_full_disk_is_reported(tmp_path):
    """/dev/full is a disk without a free byte."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")

    with (
        pytest.raises(OutputError, match="cannot write"),
        replacing(tmp_path / "a.txt"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_a_full_folder_for_temporary_files_is_reported():
    """A user with a small /tmp can name another folder."""
    with (
        pytest.raises(OutputError, match=r"temporary files to .*No space left.*with TMPDIR"),
        temporary_folder() as folder,
    ):
        write_half(folder / "a", OSError(errno.ENOSPC, "No space left on device"))

    assert not folder.exists()


def test_a_missing_folder_for_temporary_files_is_reported(tmp_path):
    """TMPDIR may name a folder that is gone."""
    with (
        pytest.raises(OutputError, match=r"temporary files to .*gone: No such file.*TMPDIR"),
        temporary_folder(tmp_path / "gone"),
    ):
        pass


def test_other_errors_over_temporary_files_stay_what_they_are():
    """A missing image has nothing to do with a full disk."""
    with pytest.raises(FileNotFoundError), temporary_folder() as folder:
        (folder / "a").read_text()


@pytest.mark.parametrize(
    "error",
    [
        OSError("image file is truncated"),
        FileNotFoundError(errno.ENOENT, "No such file", "/elsewhere/b.txt"),
    ],
)
def test_an_error_of_another_file_stays_what_it_is(tmp_path, error):
    """An image that cannot be read while a report is written says nothing about the report."""
    with (
        pytest.raises(OSError) as caught,  # noqa: PT011 - the very object is compared
        replacing(tmp_path / "a.txt"),
    ):
        raise error

    assert caught.value is error


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="file is not a folder"):
        write_bytes(tmp_path / "file" / "a.txt", b"")
    with pytest.raises(OutputError, match="file is not a folder"):
        write_bytes(tmp_path / "file" / "deeper" / "a.txt", b"")


def test_a_link_to_nowhere_is_named(tmp_path):
    """A folder on a disk that is not mounted."""
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "runs")

    with pytest.raises(OutputError, match=r"runs is a link to .*disk/runs, which is not there"):
        make_folder(tmp_path / "runs" / "train")


def test_the_name_of_a_folder_is_refused(tmp_path):
    """The folder stays as it was."""
    (tmp_path / "a.txt").mkdir()

    with pytest.raises(OutputError, match="cannot write"):
        write_bytes(tmp_path / "a.txt", b"")

    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_a_device_is_not_replaced(tmp_path):
    """As root, a result named /dev/full would take its place for every program."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OutputError, match="it is a device or a pipe"):
        write_text(tmp_path / "pipe", "result")

    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
