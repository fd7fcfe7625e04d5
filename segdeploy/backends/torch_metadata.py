"""Metadata and checksum of TorchScript and .pt2 archives, read without PyTorch."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from segdeploy.system.torch_archive import open_archive

MAX_TEXT = 8 * 1024 * 1024
"""Largest size of one metadata entry in bytes; a larger one is not read."""

FOLDER = "extra/"
"""Folder of the metadata in an archive."""


def read_metadata(path: Path) -> Mapping[str, str]:
    """Return the metadata of a file: card, expected self-test output and checksum, by their keys.

    Raises:
        ModelError: The file is missing, or not an archive of PyTorch.
    """
    with open_archive(path) as archive:
        return {
            name.removeprefix(FOLDER): archive.read(name, limit=MAX_TEXT).decode(errors="replace")
            for name in archive.names()
            if name.startswith(FOLDER)
        }


def checksum(path: Path, *, leave_out: str) -> str:
    """Return the SHA-256 over name and content of every entry, in hexadecimal digits.

    Args:
        path: The file.
        leave_out: Key of the entry that holds the checksum itself.
    """
    total = hashlib.sha256()
    # PyTorch writes a random or time-dependent identifier into the second one.
    skipped = {f"{FOLDER}{leave_out}", ".data/serialization_id"}
    with open_archive(path) as archive:
        for name in archive.names():
            if name not in skipped:
                total.update(f"{name}\0{archive.size(name)}\0".encode())
                total.update(archive.read(name))
    return total.hexdigest()
