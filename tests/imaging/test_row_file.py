"""Rows in progress outlive an interruption, and only that."""

from pathlib import Path

import numpy as np
import pytest

from segdeploy.errors import InterruptedRun
from segdeploy.imaging.row_file import finished_rows, path_of_rows, row_file

SHAPE = (6, 5, 3)
ROWS = np.arange(90, dtype=np.uint8).reshape(SHAPE)


def write(target: Path, rows: np.ndarray, error: Exception, *, settings: str = "one") -> None:
    """Write some rows, and end with an error."""
    with row_file(target, shape=SHAPE, settings=settings) as file:
        file.add(rows)
        raise error


def interrupt(target: Path, rows: np.ndarray) -> None:
    """Write some rows, and be interrupted."""
    with pytest.raises(InterruptedRun):
        write(target, rows, InterruptedRun("now"))


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    """And removed at the end."""
    target = tmp_path / "folder" / "a.tif"

    with row_file(target, shape=SHAPE) as file:
        file.add(ROWS[:2])
        file.add(ROWS[2:])
        np.testing.assert_array_equal(file.pixels(), ROWS)
        np.testing.assert_array_equal(file.rows()[1:4], ROWS[1:4])
        np.testing.assert_array_equal(file.rows()[4:99], ROWS[4:])

    assert not list(target.parent.iterdir())


def test_an_interrupted_run_is_continued(tmp_path: Path) -> None:
    """Rows that are not whole are cut off."""
    target = tmp_path / "a.tif"
    interrupt(target, ROWS[:4])
    with path_of_rows(target).open("ab") as file:
        file.write(b"half a row"[:7])

    kept = finished_rows(target, width=5, bands=3, settings="one")
    with row_file(target, shape=SHAPE, settings="one", kept=3) as rows:
        rows.add(ROWS[3:])
        whole = np.array(rows.pixels())

    assert kept == 4
    np.testing.assert_array_equal(whole, ROWS)


def test_rows_of_other_settings_are_not_continued(tmp_path: Path) -> None:
    """They would belong to another network or image."""
    target = tmp_path / "a.tif"
    assert finished_rows(target, width=5, bands=3, settings="one") == 0

    interrupt(target, ROWS[:4])

    assert finished_rows(target, width=5, bands=3, settings="two") == 0


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """In a folder that others write to, it would lead to any file of the user."""
    target, other = tmp_path / "a.tif", tmp_path / "mine.txt"
    other.write_text("mine")
    path_of_rows(target).symlink_to(other)

    assert finished_rows(target, width=5, bands=3, settings="one") == 0
    interrupt(target, ROWS)

    assert other.read_text() == "mine"


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    """The rows of a damaged image are of no use."""
    with pytest.raises(ValueError, match="damaged"):
        write(tmp_path / "a", ROWS, ValueError("damaged"))

    assert not list(tmp_path.iterdir())
