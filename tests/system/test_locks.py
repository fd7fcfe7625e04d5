"""A result in progress is written by one process."""

import os
from pathlib import Path

import pytest

from segdeploy.errors import ConfigError
from segdeploy.system.locks import claim, claimed_folder, is_claimed
from segdeploy.system.posix import CAN_LOCK

pytestmark = pytest.mark.skipif(not CAN_LOCK, reason="this system has no fcntl")


def test_second_claim_is_refused(tmp_path: Path) -> None:
    """Two processes that write one file leave a broken one."""
    part = tmp_path / "a.part"

    first = claim(part)

    assert is_claimed(part)
    with pytest.raises(ConfigError, match="another run is writing"):
        claim(part)
    os.close(first)
    assert not is_claimed(part)
    os.close(claim(part))


def test_content_is_kept(tmp_path: Path) -> None:
    """What an interrupted run left is looked at first."""
    (tmp_path / "a.part").write_bytes(b"left")

    os.close(claim(tmp_path / "a.part"))

    assert (tmp_path / "a.part").read_bytes() == b"left"


def test_link_is_not_followed(tmp_path: Path) -> None:
    """A link of another user would lead to any file of this one."""
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "a.part").symlink_to(tmp_path / "mine")

    descriptor = claim(tmp_path / "a.part")
    os.write(descriptor, b"new")
    os.close(descriptor)

    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert (tmp_path / "a.part").read_bytes() == b"new"


def test_second_name_is_not_written_to(tmp_path: Path) -> None:
    """A hard link of another user would lead to any file of this one, as any link."""
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "a.part").hardlink_to(tmp_path / "mine")

    descriptor = claim(tmp_path / "a.part")
    os.write(descriptor, b"new")
    os.close(descriptor)

    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_folder_has_one_run(tmp_path: Path) -> None:
    """A training that is resumed twice at once would have the checkpoints of two."""
    with (
        claimed_folder(tmp_path),
        pytest.raises(ConfigError, match="another run is writing to"),
        claimed_folder(tmp_path),
    ):
        pass

    with claimed_folder(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_nothing_is_claimed_where_nothing_is(tmp_path: Path) -> None:
    """Looking makes no file."""
    assert not is_claimed(tmp_path / "a.part")
    assert list(tmp_path.iterdir()) == []
