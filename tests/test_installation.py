"""Whoever lacks an extra is told the command that adds it to this installation."""

from pathlib import Path

import pytest

from segdeploy.errors import MissingExtraError
from segdeploy.installation import Installation, _program, find_installation

WHEEL = "file:///tmp/segdeploy-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "pip install 'segdeploy[train]'"),
        (
            {"url": "file:///home/a%20b/sd", "dir_info": {"editable": True}},
            "pip install -e '/home/a b/sd[train]'",
        ),
        ({"url": "file:///src/sd", "dir_info": {}}, "pip install '/src/sd[train]'"),
        ({"url": WHEEL, "archive_info": {}}, f"pip install 'segdeploy[train] @ {WHEEL}'"),
        (
            {"url": "https://x.org/sd", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "pip install 'segdeploy[train] @ git+https://x.org/sd@abc'",
        ),
    ],
)
def test_the_command_fits_where_the_package_came_from(
    origin: dict[str, object] | None, expected: str
) -> None:
    """A package that is on no index cannot be installed from there."""
    assert Installation(origin=origin).command("train") == expected


@pytest.mark.parametrize(
    ("file", "installer", "expected"),
    [
        ("pipx_metadata.json", "pip", "pipx install --force"),
        ("uv-receipt.toml", "uv", "uv tool install --force"),
        ("pyvenv.cfg", "uv", "uv pip install"),
        ("pyvenv.cfg", "pip", "pip install"),
    ],
)
def test_the_program_is_the_environments(
    tmp_path: Path, file: str, installer: str, expected: str
) -> None:
    """pip is missing, or reaches another environment, where pipx or uv made it."""
    (tmp_path / file).touch()

    assert _program(tmp_path, installer) == expected


def test_a_checkout_is_named_by_its_folder() -> None:
    """These tests run in one; the message is a command to copy."""
    root = Path(__file__).parents[1]

    assert f"{root}[train]" in find_installation().command("train")
    assert str(MissingExtraError("torch", "train")) == (
        f"torch is not installed; run: {find_installation().command('train')}"
    )
