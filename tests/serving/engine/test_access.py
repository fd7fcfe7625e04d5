"""Files of keys: what is easily guessed is refused at the start, not in the field."""

from pathlib import Path

import pytest

from segdeploy.errors import ConfigError, RequestError
from segdeploy.serving.engine.access import Access, read_keys
from tests.helpers.servers import KEY


def test_keys_of_a_file(tmp_path: Path) -> None:
    """One a line, with comments."""
    path = tmp_path / "keys"
    path.write_text(f"# of the cameras\n\n{KEY}\n  {KEY}2  \n")

    access = Access(read_keys(path))

    assert access.allows(KEY)
    assert access.allows(f"{KEY}2")
    assert not access.allows("")
    assert not access.allows("# of the cameras")


def test_proxy_before_a_local_server_is_named() -> None:
    """Behind nginx, browsers ask for its name."""
    access = Access(names=["www.example.org"])

    access.check({"host": "www.example.org", "origin": "https://www.example.org"}, is_public=False)
    with pytest.raises(RequestError, match="--allow-host"):
        access.check({"host": "evil.example"}, is_public=False)


@pytest.mark.parametrize("text", ["", "# nothing\n", "short\n"])
def test_unusable_files_are_refused(tmp_path: Path, text: str) -> None:
    """A server that believes it is locked must be."""
    path = tmp_path / "keys"
    path.write_text(text)

    with pytest.raises(ConfigError):
        read_keys(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A typing error must not open the server."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path / "keys")
