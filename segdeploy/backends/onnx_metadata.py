"""What an ONNX file carries, read without any library: the bytes of its protobuf message.

Field numbers are those of onnx.proto; the wire format is
https://protobuf.dev/programming-guides/encoding.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from segdeploy.errors import ModelError

MAX_BYTES = 2**31 - 1
"""Bytes that a protobuf message may have."""

MAX_DEPTH = 32
"""How deep graphs may lie within graphs."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
GRAPH = 7
METADATA = 14
EXTERNAL_DATA = 13

LOCATION = "location"
"""Key of the file that holds a tensor's numbers, where they lie outside."""

# message: {field: message within}, for all that leads to a tensor
_WITHIN: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def read_texts(path: Path) -> Mapping[str, str]:
    """Return the texts that a file carries by their keys (card, answer, checksum), once the file is found harmless.

    Raises:
        ModelError: The file is missing, no ONNX file, or points to data outside its own folder.
    """
    try:
        whole = _read(path)
        content = memoryview(whole)
        texts = _metadata(content)
        # To walk over all tensors takes twenty times as long as to see that the word stands
        # nowhere.
        tensors = _tensors(content, "model", MAX_DEPTH) if LOCATION.encode() in whole else ()
        locations = [location for tensor in tensors for location in _locations(tensor)]
    except _DamagedError as error:
        msg = f"{path} is no ONNX file or a damaged one ({error}); export it again"
        raise ModelError(msg) from error
    folder = path.parent.resolve()
    for location in locations:
        if not (folder / location).resolve().is_relative_to(folder):
            msg = (
                f"{path} points to data outside its folder ({location[:100]!r}) and was not loaded;"
                " use only files that you trust"
            )
            raise ModelError(msg)
    return texts


def checksum(path: Path, *, leave_out: str) -> str:
    """Return the SHA-256 over the graph, the weights and the texts, as hexadecimal text.

    Args:
        path: The file.
        leave_out: Key of the text that is not counted, since it holds the checksum itself.
    """
    total = hashlib.sha256()
    content = memoryview(_read(path))
    try:
        for number, value in _fields(content):
            if number != METADATA:
                size = len(value) if isinstance(value, memoryview) else value
                total.update(f"{number}:{size}:".encode())
                total.update(value if isinstance(value, memoryview) else b"")
        texts = _metadata(content)
    except _DamagedError as error:
        msg = f"{path} is no ONNX file or a damaged one ({error}); export it again"
        raise ModelError(msg) from error
    for key in sorted(texts.keys() - {leave_out}):
        total.update(f"{key}\0{texts[key]}\0".encode())
    return total.hexdigest()


class _DamagedError(Exception):
    """The bytes are no protobuf message; callers name the file."""


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
    """Walk over a message: the number of each field, and its bytes, or its number."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == VARINT:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if kind == BYTES:
            size, at = _varint(message, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            msg = f"a field of kind {kind} at byte {at}"
            raise _DamagedError(msg)
        if at + size > len(message):
            msg = f"a field ends {at + size - len(message)} bytes behind the end"
            raise _DamagedError(msg)
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte: the number, and where the next field begins."""
    number = 0
    for place, byte in enumerate(message[at : at + 10]):
        number |= (byte & 127) << (7 * place)
        if byte < 128:
            return number, at + place + 1
    msg = f"a number without an end at byte {at}"
    raise _DamagedError(msg)


def _metadata(content: memoryview) -> dict[str, str]:
    fields = list(_fields(content))
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
    """Walk over all tensors of a model, also those inside nodes and inner graphs."""
    if kind == "tensor":
        yield message
        return
    if depth == 0:
        msg = f"graphs lie more than {MAX_DEPTH} deep"
        raise _DamagedError(msg)
    within = _WITHIN[kind]
    for number, value in _fields(message):
        if number in within and isinstance(value, memoryview):
            yield from _tensors(value, within[number], depth - 1)


def _locations(tensor: memoryview) -> list[str]:
    """Return where a tensor's numbers lie outside the file; nothing where they lie within."""
    pairs = (
        dict(_fields(value))
        for number, value in _fields(tensor)
        if number == EXTERNAL_DATA and isinstance(value, memoryview)
    )
    return [_text(pair.get(2)) for pair in pairs if _text(pair.get(1)) == LOCATION]
