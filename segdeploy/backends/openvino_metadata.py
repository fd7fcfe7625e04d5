"""Metadata and checksum of an OpenVINO model, read without OpenVINO.

A model is a graph in XML, and a second file beside it with the weights.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from segdeploy.backends.base import companion_of
from segdeploy.card import CHECKSUM_KEY
from segdeploy.errors import ModelError

MAX_BYTES = 256 * 1024 * 1024
"""Largest size of a graph without its weights, in bytes."""

WEIGHTS = ".bin"
NAMESPACE = "segdeploy"
"""Element below `rt_info` that holds our metadata: the key `segdeploy.card` is the element
`segdeploy/card`."""


def weights_of(path: Path) -> Path:
    """Return the file with the weights, also beside a graph that still has a temporary name."""
    return companion_of(path, WEIGHTS)


def read_metadata(path: Path) -> Mapping[str, str]:
    """Return the metadata of a file: card, expected self-test output and checksum, by their keys.

    Raises:
        ModelError: The file or the one with its weights is missing, or it is not an OpenVINO file.
    """
    return {
        f"{NAMESPACE}.{entry.tag}": entry.get("value", "")
        for entry in _read(path).iterfind(f"rt_info/{NAMESPACE}/*")
    }


def checksum(path: Path, *, leave_out: str) -> str:
    """Return the SHA-256 over graph, weights and metadata, in hexadecimal digits.

    Args:
        path: The file.
        leave_out: Key of the entry that holds the checksum itself.
    """
    root = _read(path)
    metadata = {
        entry.tag: entry.get("value", "") for entry in root.iterfind(f"rt_info/{NAMESPACE}/*")
    }
    for runtime_info in root.iterfind("rt_info"):
        for element in runtime_info.findall(NAMESPACE):
            runtime_info.remove(element)
    total = hashlib.sha256(ET.canonicalize(ET.tostring(root), strip_text=True).encode())
    for key in sorted(metadata):
        if f"{NAMESPACE}.{key}" != leave_out:
            total.update(f"{key}\0{metadata[key]}\0".encode())
    with weights_of(path).open("rb") as file:
        total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def check_pair(path: Path, metadata: Mapping[str, str]) -> None:
    """Check that graph and weights are those that were exported together.

    An export that ends between the two files leaves the new one beside the old one. A file without
    a checksum, which is not yet proven, passes.

    Args:
        path: The file.
        metadata: What `read_metadata` returned of it.

    Raises:
        ModelError: They are not.
    """
    expected = metadata.get(CHECKSUM_KEY)
    if expected is not None and checksum(path, leave_out=CHECKSUM_KEY) != expected:
        msg = (
            f"{path.name} and {weights_of(path).name} in {path.parent} do not belong together, or"
            " one of them was changed after the export; export the network again, or load them with"
            " --trust"
        )
        raise ModelError(msg)


def _read(path: Path) -> ET.Element:
    for file in (path, weights_of(path)):
        if not file.is_file():
            msg = (
                f"there is no file {file}; an OpenVINO file is a pair of {path.name} and"
                f" {weights_of(path).name}, keep them together"
            )
            raise ModelError(msg)
    content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    # Entities could make a small file large; OpenVINO declares none.
    if b"<!" in content:
        msg = (
            f"{path} declares entities or types, which no OpenVINO file does, and was not read; use"
            " only files that you trust"
        )
        raise ModelError(msg)
    try:
        # Without declarations there is nothing to expand.
        root = ET.fromstring(content)  # noqa: S314
    except (ET.ParseError, UnicodeDecodeError, ValueError) as error:
        msg = f"{path} is not an OpenVINO file, or is damaged ({error}); export it again"
        raise ModelError(msg) from error
    if root.tag != "net":
        msg = (
            f"{path} is not an OpenVINO file: it is a {root.tag[:40]!r}, not a 'net'; export it"
            " again"
        )
        raise ModelError(msg)
    return root
