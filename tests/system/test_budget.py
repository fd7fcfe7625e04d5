"""A small file may not take much memory, and users can raise the limit."""

from pathlib import Path

import pytest

from segdeploy.errors import ConfigError, DataError
from segdeploy.system.budget import VARIABLE, check_budget, file_budget, read_within

GIB = 1 << 30


@pytest.mark.parametrize(
    ("size", "budget"),
    [(0, GIB), (1_000_000, GIB), (15_000_000, 1_500_000_000), (1 << 40, 2 * GIB)],
)
def test_larger_files_may_take_more(monkeypatch, size, budget):
    """A photograph of 100 million pixels is no bomb, and its file is of 10 MB and more."""
    monkeypatch.delenv(VARIABLE, raising=False)

    assert file_budget(size) == budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [("8GB", 8 * GIB), ("8 GiB", 8 * GIB), ("8g", 8 * GIB), ("512M", GIB // 2), ("1000", 1000)],
)
def test_users_set_the_budget(monkeypatch, text, budget):
    """Of every file alike, in the ways in which sizes are written."""
    monkeypatch.setenv(VARIABLE, text)

    assert file_budget(1) == file_budget(1 << 40) == budget


@pytest.mark.parametrize("text", ["much", "-1GB", "1.5", "٣GB", "9" * 99])
def test_a_budget_that_is_no_size_is_refused(monkeypatch, text):
    """The message names the variable."""
    monkeypatch.setenv(VARIABLE, text)

    with pytest.raises(ConfigError, match=VARIABLE):
        file_budget(1)


def test_the_message_says_how_to_raise_it(monkeypatch):
    """With a value that is enough."""
    monkeypatch.delenv(VARIABLE, raising=False)

    with pytest.raises(DataError, match=f"a.png is large .* {VARIABLE}=3GB") as refusal:
        check_budget("a.png is large", 2 * GIB + 1, size=9, error=DataError)

    monkeypatch.setenv(VARIABLE, str(refusal.value).rpartition("=")[2])
    check_budget("a.png is large", 2 * GIB + 1, size=9, error=DataError)


@pytest.mark.parametrize("size", [0, 1, 999])
def test_a_file_is_read_whatever_the_limit(tmp_path, size):
    """A user may set more than the machine has; memory is taken for what is there."""
    path = tmp_path / "file"
    path.write_bytes(bytes(size))

    with path.open("rb") as file:
        assert read_within(file, 1 << 60) == (bytes(size), size)


def test_no_more_is_read_than_the_limit(tmp_path):
    """A file says its size and a device has no end."""
    path = tmp_path / "file"
    path.write_bytes(bytes(999))

    with path.open("rb") as file:
        assert read_within(file, 998) == (b"", 999)
    with Path("/dev/zero").open("rb") as device:
        content, size = read_within(device, 1000)
    assert len(content) == size > 1000
