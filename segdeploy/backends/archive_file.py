"""What a file of PyTorch carries, TorchScript or an exported program, read without PyTorch: it is a ZIP archive."""

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from segdeploy.errors import ModelError

MAX_TEXT = 8 * 1024 * 1024
"""Bytes of one text; a larger one is refused before it is unpacked."""

MAX_BYTES = 8 * 1024**3
"""Bytes of everything in a file, unpacked."""


def read_texts(path: Path) -> Mapping[str, str]:
    """Give the texts that a file carries by their keys (card, answer, checksum).

    Raises:
        ModelError: The file is missing, or no archive of PyTorch.
    """
    with open_archive(path) as archive:
        entries = [entry for entry in archive.infolist() if PurePosixPath(entry.filename).parent.name == "extra"]
        return {
            PurePosixPath(entry.filename).name: read_entry(archive, entry, path, MAX_TEXT).decode(errors="replace") for entry in entries
        }


def checksum(path: Path, *, leave_out: str) -> str:
    """Give the SHA-256 over every entry's name and content, as hexadecimal text.

    Args:
        path: The file.
        leave_out: Key of the text that is not counted, since it holds the checksum itself.
    """
    total = hashlib.sha256()
    # PyTorch writes a random or time dependent name of its own into this one.
    skipped = {f"extra/{leave_out}", ".data/serialization_id"}
    with open_archive(path) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            # The topmost folder is called after the file, which may be renamed.
            name = entry.filename.partition("/")[2]
            if name not in skipped:
                total.update(f"{name}\0{entry.file_size}\0".encode())
                total.update(read_entry(archive, entry, path, MAX_BYTES))
    return total.hexdigest()


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open an archive that does not grow beyond all bounds when it is read.

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
        msg = f"{path} unpacks to more than {MAX_BYTES} bytes; use a file that 'segdeploy export' wrote"
        raise ModelError(msg)
    return archive


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, limit: int) -> bytes:
    """Read one entry whole.

    Raises:
        ModelError: It has more bytes than the limit, or it is damaged.
    """
    if entry.file_size > limit:
        msg = f"{path} carries {entry.filename} of {entry.file_size} bytes, more than {limit}; export it again"
        raise ModelError(msg)
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        msg = f"{path} is damaged ({error}); export it again"
        raise ModelError(msg) from error
