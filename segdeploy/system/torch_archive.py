"""Archives of PyTorch and the tensors in them, read by one strict reader.

A ZIP archive can be read in several ways: by a second directory, by entries of one name, by
directories that point into other entries. Checking an archive with one reader and loading it with
another may load what was never checked. So `Archive` accepts only an archive every byte of which
is accounted for, and PyTorch is given what `to_bytes` made of the entries, never the file.

Tensors are described by a pickle. `read_pickle` builds descriptions of them instead, and checks
that each lies within its bytes: PyTorch would take any amount of memory for four of them.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdeploy.errors import MissingModelError, ModelError

MAX_COMPRESSED = 16 * 1024 * 1024
"""Largest size of all compressed entries of an archive together, unpacked, in bytes.

PyTorch compresses the code of TorchScript and nothing else: large networks have less than 1 MB.
"""

MAX_ENTRIES = 100_000

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

END = struct.Struct("<4s4H2LH")
"""End of the directory: signature, disks, entries, size and start of the directory, comment."""

END64 = struct.Struct("<4sQ2H2L4Q")
"""The same in 64 bits."""

LOCATOR64 = struct.Struct("<4sLQL")
"""Where the one in 64 bits begins."""

LOCAL = struct.Struct("<4s5H3L2H")
"""Header before each entry; its last two fields are the sizes of name and extra field."""

DESCRIPTOR = 24
"""Largest size in bytes of what may follow an entry: its checksum and sizes."""

_OPCODES = """
APPEND APPENDS BINFLOAT BINGET BININT BININT1 BININT2 BINPERSID BINPUT BINUNICODE EMPTY_DICT
EMPTY_LIST EMPTY_TUPLE GLOBAL LONG1 LONG_BINGET LONG_BINPUT MARK NEWFALSE NEWTRUE NONE PROTO
REDUCE SETITEM SETITEMS STOP TUPLE TUPLE1 TUPLE2 TUPLE3
"""

OPCODES = frozenset(_OPCODES.split())
"""What a pickle of tensors and plain values consists of."""

STORAGES = {
    "BFloat16Storage": 2,
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "IntStorage": 4,
    "LongStorage": 8,
    "ShortStorage": 2,
}
"""Bytes of an element by the name of its storage."""

MAX_DIMENSIONS = 16

MAX_SHARING = 4
"""How many times as large as their bytes all tensors together may be: some share theirs."""

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What reading a damaged archive raises."""


