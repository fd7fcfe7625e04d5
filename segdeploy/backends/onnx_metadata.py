"""Metadata and checksum of an ONNX file, read from its protobuf message without any library.

Field numbers are those of onnx.proto; the wire format is
https://protobuf.dev/programming-guides/encoding.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from segdeploy.errors import ModelError

MAX_BYTES = 2**31 - 1
"""Largest size of a protobuf message, in bytes."""

MAX_DEPTH = 32
"""How deep graphs may be nested."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
GRAPH = 7
METADATA = 14
EXTERNAL_DATA = 13

LOCATION = "location"
"""Key of the file that holds the values of a tensor with external data."""

# message: {field: its message}, for every path that leads to a tensor
_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def read_metadata(path: Path) -> Mapping[str, str]:
    """Return the metadata of a file: card, expected self-test output and checksum, by their keys.

    Raises:
        ModelError: The file is missing, not an ONNX file, or refers to data outside its own folder.
    """
    try:
        data = _read(path)
        message = memoryview(data)
        metadata = _metadata(message)
        # Walking over all tensors takes twenty times as long as finding that no byte sequence
        # spells the key.
        tensors = _tensors(message, "model", MAX_DEPTH) if LOCATION.encode() in data else ()
        locations = [location for tensor in tensors for location in _locations(tensor)]
    except _DamagedError as error:
        msg = f"{path} is not an ONNX file, or is damaged ({error}); export it again"
        raise ModelError(msg) from error
    folder = path.parent.resolve()
    for location in locations:
        if not (folder / location).resolve().is_relative_to(folder):
            msg = (
                f"{path} refers to data outside its folder ({location[:100]!r}) and was not loaded;"
                " use only files that you trust"
            )
            raise ModelError(msg)
    return metadata


def checksum(path: Path, *, leave_out: str) -> str:
    """Return the SHA-256 over graph, weights and metadata, in hexadecimal digits.

    Args:
        path: The file.
        leave_out: Key of the entry that holds the checksum itself.
    """
    total = hashlib.sha256()
    message = memoryview(_read(path))
    try:
        for number, value in _fields(message):
            if number != METADATA:
                size = len(value) if isinstance(value, memoryview) else value
                total.update(f"{number}:{size}:".encode())
                total.update(value if isinstance(value, memoryview) else b"")
        metadata = _metadata(message)
    except _DamagedError as error:
        msg = f"{path} is not an ONNX file, or is damaged ({error}); export it again"
        raise ModelError(msg) from error
    for key in sorted(metadata.keys() - {leave_out}):
        total.update(f"{key}\0{metadata[key]}\0".encode())
    return total.hexdigest()


class _DamagedError(Exception):
    """The bytes are not a protobuf message; callers add the name of the file."""


def _read(path: Path) -> bytes:
    if not path.is_file():
        msg = f"there is no file {path}; name a file that 'segdeploy export' wrote"
        raise ModelError(msg)
    if path.stat().st_size > MAX_BYTES:
        msg = (
            f"{path} has {path.stat().st_size} bytes, more than the {MAX_BYTES} of an ONNX file;"
            " export it again"
        )
        raise ModelError(msg)
    return path.read_bytes()


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield the number of each field of a message, with its bytes or its integer value."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire_type = key & 7
        if wire_type == VARINT:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if wire_type == BYTES:
            size, at = _varint(message, at)
        elif wire_type in (FIXED64, FIXED32):
            size = 8 if wire_type == FIXED64 else 4
        else:
            msg = f"a field of wire type {wire_type} at byte {at}"
            raise _DamagedError(msg)
        if at + size > len(message):
            msg = f"a field ends {at + size - len(message)} bytes behind the end"
            raise _DamagedError(msg)
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return an integer stored in seven bits a byte, and the offset behind it."""
    number = 0
    for place, byte in enumerate(message[at : at + 10]):
        number |= (byte & 127) << (7 * place)
        if byte < 128:
            return number, at + place + 1
    msg = f"an integer without an end at byte {at}"
    raise _DamagedError(msg)


def _metadata(message: memoryview) -> dict[str, str]:
    fields = list(_fields(message))
    if GRAPH not in {number for number, _ in fields}:
        msg = "it holds no graph"
        raise _DamagedError(msg)
    entries = (
        dict(_fields(value))
        for number, value in fields
        if number == METADATA and isinstance(value, memoryview)
    )
    return {_text(entry.get(1)): _text(entry.get(2)) for entry in entries}


def _text(value: memoryview | int | None) -> str:
    return bytes(value).decode(errors="replace") if isinstance(value, memoryview) else ""


def _tensors(message: memoryview, kind: str, depth: int) -> Iterator[memoryview]:
    """Yield all tensors below a message, also those inside nodes and nested graphs."""
    if kind == "tensor":
        yield message
        return
    if depth == 0:
        msg = f"graphs are nested more than {MAX_DEPTH} deep"
        raise _DamagedError(msg)
    children = _CHILDREN[kind]
    for number, value in _fields(message):
        if number in children and isinstance(value, memoryview):
            yield from _tensors(value, children[number], depth - 1)


def _locations(tensor: memoryview) -> list[str]:
    """Return the file with the values of a tensor; nothing where they lie in the ONNX file."""
    pairs = (
        dict(_fields(value))
        for number, value in _fields(tensor)
        if number == EXTERNAL_DATA and isinstance(value, memoryview)
    )
    return [_text(pair.get(2)) for pair in pairs if _text(pair.get(1)) == LOCATION]
