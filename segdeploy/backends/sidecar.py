"""FILE.json beside a file: the metadata of formats that have no room for it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from segdeploy.backends.base import companion_of
from segdeploy.card import CHECKSUM_KEY
from segdeploy.errors import ModelError
from segdeploy.system.budget import read_within
from segdeploy.system.files import PART

WEIGHTS: Mapping[str, str] = {".param": ".bin"}
"""Suffix of the file with the weights, by that of the graph; other formats are one file."""

MAX_BYTES = 16 << 20
"""Largest size of the metadata, in bytes."""


def sidecar_of(path: Path) -> Path:
    """Return FILE.json of a file."""
    return companion_of(path, f"{_suffix(path)}.json")


def read_metadata(path: Path) -> Mapping[str, str]:
    """Return the metadata of a file: card, expected self-test output and checksum, by their keys.

    Raises:
        ModelError: The file or one that belongs to it is missing, or the metadata are damaged.
    """
    sidecar = sidecar_of(path)
    for file in (*_parts(path), sidecar):
        if not file.is_file():
            names = " and ".join(part.name for part in (*_parts(path), sidecar))
            msg = f"there is no file {file}; {names} belong together, keep them in one folder"
            raise ModelError(msg)
    with sidecar.open("rb") as opened:
        content, size = read_within(opened, MAX_BYTES)
    if size > MAX_BYTES:
        msg = f"{sidecar} has {size} bytes, more than the {MAX_BYTES} of metadata; export it again"
        raise ModelError(msg)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        msg = f"{sidecar} is damaged ({' '.join(str(error).split())[:200]}); export it again"
        raise ModelError(msg) from error
    if not isinstance(values, dict):
        msg = f"{sidecar} holds a {type(values).__name__}, not an object; export it again"
        raise ModelError(msg)
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
    }


def write_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Write FILE.json; what is JSON in the metadata becomes a part of it."""
    values = {
        key: text if key == CHECKSUM_KEY else json.loads(text) for key, text in metadata.items()
    }
    sidecar_of(path).write_text(f"{json.dumps(values, indent=2)}\n", encoding="utf-8")


def checksum(path: Path, *, leave_out: str) -> str:
    """Return the SHA-256 over a file, its weights and its metadata, in hexadecimal digits.

    Args:
        path: The file.
        leave_out: Key of the entry that holds the checksum itself.
    """
    total = hashlib.sha256()
    for key, text in sorted(read_metadata(path).items()):
        if key != leave_out:
            total.update(f"{key}\0{text}\0".encode(errors="surrogatepass"))
    for file in _parts(path):
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


def check_unchanged(path: Path, metadata: Mapping[str, str]) -> None:
    """Check that a file and its metadata are those that were exported together.

    An export that ends between two files leaves a new one beside an old one. A file without a
    checksum, which is not yet proven, passes.

    Args:
        path: The file.
        metadata: What `read_metadata` returned of it.

    Raises:
        ModelError: They are not.
    """
    expected = metadata.get(CHECKSUM_KEY)
    if expected is not None and checksum(path, leave_out=CHECKSUM_KEY) != expected:
        names = " and ".join(file.name for file in (*_parts(path), sidecar_of(path)))
        msg = (
            f"{names} in {path.parent} do not belong together, or one of them was changed after the"
            " export; export the network again, or load them with --trust"
        )
        raise ModelError(msg)


def _suffix(path: Path) -> str:
    """Return the suffix that a file has once it is proven."""
    return path.with_suffix("").suffix if path.suffix == PART else path.suffix


def _parts(path: Path) -> list[Path]:
    """Return a file, and the one with its weights."""
    weights = WEIGHTS.get(_suffix(path))
    return [path, companion_of(path, weights)] if weights else [path]
