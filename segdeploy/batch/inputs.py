"""The inputs of a batch job: found once, in one order, and kept in a file until they are done."""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from segdeploy.batch.storage import SCHEME, Entry, Storage, absolute, split_pattern
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import EXTENSIONS
from segdeploy.video.source_kinds import VIDEO_EXTENSIONS

TABLE, LIST = ".parquet", ".txt"

CHUNK_IMAGES, CHUNK_BYTES = 16, 64 << 20
"""Images that a worker takes at once, and from how many bytes on it takes fewer."""


class InputKind(StrEnum):
    """What an input is."""

    IMAGE = "image"
    VIDEO = "video"


@dataclass(frozen=True, kw_only=True)
class BatchInput:
    """One input.

    Attributes:
        number: Its position among the inputs of the job, from 0.
        path: Its address; of bytes in a table, that of the table with #row behind it.
        name: Beginning of the names of its results, with folders; no two inputs share one.
        size: Its size in bytes.
        kind: What it is.
        row: Row of the table whose bytes it is; None for a file.
    """

    number: int
    path: str
    name: str
    size: int
    kind: InputKind
    row: int | None = None


@dataclass(frozen=True, kw_only=True)
class InputCount:
    """How many inputs there are.

    Attributes:
        images: Images.
        videos: Videos.
        bytes: Their sizes, in bytes.
    """

    images: int = 0
    videos: int = 0
    bytes: int = 0

    @property
    def inputs(self) -> int:
        """All of them."""
        return self.images + self.videos


