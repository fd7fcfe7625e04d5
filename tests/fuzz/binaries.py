"""Mutation of archives, pickles, protobuf, chunks and tags, with the right checksums.

Each function takes the content of a file and returns a changed one; what has another structure
than expected is returned with a bit inverted.
"""

import io
import re
import struct
import zipfile
import zlib
from random import Random
from typing import Any

from tests.fuzz.documents import TEXTS, flip_bit, mutate_json, mutate_text


def mutate_zip(content: bytes, random: Random) -> bytes:
    """Change, rename, repeat, compress or remove an entry, and write the archive anew."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, NotImplementedError, EOFError):
        return flip_bit(content, random)
    if not entries:
        return flip_bit(content, random)
    index = random.randrange(len(entries))
    name, data = entries[index]
    method, action = zipfile.ZIP_STORED, random.randrange(8)
    if action <= 3:
        entries[index] = name, _mutated_entry(name, data, random)
    elif action == 4:
        entries[index] = f"{name.partition('/')[0]}/{random.choice(TEXTS[5:])}", data
    elif action == 5:
        entries.append((name, flip_bit(data, random)))
    elif action == 6:
        method = zipfile.ZIP_DEFLATED
        entries[index] = name, bytes(random.choice((1, 10**5, 3 * 10**7)))
    else:
        del entries[index]
    return _zipped(entries, method)


def _mutated_entry(name: str, data: bytes, random: Random) -> bytes:
    if name.endswith(".json"):
        return mutate_json(data, random)
    if name.endswith(".pkl"):
        return mutate_pickle(data, random)
    if name.endswith(".py"):
        return mutate_text(data, random)
    return flip_bit(data, random)


def _zipped(entries: list[tuple[str, bytes]], method: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in entries:
            header = zipfile.ZipInfo(name.encode("utf-8", "replace").decode().replace("\0", "0"))
            header.compress_type = method
            archive._didModify = True
            # Python warns of a second entry of a name; hostile archives have them.
            archive.NameToInfo.pop(header.filename, None)
            archive.writestr(header, data)
    return target.getvalue()


PICKLE_NUMBER = re.compile(rb"K.|M..|J....|\x8a\x08.{8}", re.DOTALL)
PICKLE_NAME = re.compile(rb"c[\w.]+\n\w+\n")
GLOBALS = (
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"ctorch\nload\n",
    b"ctorch\nzeros\n",
    b"cx\ny\n",
)


def mutate_pickle(content: bytes, random: Random) -> bytes:
    """Replace a number or the name of a function in a pickle, or in an archive that holds one."""
    if content.startswith(b"PK"):
        return mutate_zip(content, random)
    numbers, names = list(PICKLE_NUMBER.finditer(content)), list(PICKLE_NAME.finditer(content))
    if names and random.random() < 0.3:
        found = random.choice(names)
        return content[: found.start()] + random.choice(GLOBALS) + content[found.end() :]
    if not numbers:
        return flip_bit(content, random)
    found = random.choice(numbers)
    value = random.choice((0, 1, -1, 255, 65536, 2**31 - 1, 2**40, 2**63 - 1))
    small = -(2**31) <= value < 2**31
    code = b"J" + struct.pack("<l", value) if small else b"\x8a\x08" + struct.pack("<q", value)
    return content[: found.start()] + code + content[found.end() :]


Field = tuple[int, int, Any]
"""Number, wire type and value of a field of protobuf."""


def mutate_protobuf(content: bytes, random: Random) -> bytes:
    """Change, remove or repeat a field at any depth of a message, with the right lengths."""
    fields = _read_fields(content)
    if not fields:
        return flip_bit(content, random)
    path: list[tuple[list[Field], int]] = []
    level: list[Field] | None = fields
    while level:
        index = random.randrange(len(level))
        path.append((level, index))
        number, kind, value = level[index]
        inner = _read_fields(value) if kind == 2 and random.random() < 0.9 else None
        if inner is None:
            break
        level = inner
    holder, index = path[-1]
    number, kind, value = holder[index]
    action = random.randrange(6)
    if action == 0:
        del holder[index]
    elif action == 1:
        holder.insert(index, holder[index])
    elif action == 2:
        holder[index] = random.randrange(1, 30), kind, value
    elif kind == 0:
        numbers = (0, 1, 2, 7, 255, 65536, 2**31, 2**40, 2**63 - 1, 2**64 - 1)
        holder[index] = number, kind, random.choice(numbers)
    elif kind == 2 and random.random() < 0.4:
        holder[index] = number, kind, random.choice(TEXTS).encode("utf-8", "surrogatepass")
    else:
        holder[index] = number, kind, flip_bit(value, random)[: random.choice((None, None, 3))]
    for (outer, place), (inner, _) in zip(path[-2::-1], path[:0:-1], strict=True):
        outer[place] = outer[place][0], 2, _write_fields(inner)
    return _write_fields(fields)


def _read_fields(content: bytes) -> list[Field] | None:
    """Return the fields of a message; None where the bytes are none."""
    fields: list[Field] = []
    position = 0
    try:
        while position < len(content):
            key, position = _read_varint(content, position)
            number, kind = key >> 3, key & 7
            if not 0 < number < 1000:
                return None
            if kind == 0:
                value, position = _read_varint(content, position)
                fields.append((number, kind, value))
                continue
            size, position = (
                {1: (8, position), 5: (4, position)}.get(kind, (-1, position))
                if kind != 2
                else _read_varint(content, position)
            )
            if size < 0 or position + size > len(content):
                return None
            fields.append((number, kind, content[position : position + size]))
            position += size
    except IndexError:
        return None
    return fields or None


def _write_fields(fields: list[Field]) -> bytes:
    parts = []
    for number, kind, value in fields:
        parts.append(_varint(number << 3 | kind))
        if kind == 0:
            parts.append(_varint(value))
        else:
            parts.append((_varint(len(value)) if kind == 2 else b"") + value)
    return b"".join(parts)


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise IndexError


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def mutate_chunks(content: bytes, random: Random) -> bytes:
    """Change, remove, repeat or exchange chunks of PNG, boxes of MP4, or chunks of RIFF.

    PNG's checksums are right again afterwards.
    """
    if content.startswith(b"\x89PNG"):
        start, size_at, form, extra = 8, 0, ">L", 12
    elif content.startswith(b"RIFF"):
        start, size_at, form, extra = 12, 4, "<L", 8
    else:
        start, size_at, form, extra = 0, 0, ">L", 0
    chunks = _chunks(content, start, size_at=size_at, form=form, extra=extra)
    if not chunks:
        return flip_bit(content, random)
    index, action = random.randrange(len(chunks)), random.randrange(6)
    chunk = chunks[index]
    if action == 0:
        del chunks[index]
    elif action == 1:
        chunks[index:index] = [chunk] * random.choice((1, 1, 100))
    elif action == 2:
        other = random.randrange(len(chunks))
        chunks[index], chunks[other] = chunks[other], chunk
    elif len(chunk) > 12:
        body = bytearray(chunk)
        for _ in range(random.choice((1, 1, 3))):
            place = random.randrange(8, len(body))
            body[place] = random.choice((0, 1, 2, 127, 128, 255))
        if start == 8:
            body[-4:] = struct.pack(">L", zlib.crc32(body[4:-4]))
        chunks[index] = bytes(body)
    return content[:start] + b"".join(chunks)


def _chunks(content: bytes, start: int, *, size_at: int, form: str, extra: int) -> list[bytes]:
    chunks = []
    while start + 8 <= len(content):
        (size,) = struct.unpack_from(form, content, start + size_at)
        end = start + max(8, size + extra)
        chunks.append(content[start:end])
        start = end
    return chunks


def mutate_tags(content: bytes, random: Random) -> bytes:
    """Change tag, type, count or value of an entry of the directory of a TIFF."""
    order = "<" if content[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}L", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
    except struct.error:
        return flip_bit(content, random)
    place = start + 2 + 12 * random.randrange(max(1, count))
    field, form = random.choice(((0, "H"), (2, "H"), (4, "L"), (8, "L"), (8, "H")))
    numbers = {
        "H": (0, 1, 2, 3, 4, 5, 8, 16, 32, 64, 256, 257, 258, 259, 262, 277, 32773, 65535),
        "L": (0, 1, 2, 3, 4, 8, 255, 65536, 10**6, 2**31 - 1, 2**32 - 1),
    }[form]
    value = struct.pack(order + form, random.choice(numbers))
    if place + field + len(value) > len(content):
        return flip_bit(content, random)
    return content[: place + field] + value + content[place + field + len(value) :]
