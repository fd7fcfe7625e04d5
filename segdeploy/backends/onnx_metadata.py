"""Metadata and checksum of an ONNX file, read from its protobuf message without any library.

Field numbers are those of onnx.proto; the wire format is
https://protobuf.dev/programming-guides/encoding.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from segdeploy.errors import MissingModelError, ModelError

MAX_BYTES = 2**31 - 1
"""Largest size of a protobuf message, in bytes."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
GRAPH = 7
METADATA = 14


def read_metadata(path: Path) -> Mapping[str, str]:
    """Return the metadata of a file: card, expected self-test output and checksum, by their keys.

    Raises:
        ModelError: The file is missing, or not an ONNX file.
    """
    return metadata_of(read_message(path), path)


def metadata_of(content: bytes, path: Path) -> Mapping[str, str]:
    """Return the metadata in the bytes of a file.

    Args:
        content: What `read_message` returned.
        path: The file, for messages.

    Raises:
        ModelError: It is not an ONNX file.
    """
    try:
        return _metadata(memoryview(content))
    except DamagedError as error:
        raise not_onnx(path, error) from error


def checksum(path: Path, *, leave_out: str) -> str:
    """Return the SHA-256 over graph, weights and metadata, in hexadecimal digits.

    Args:
        path: The file.
        leave_out: Key of the entry that holds the checksum itself.
    """
    total = hashlib.sha256()
    message = memoryview(read_message(path))
    try:
        for number, value in fields(message):
            if number != METADATA:
                size = len(value) if isinstance(value, memoryview) else value
                total.update(f"{number}:{size}:".encode())
                total.update(value if isinstance(value, memoryview) else b"")
        metadata = _metadata(message)
    except DamagedError as error:
        raise not_onnx(path, error) from error
    for key in sorted(metadata.keys() - {leave_out}):
        total.update(f"{key}\0{metadata[key]}\0".encode())
    return total.hexdigest()


class DamagedError(Exception):
    """The bytes are not a protobuf message; callers add the name of the file."""


def not_onnx(path: Path, reason: DamagedError) -> ModelError:
    """Return the error of a file that is not an ONNX file, or a damaged one."""
    return ModelError(f"{path} is not an ONNX file, or is damaged ({reason}); export it again")


def read_message(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        ModelError: The file is missing, or too large for an ONNX file.
    """
    if not path.is_file():
        msg = f"there is no file {path}; name a file that 'segdeploy export' wrote"
        raise MissingModelError(msg)
    if path.stat().st_size > MAX_BYTES:
        msg = (
            f"{path} has {path.stat().st_size} bytes, more than the {MAX_BYTES} of an ONNX file;"
            " export it again"
        )
        raise ModelError(msg)
    return path.read_bytes()


def fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield the number of each field of a message, with its bytes or its integer value.

    Raises:
        DamagedError: The bytes are not a message.
    """
    at = 0
    while at < len(message):
        # Most keys and sizes have one byte.
        key, at = (message[at], at + 1) if message[at] < 128 else varint(message, at)
        wire_type = key & 7
        if wire_type == VARINT:
            number, at = varint(message, at)
            yield key >> 3, number
            continue
        if wire_type == BYTES:
            size, at = varint(message, at)
        elif wire_type in (FIXED64, FIXED32):
            size = 8 if wire_type == FIXED64 else 4
        else:
            msg = f"a field of wire type {wire_type} at byte {at}"
            raise DamagedError(msg)
        if at + size > len(message):
            msg = f"a field ends {at + size - len(message)} bytes behind the end"
            raise DamagedError(msg)
        yield key >> 3, message[at : at + size]
        at += size


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return an integer stored in seven bits a byte, and the offset behind it."""
    number = 0
    for place, byte in enumerate(message[at : at + 10]):
        number |= (byte & 127) << (7 * place)
        if byte < 128:
            return number, at + place + 1
    msg = f"an integer without an end at byte {at}"
    raise DamagedError(msg)


def _metadata(message: memoryview) -> dict[str, str]:
    found = list(fields(message))
    if GRAPH not in {number for number, _ in found}:
        msg = "it holds no graph"
        raise DamagedError(msg)
    entries = (
        dict(fields(value))
        for number, value in found
        if number == METADATA and isinstance(value, memoryview)
    )
    return {text_of(entry.get(1)): text_of(entry.get(2)) for entry in entries}


def text_of(value: memoryview | int | None) -> str:
    """Return the text of a field; "" where it is missing or a number."""
    return bytes(value).decode(errors="replace") if isinstance(value, memoryview) else ""