class InputList:
    """The inputs of a job in a file, so that memory does not grow with their number."""

    def __init__(self, path: Path, count: InputCount) -> None:
        """Take a file that `list_inputs` wrote."""
        self._path = path
        self.count = count

    def __iter__(self) -> Iterator[BatchInput]:
        """Yield the inputs in order."""
        with self._path.open(encoding="utf-8") as file:
            for line in file:
                values = json.loads(line)
                yield BatchInput(**(values | {"kind": InputKind(values["kind"])}))

    def chunks(self, *, skipped: Collection[int] = ()) -> Iterator[list[BatchInput]]:
        """Yield what a worker takes at once: some images, or one video.

        Args:
            skipped: Digests of paths, as `digest` returns them, that are done.
        """
        chunk: list[BatchInput] = []
        size = 0
        for item in self:
            if digest(item.path) in skipped:
                continue
            is_alone = item.kind is InputKind.VIDEO
            if chunk and (is_alone or len(chunk) == CHUNK_IMAGES or size + item.size > CHUNK_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append(item)
            size += item.size
            if is_alone:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def sample(self, count: int) -> list[BatchInput]:
        """Return some images that are spread over all inputs."""
        step = max(1, self.count.images // count)
        images = (item for item in self if item.kind is InputKind.IMAGE)
        return list(islice(images, step // 2, None, step))[:count]


def digest(text: str) -> int:
    """Return 63 bits of a text's BLAKE2: a million of them take a tenth of the texts' memory."""
    content = text.encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) >> 1


def list_inputs(
    addresses: Sequence[str], storage: Storage, *, column: str | None, path: Path
) -> InputList:
    """Find all inputs, and write them to a file; one that is named twice is taken once.

    Args:
        addresses: Images, videos, folders, patterns, lists of addresses (.txt), and tables
            (.parquet) with a column of addresses or of bytes.
        storage: Where they are.
        column: The column of tables; None for "path", or "bytes" where there is none.
        path: The file to write.

    Raises:
        ConfigError: A table has no such column.
        DataError: One cannot be listed, or there is no image and no video.
    """
    seen: set[int] = set()
    names: set[int] = set()
    is_only = len(addresses) == 1
    images = videos = size = 0
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for address in addresses:
            for entry, name, row in _find(address, storage, column=column, is_only=is_only):
                kind = InputKind.IMAGE if row is not None else kind_of(entry.address)
                if kind is None or digest(entry.address) in seen:
                    continue
                seen.add(digest(entry.address))
                item = BatchInput(
                    number=images + videos,
                    path=entry.address,
                    name=_unique(name, entry.address, names),
                    size=entry.size,
                    kind=kind,
                    row=row,
                )
                images += kind is InputKind.IMAGE
                videos += kind is InputKind.VIDEO
                size += entry.size
                file.write(json.dumps(asdict(item), ensure_ascii=True) + "\n")
    if not seen:
        msg = f"there is no image and no video in {', '.join(addresses)}; check the addresses"
        raise DataError(msg)
    return InputList(path, InputCount(images=images, videos=videos, bytes=size))


def kind_of(address: str) -> InputKind | None:
    """Return what a file is by its name; None for another file."""
    extension = PurePosixPath(address).suffix.lower()
    if extension in EXTENSIONS:
        return InputKind.IMAGE
    return InputKind.VIDEO if extension in VIDEO_EXTENSIONS else None


def _unique(name: str, address: str, names: set[int]) -> str:
    """Return a name that no other input has: with a digest of its address if it is taken."""
    # Some disks ignore case.
    key = digest(name.casefold())
    if key in names:
        pure = PurePosixPath(name)
        name = str(pure.with_name(f"{pure.stem}-{digest(address):016x}{pure.suffix}"))
    names.add(digest(name.casefold()))
    return name


Found = tuple[Entry, str, int | None]
"""A file, the beginning of its results' names, and its row in a table."""


def _find(
    address: str, storage: Storage, *, column: str | None, is_only: bool = False
) -> Iterator[Found]:
    """Yield what one address names.

    Results are named by the path below the folder where that is the only address of the job, and
    else by the whole path, so that a name does not depend on the other inputs.
    """
    storage.check(address)
    address = absolute(address)
    extension = PurePosixPath(address).suffix.lower()
    if extension == LIST:
        for line in storage.read(address).decode("utf-8-sig", errors="replace").splitlines():
            if line.strip() and not line.startswith("#"):
                yield from _find(line.strip(), storage, column=column)
    elif extension == TABLE:
        for entry in storage.find(address):
            yield from _find_rows(entry.address, storage, column=column)
    else:
        root, _ = split_pattern(address)
        for entry in storage.find(address):
            below = entry.address.removeprefix(root).lstrip("/") or PurePosixPath(root).name
            yield entry, safe_name(below if is_only else entry.address), None


def safe_name(address: str) -> str:
    """Return a path without its scheme, which stays below the folder of the results."""
    path = PurePosixPath(SCHEME.sub("", address, count=1).replace("\\", "/"))
    return "/".join(part for part in path.parts if part not in {"/", "//", "..", "."}) or "input"


def _find_rows(address: str, storage: Storage, *, column: str | None) -> Iterator[Found]:
    """Yield the inputs of a table."""
    from segdeploy.batch import tables

    stem = PurePosixPath(address).stem
    with storage.open(address) as file:
        table = tables.open_table(file, name=address)
        chosen = tables.choose_column(table, column, name=address)
        if tables.holds_bytes(table, chosen):
            for row, size in enumerate(tables.sizes(table, chosen)):
                entry = Entry(address=f"{address}#{row}", size=size)
                yield entry, f"{stem}-{row:08d}", row
            return
        for text in map(absolute, tables.texts(table, chosen)):
            if PurePosixPath(text).suffix.lower() in {LIST, TABLE}:
                msg = f"{address} names {text}, which is no image and no video; leave it out"
                raise ConfigError(msg)
            storage.check(text)
            # It is not looked for, which would take a request each: a missing one gets an error.
            yield Entry(address=text, size=0), safe_name(text), None


class TableRows:
    """Bytes in rows of tables; the last group of rows is kept, since its neighbors come next."""

    def __init__(self, storage: Storage, column: str | None) -> None:
        """Read from a storage."""
        self._storage = storage
        self._column = column
        self._group: tuple[str, int] = ("", -1)
        self._rows: list[bytes | None] = []
        self._first = 0

    def read(self, address: str, row: int) -> bytes:
        """Return the bytes in a row of a table.

        Raises:
            DataError: The table cannot be read, or the row is empty.
        """
        is_kept = self._group[0] == address and self._first <= row < self._first + len(self._rows)
        if not is_kept:
            with self._storage.open(address) as file:
                self._load(file, address, row)
        content = self._rows[row - self._first]
        if content is None:
            msg = f"{address}#{row} is empty; leave the row out"
            raise DataError(msg)
        return content

    def _load(self, file: BinaryIO, address: str, row: int) -> None:
        from segdeploy.batch import tables

        table = tables.open_table(file, name=address)
        column = tables.choose_column(table, self._column, name=address)
        self._first, self._rows = tables.group_of(table, column, row)
        self._group = (address, self._first)