class Archive:
    """An archive of PyTorch that is open for reading."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        """Wrap an archive that `open_archive` checked.

        Args:
            path: The file, for messages.
            file: The open archive.
        """
        self.path = path
        self._file = file
        # The top folder is named after the file, which may have been renamed since.
        self._entries = {entry.filename.partition("/")[2]: entry for entry in file.infolist()}

    def __contains__(self, name: str) -> bool:
        """Return whether there is an entry of a name, without the top folder."""
        return name in self._entries

    def names(self) -> list[str]:
        """Return the names of all entries, without the top folder, in order."""
        return sorted(self._entries)

    def size(self, name: str) -> int:
        """Return the size of an entry in bytes."""
        return self._entries[name].file_size

    def read(self, name: str, *, limit: int | None = None) -> bytes:
        """Return the content of an entry.

        Raises:
            ModelError: It is missing, damaged, or larger than the limit in bytes.
        """
        if name not in self._entries:
            msg = f"{self.path} holds no entry {name!r}; export it again"
            raise ModelError(msg)
        if limit is not None and self.size(name) > limit:
            msg = (
                f"{self.path} holds {name} of {self.size(name)} bytes, more than {limit}; export"
                " it again"
            )
            raise ModelError(msg)
        try:
            return self._file.read(self._entries[name])
        except DAMAGE as error:
            msg = f"{self.path} is damaged ({error}); export it again"
            raise ModelError(msg) from error


@contextmanager
def open_archive(path: Path, *, max_compressed: int = MAX_COMPRESSED) -> Iterator[Archive]:
    """Open an archive that can be read in only one way.

    Args:
        path: The file.
        max_compressed: Largest size of what is compressed in it, unpacked, in bytes.

    Yields:
        The archive, which unpacks to its own size and that at most.

    Raises:
        ModelError: The file is missing, not an archive of PyTorch, or ambiguous.
    """
    if not path.is_file():
        msg = f"there is no file {path}; name a file that segdeploy wrote"
        raise MissingModelError(msg)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            start = _directory(file)
            archive = stack.enter_context(zipfile.ZipFile(file))
            reason = _ambiguity(
                archive.infolist(), file, start=start, max_compressed=max_compressed
            )
        except DAMAGE as error:
            msg = f"{path} is not an archive of PyTorch, or is damaged ({error}); export it again"
            raise ModelError(msg) from error
        if reason:
            msg = (
                f"{path} holds {reason}, which no archive of PyTorch does, and was not loaded; use"
                " only files that segdeploy wrote"
            )
            raise ModelError(msg)
        yield Archive(path, archive)


def _directory(file: io.BufferedReader) -> int:
    """Return where the directory of an archive begins, in bytes.

    Raises:
        ValueError: The file does not end with its directory alone.
    """
    end = file.seek(0, io.SEEK_END) - END.size
    signature, *_, size, start, comment = END.unpack(_at(file, end, END.size))
    if signature != b"PK\5\6" or comment:
        msg = "it does not end with its directory"
        raise ValueError(msg)
    signature, _, end64, _ = LOCATOR64.unpack(_at(file, end - LOCATOR64.size, LOCATOR64.size))
    if signature == b"PK\6\7":
        behind = end - LOCATOR64.size - END64.size
        signature64, rest, *_, size64, start64 = END64.unpack(_at(file, end64, END64.size))
        if signature64 != b"PK\6\6" or end64 != behind or rest != END64.size - 12:
            msg = "its directory has two ends"
            raise ValueError(msg)
        # Readers differ in which of two contradicting numbers they use.
        if size not in (size64, 0xFFFFFFFF) or start not in (start64, 0xFFFFFFFF):
            msg = "its directory has two places"
            raise ValueError(msg)
        end, size, start = end64, size64, start64
    if start + size != end:
        msg = "its directory is not where it should be"
        raise ValueError(msg)
    return int(start)


def _at(file: io.BufferedReader, position: int, size: int) -> bytes:
    if position < 0:
        msg = "it is too short"
        raise ValueError(msg)
    file.seek(position)
    return file.read(size)


def _ambiguity(
    entries: list[zipfile.ZipInfo], file: io.BufferedReader, *, start: int, max_compressed: int
) -> str:
    """Return what makes an archive ambiguous, or too large when it is unpacked; "" if nothing.

    Args:
        entries: All entries of its directory.
        file: The archive.
        start: Where the directory begins, in bytes.
        max_compressed: Largest size of what is compressed, in bytes.
    """
    names = {entry.filename.partition("/")[2] for entry in entries}
    if len(names) < len(entries) or len(entries) > MAX_ENTRIES:
        return "several entries of one name"
    if len({entry.filename.partition("/")[0] for entry in entries}) > 1:
        return "several top folders"
    if any(entry.compress_type not in METHODS for entry in entries):
        return "an entry of another compression"
    packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if sum(entry.file_size for entry in packed) > max_compressed:
        return f"compressed entries of more than {max_compressed} bytes"
    behind = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if not behind <= entry.header_offset <= behind + DESCRIPTOR or entry.flag_bits & 1:
            return f"bytes that belong to no entry before {entry.filename[:100]!r}"
        if entry not in packed and entry.file_size != entry.compress_size:
            return f"an entry {entry.filename[:100]!r} of two sizes"
        header = LOCAL.unpack(_at(file, entry.header_offset, LOCAL.size))
        behind = entry.header_offset + LOCAL.size + sum(header[-2:]) + entry.compress_size
    if not behind <= start <= behind + DESCRIPTOR:
        return "bytes that belong to no entry before its directory"
    return ""


def to_bytes(entries: Mapping[str, bytes]) -> io.BytesIO:
    """Return an archive with these entries, by their names without the top folder, in memory."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    content.seek(0)
    return content


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Where a tensor lies in an archive.

    Attributes:
        kind: Name of its storage, a key of `STORAGES`.
        key: Name of its entry, behind the folder.
        count: Elements of the storage.
        offset: First element of the tensor in the storage.
        shape: Sizes of its dimensions.
        strides: Steps of its dimensions, in elements.
    """

    kind: str
    key: str
    count: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def check(self, size: int) -> None:
        """Check that it lies within an entry of `size` bytes, each element on bytes of its own.

        Raises:
            ValueError: It does not.
        """
        numbers = (self.count, self.offset, *self.shape, *self.strides)
        if (
            any(type(number) is not int or number < 0 for number in numbers)
            or len(self.shape) != len(self.strides)
            or len(self.shape) > MAX_DIMENSIONS
            or self.count * STORAGES[self.kind] != size
        ):
            msg = f"the tensor {self.key!r} contradicts its bytes"
            raise ValueError(msg)
        reach = sum(
            (side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True)
        )
        elements = math.prod(self.shape)
        if elements and (elements > self.count or self.offset + reach >= self.count):
            msg = f"the tensor {self.key!r} is larger than its bytes"
            raise ValueError(msg)


class _Descriptions(pickle.Unpickler):
    """Builds `StoredTensor` in place of tensors, and nothing else but plain values."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - pickle's own
        """Return what stands for a name; all others are refused."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _describe
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in STORAGES:
            return name
        msg = f"it names {module}.{name}"
        raise pickle.UnpicklingError(msg)

    def persistent_load(self, pid: Any) -> tuple[str, str, int]:  # noqa: ANN401 - pickle's own
        """Return storage, key and count of a reference to an entry."""
        marker, kind, key, _, count = pid
        if marker != "storage" or kind not in STORAGES or not isinstance(key, str):
            msg = f"it refers to {str(pid)[:100]}"
            raise pickle.UnpicklingError(msg)
        return kind, key, count


def _describe(
    storage: tuple[str, str, int],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: object,
) -> StoredTensor:
    kind, key, count = storage
    return StoredTensor(
        kind=kind, key=key, count=count, offset=offset, shape=tuple(shape), strides=tuple(strides)
    )


def read_pickle(archive: Archive, name: str, *, folder: str) -> Any:  # noqa: ANN401
    """Return the value of a pickle, with `StoredTensor` in place of tensors; nothing is executed.

    Args:
        archive: The archive.
        name: Entry of the pickle.
        folder: Folder of the entries with the bytes of the tensors.

    Raises:
        ModelError: It is damaged, a tensor lies outside its bytes, or it holds more than tensors
            and plain values.
    """
    content = archive.read(name)
    try:
        for opcode, argument, _ in pickletools.genops(content):
            # The reader makes room for every number up to the largest.
            if opcode.name not in OPCODES or (
                opcode.name == "LONG_BINPUT" and int(argument or 0) > len(content)
            ):
                msg = f"it has a {opcode.name}"
                raise pickle.UnpicklingError(msg)  # noqa: TRY301 - one sentence for all
        reader = _Descriptions(io.BytesIO(content))
        value = reader.load()
        total = 0
        for tensor in stored_tensors(value):
            tensor.check(archive.size(f"{folder}/{tensor.key}"))
            total += math.prod(tensor.shape) * STORAGES[tensor.kind]
        _check_total(archive, total)
    except (pickle.UnpicklingError, *DAMAGE, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = (
            f"{archive.path} holds more than tensors and plain values, or is damaged ({reason}),"
            " and was not loaded; use only files that segdeploy wrote"
        )
        raise ModelError(msg) from error
    return value


def _check_total(archive: Archive, total: int) -> None:
    """Check that tensors are not many times as large as the bytes that they share.

    Raises:
        ValueError: They are.
    """
    size = sum(archive.size(name) for name in archive.names())
    if total > MAX_SHARING * size:
        msg = f"its tensors have {total} bytes, and all its entries {size}"
        raise ValueError(msg)


def stored_tensors(value: object) -> Iterator[StoredTensor]:
    """Yield every tensor inside a value."""
    pending, seen = [value], set[int]()
    while pending:
        inner = pending.pop()
        if isinstance(inner, StoredTensor):
            yield inner
        elif isinstance(inner, (dict, list, tuple)) and id(inner) not in seen:
            # A pickle may refer to a part of itself any number of times.
            seen.add(id(inner))
            pending.extend(inner.values() if isinstance(inner, dict) else inner)
