"""Parquet tables, by pyarrow: columns of addresses or bytes, and the rows of a manifest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from segdeploy.errors import ConfigError, DataError

ROWS = 1024
"""Rows that are read at once."""

USUAL_COLUMNS = ("path", "bytes", "image", "url")
"""Columns that are taken where none is named."""

SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("path", pa.string()),
        ("name", pa.string()),
        ("kind", pa.string()),
        ("size", pa.int64()),
        ("checksum", pa.string()),
        ("frames", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("shares", pa.string()),
        ("rle", pa.string()),
        ("coco", pa.string()),
        ("model", pa.string()),
        ("outputs", pa.list_(pa.string())),
        ("worker", pa.string()),
        ("stages", pa.string()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
    ]
)
"""The columns of a manifest."""


def open_table(file: BinaryIO, *, name: str) -> pq.ParquetFile:
    """Open a table.

    Raises:
        DataError: It is none, or is damaged.
    """
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        msg = f"{name} is not a Parquet table: {reason}; use a complete copy of it"
        raise DataError(msg) from error


def choose_column(table: pq.ParquetFile, column: str | None, *, name: str) -> str:
    """Return the column that is read.

    Raises:
        ConfigError: There is no such column, or it holds neither texts nor bytes.
    """
    names = table.schema_arrow.names
    chosen = column or next((usual for usual in USUAL_COLUMNS if usual in names), None)
    if chosen is None or chosen not in names:
        msg = (
            f"{name} has no column {column or 'path'!r}, but {', '.join(names)[:300]}; name one"
            " with --column"
        )
        raise ConfigError(msg)
    kind = table.schema_arrow.field(chosen).type
    if not (_is_text(kind) or _is_bytes(kind)):
        msg = f"the column {chosen!r} of {name} holds {kind}, not addresses or bytes; name another"
        raise ConfigError(msg)
    return chosen


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def holds_bytes(table: pq.ParquetFile, column: str) -> bool:
    """Return whether a column holds bytes, and not addresses."""
    return _is_bytes(table.schema_arrow.field(column).type)


def _column(table: pq.ParquetFile, column: str) -> Iterator[pa.Array]:
    try:
        for batch in table.iter_batches(batch_size=ROWS, columns=[column]):
            yield batch.column(0)
    except (pa.ArrowException, OSError) as error:
        msg = f"a Parquet table is damaged: {' '.join(str(error).split())}; use a complete copy"
        raise DataError(msg) from error


def texts(table: pq.ParquetFile, column: str) -> Iterator[str]:
    """Yield the texts of a column, without rows that have none."""
    for array in _column(table, column):
        yield from (text for text in array.to_pylist() if text)


def sizes(table: pq.ParquetFile, column: str) -> Iterator[int]:
    """Yield how many bytes each row of a column holds."""
    import pyarrow.compute as pc

    for array in _column(table, column):
        yield from (size or 0 for size in pc.binary_length(array).to_pylist())


def group_of(table: pq.ParquetFile, column: str, row: int) -> tuple[int, list[bytes | None]]:
    """Return the first row of the group of rows that holds a row, and the group's bytes.

    Raises:
        DataError: The table has no such row, or is damaged.
    """
    first = 0
    for group in range(table.num_row_groups):
        count = table.metadata.row_group(group).num_rows
        if row < first + count:
            try:
                return first, table.read_row_group(group, columns=[column]).column(0).to_pylist()
            except (pa.ArrowException, OSError) as error:
                msg = f"a Parquet table is damaged: {' '.join(str(error).split())}"
                raise DataError(msg) from error
        first += count
    msg = f"the table has {first} rows, and no row {row}; it was changed meanwhile"
    raise DataError(msg)


def to_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows of a manifest as the bytes of a table."""
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA), buffer)
    return buffer.getvalue()


def read_rows(
    file: BinaryIO, *, name: str, columns: Sequence[str] | None = None
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a manifest.

    Raises:
        DataError: It is damaged, or has other columns.
    """
    table = open_table(file, name=name)
    if missing := set(columns or SCHEMA.names) - set(table.schema_arrow.names):
        msg = f"{name} is no manifest: it has no column {min(missing)!r}; choose another one"
        raise DataError(msg)
    try:
        for batch in table.iter_batches(batch_size=ROWS, columns=columns):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        msg = f"{name} is damaged: {' '.join(str(error).split())}"
        raise DataError(msg) from error


@contextmanager
def writer_to(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Write a manifest row by row; yield the function that adds one."""
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, SCHEMA) as writer:

        def write() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
            rows.clear()

        def add(row: Mapping[str, Any]) -> None:
            rows.append(dict(row))
            if len(rows) == ROWS:
                write()

        yield add
        if rows:
            write()
