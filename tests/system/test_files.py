"""A file is written whole or not at all, and temporary folders are removed."""

import errno
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdeploy.errors import OutputError
from segdeploy.system.files import replacing, temporary_folder, to_toml, write_bytes, write_text


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

    with pytest.raises(OutputError, match="cannot write"):
        write_bytes(tmp_path / "file" / "a.txt", b"")
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes(tmp_path / "file" / "deeper" / "a.txt", b"")


def test_the_name_of_a_folder_is_refused(tmp_path):
    """The folder stays as it was."""
    (tmp_path / "a.txt").mkdir()

    with pytest.raises(OutputError, match="cannot write"):
        write_bytes(tmp_path / "a.txt", b"")

    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
PLAIN = st.one_of(VALUES, st.lists(TEXTS))


@given(st.dictionaries(TEXTS, st.one_of(PLAIN, st.dictionaries(TEXTS, PLAIN, min_size=1))))
def test_toml_is_read_back(values: dict[str, Any]) -> None:
    """Keys with spaces, quotes and controls, any Unicode text, tables."""
    assert tomllib.loads(to_toml(values)) == values


def test_toml_is_readable() -> None:
    """Plain keys first, each on its line; tables behind them, unless they are empty."""
    values = {
        "loss": "ce+dice",
        "unions": {},
        "scale": [0.5, 2.0],
        "arguments": {"width": 96, "living things": ["Car"]},
        "amp": True,
    }

    assert (
        to_toml(values)
        == 'loss = "ce+dice"\nscale = [0.5, 2.0]\namp = true\n\n[arguments]\nwidth = 96\n"living'
        ' things" = ["Car"]\n'
    )
