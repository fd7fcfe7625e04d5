"""Metadata and checksum of TorchScript and .pt2 archives, read without PyTorch.

A .pt2 archive is also checked to be harmless. PyTorch's own reader unpickles what an archive marks
as pickled, looks up functions by any name below `torch`, and evaluates sizes and guards as Python.
A file that `segdeploy export` wrote needs none of that: tensors are plain bytes, functions are
operators, sizes are sums.
"""

import hashlib
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from segdeploy.errors import ModelError

MAX_TEXT = 8 * 1024 * 1024
"""Largest size of one metadata entry in bytes; a larger one is not unpacked."""

MAX_BYTES = 8 * 1024**3
"""Largest size of everything in a file, unpacked, in bytes."""

MODEL = "models/model.json"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
SAMPLES = "data/sample_inputs/model.pt"

PLAIN_ENTRY = re.compile(
    r"extra/[^/]+|data/weights/weight_\d+|data/constants/tensor_\d+"
    r"|\.data/(version|serialization_id)|byteorder|archive_(format|version)|version"
)
"""Entries that are plain bytes or texts."""

OPERATOR = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|torch\.sym_(int|max|min|float|not|sum)|_operator\.\w+|math\.\w+"
)
SYMBOL = re.compile(r"'[su]\d+'")
SIZES = re.compile(r"[\w\s(),+\-*/=<>]*")
WORD = re.compile(r"[A-Za-z_]\w*")
SIZE_WORDS = re.compile(
    r"[su]\d+|Add|And|CeilToInt|CleanDiv|Eq|False|Float|FloorDiv|FloorToInt|Ge|Gt|IntTrueDiv"
    r"|Integer|Le|Lt|Max|Min|Mod|ModularIndexing|Mul|Ne|Not|Or|Pow|PythonMod|Rational|Symbol|True"
    r"|TruncToInt|Where|integer|positive"
)
"""Words that the expression of a size may contain."""


def read_metadata(path: Path) -> Mapping[str, str]:
    """Return the metadata of a file: card, expected self-test output and checksum, by their keys.

    Raises:
        ModelError: The file is missing, or no archive of PyTorch.
    """
    with open_archive(path) as archive:
        entries = [
            entry
            for entry in archive.infolist()
            if PurePosixPath(entry.filename).parent.name == "extra"
        ]
        return {
            PurePosixPath(entry.filename).name: (
                read_entry(archive, entry, path, MAX_TEXT).decode(errors="replace")
            )
            for entry in entries
        }


def checksum(path: Path, *, leave_out: str) -> str:
    """Return the SHA-256 over name and content of every entry, in hexadecimal digits.

    Args:
        path: The file.
        leave_out: Key of the entry that holds the checksum itself.
    """
    total = hashlib.sha256()
    # PyTorch writes a random or time-dependent identifier into the second one.
    skipped = {f"extra/{leave_out}", ".data/serialization_id"}
    with open_archive(path) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            # The top folder is named after the file, which may have been renamed since.
            name = entry.filename.partition("/")[2]
            if name not in skipped:
                total.update(f"{name}\0{entry.file_size}\0".encode())
                total.update(read_entry(archive, entry, path, MAX_BYTES))
    return total.hexdigest()


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open an archive, which unpacks to `MAX_BYTES` at most.

    Raises:
        ModelError: The file is missing, or no archive of PyTorch.
    """
    if not path.is_file():
        msg = f"there is no file {path}; name a file that 'segdeploy export' wrote"
        raise ModelError(msg)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, struct.error, OSError, ValueError, NotImplementedError) as error:
        msg = f"{path} is no archive of PyTorch or a damaged one ({error}); export it again"
        raise ModelError(msg) from error
    if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
        archive.close()
        msg = (
            f"{path} unpacks to more than {MAX_BYTES} bytes; use a file that 'segdeploy export'"
            " wrote"
        )
        raise ModelError(msg)
    return archive


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, limit: int) -> bytes:
    """Return the content of one entry.

    Raises:
        ModelError: It is larger than the limit in bytes, or damaged.
    """
    if entry.file_size > limit:
        msg = (
            f"{path} carries {entry.filename} of {entry.file_size} bytes, more than {limit}; export"
            " it again"
        )
        raise ModelError(msg)
    try:
        return archive.read(entry)
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        msg = f"{path} is damaged ({error}); export it again"
        raise ModelError(msg) from error


def read_program_metadata(path: Path) -> Mapping[str, str]:
    """Return the metadata of a .pt2 file, after checking that loading the file executes no code.

    Raises:
        ModelError: The file is missing, no archive of PyTorch, or could execute code.
    """
    with open_archive(path) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
        for name, entry in entries.items():
            if (
                not PLAIN_ENTRY.fullmatch(name)
                and name not in (MODEL, *CONFIGS)
                and not (name == SAMPLES and not entry.file_size)
            ):
                raise _unsafe(path, f"an entry {name[:100]!r}")
        if not {MODEL, *CONFIGS} <= entries.keys():
            msg = f"{path} holds no exported program; was it written by 'segdeploy export'?"
            raise ModelError(msg)
        for name in CONFIGS:
            _check_tensors(_json(archive, entries[name], path), path)
        _check_program(_json(archive, entries[MODEL], path), path)
    return read_metadata(path)


def _json(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Any:  # noqa: ANN401
    try:
        return json.loads(read_entry(archive, entry, path, MAX_BYTES))
    except (ValueError, RecursionError) as error:
        msg = f"{path} is damaged ({type(error).__name__}: {error}); export it again"
        raise ModelError(msg) from error


def _check_tensors(config: object, path: Path) -> None:
    """Check that all tensors are plain bytes."""
    for key, value in _pairs(config):
        if (key == "use_pickle" and value is not False) or (
            key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(value))
        ):
            raise _unsafe(path, f"a tensor with {key} {str(value)[:100]!r}")


def _check_program(program: object, path: Path) -> None:
    """Check that all functions are operators, and that sizes and guards are no more than sums."""
    for key, value in _pairs(program):
        if key == "target" and not OPERATOR.fullmatch(str(value)):
            raise _unsafe(path, f"a function {str(value)[:100]!r}")
        if key == "expr_str" and not _is_size(str(value)):
            raise _unsafe(path, f"a size {str(value)[:100]!r}")
        if key == "guards_code" and value != []:
            raise _unsafe(path, "guards that are Python")


def _is_size(text: str) -> bool:
    bare = SYMBOL.sub("s0", text)
    return SIZES.fullmatch(bare) is not None and all(
        SIZE_WORDS.fullmatch(word) for word in WORD.findall(bare)
    )


def _pairs(value: object) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value inside a JSON value."""
    pending = [value]
    while pending:
        inner = pending.pop()
        if isinstance(inner, dict):
            yield from inner.items()
            pending.extend(inner.values())
        elif isinstance(inner, list):
            pending.extend(inner)


def _unsafe(path: Path, what: str) -> ModelError:
    return ModelError(
        f"{path} holds {what}, which PyTorch might execute, and was not loaded; use only files that"
        " 'segdeploy export' wrote"
    )
