"""Mutation of bytes, whatever they are, and the choice of a mutator for a file."""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from tests.fuzz.binaries import (
    mutate_chunks,
    mutate_pickle,
    mutate_protobuf,
    mutate_tags,
    mutate_zip,
)
from tests.fuzz.documents import mutate_json, mutate_text, mutate_toml, mutate_xml

Mutator = Callable[[bytes, Random], bytes]

INTERESTING = (0, 1, 2, 16, 127, 128, 255, 256, 32767, 65535, 65536, 10**6, 2**31 - 1, 2**32 - 1)
"""Numbers at which readers that count in bytes, words and long words go wrong."""


def flip(content: bytes, random: Random) -> bytes:
    """Invert single bits."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def truncate(content: bytes, random: Random) -> bytes:
    """Keep the beginning only."""
    return content[: random.randrange(len(content))]


def lengthen(content: bytes, random: Random) -> bytes:
    """Append zeros, noise, or the file once more."""
    more = random.choice((bytes(1000), random.randbytes(1000), content))
    return content + more


def remove(content: bytes, random: Random) -> bytes:
    """Leave out some bytes."""
    start, end = _part(content, random)
    return content[:start] + content[end:]


def duplicate(content: bytes, random: Random) -> bytes:
    """Repeat some bytes, up to a thousand times."""
    start, end = _part(content, random)
    times = random.choice((2, 2, 3, 1000 if end - start < 100 else 3))
    return content[:start] + content[start:end] * times + content[end:]


def overwrite(content: bytes, random: Random) -> bytes:
    """Replace some bytes by one value, or by noise."""
    start, end = _part(content, random)
    size = end - start
    value = random.choice((bytes(size), b"\xff" * size, b" " * size, random.randbytes(size)))
    return content[:start] + value + content[end:]


def grow_number(content: bytes, random: Random) -> bytes:
    """Replace a number of one to eight bytes, in either order of them."""
    form = random.choice(("B", "<H", ">H", "<L", ">L", "<Q", ">Q"))
    size = struct.calcsize(form)
    # Headers are where the numbers are.
    reach = random.choice((min(len(content), 200), len(content)))
    start = random.randrange(max(1, reach - size))
    value = random.choice(INTERESTING) & (2 ** (8 * size) - 1)
    return content[:start] + struct.pack(form, value) + content[start + size :]


def grow_digits(content: bytes, random: Random) -> bytes:
    """Replace a number that is written in digits."""
    found = list(re.finditer(rb"\d+", content[:10_000]))
    if not found:
        return flip(content, random)
    digits = random.choice(found)
    value = random.choice((b"0", b"-1", b"999999", b"4294967296", b"1e308", b"0.5", b"9" * 40))
    return content[: digits.start()] + value + content[digits.end() :]


BYTES: tuple[Mutator, ...] = (
    flip,
    flip,
    truncate,
    lengthen,
    remove,
    duplicate,
    overwrite,
    grow_number,
    grow_number,
    grow_digits,
)

STRUCTURED: Mapping[str, Sequence[Mutator]] = {
    ".json": (mutate_json, mutate_json, mutate_text),
    ".jsonl": (mutate_text,),
    ".toml": (mutate_toml, mutate_toml, mutate_text),
    ".txt": (mutate_text,),
    ".xml": (mutate_xml, mutate_xml, mutate_text),
    ".onnx": (mutate_protobuf,),
    ".pt": (mutate_zip, mutate_pickle),
    ".pt2": (mutate_zip, mutate_json),
    ".torchscript": (mutate_zip, mutate_text),
    ".png": (mutate_chunks,),
    ".tif": (mutate_tags,),
    ".tiff": (mutate_tags,),
    ".mp4": (mutate_chunks,),
    ".mov": (mutate_chunks,),
    ".avi": (mutate_chunks,),
    ".webp": (mutate_chunks,),
    ".wav": (mutate_chunks,),
}
"""Mutators that know a format, by the end of a file's name."""


def mutate(content: bytes, path: Path, random: Random, *, others: Sequence[Path]) -> bytes:
    """Return a changed copy of a file's content.

    Args:
        content: What the file holds.
        path: The file, whose ending chooses the mutators.
        random: Chooses the changes.
        others: Files whose bytes may be mixed in.
    """
    if not content:
        return random.randbytes(random.randrange(64))
    chosen: Sequence[Mutator] = STRUCTURED.get(path.suffix.lower(), ())
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        if random.random() < 0.05 and others:
            content = splice(content, random.choice(others).read_bytes(), random)
        elif chosen and random.random() < 0.75:
            content = random.choice(chosen)(content, random)
        else:
            content = random.choice(BYTES)(content, random)
        if not content:
            break
    return content


def splice(content: bytes, other: bytes, random: Random) -> bytes:
    """Return the beginning of one file followed by the end of another."""
    return content[: random.randrange(len(content) + 1)] + other[random.randrange(len(other) + 1) :]


def _part(content: bytes, random: Random) -> tuple[int, int]:
    """Return the bounds of some bytes, of a few more often than of many."""
    start = random.randrange(len(content))
    size = random.choice((1, 4, 16, 256, len(content)))
    return start, min(len(content), start + 1 + random.randrange(size))
