"""Archives that can be read in two ways, or that grow when they are read, are refused."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from segdeploy.errors import ModelError
from segdeploy.system.torch_archive import MAX_COMPRESSED, open_archive, to_bytes


def archive_of(**entries: bytes) -> bytes:
    return to_bytes(entries).getvalue()


def packed(size: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/code", bytes(size))
    return content.getvalue()


def renamed(name: bytes, other: bytes) -> bytes:
    return archive_of(a=b"1", b=b"2").replace(b"archive/" + name, other)


def overlapping() -> bytes:
    """Let both entries of a directory lie on the same bytes."""
    content = bytearray(archive_of(a=b"1" * 50, b=b"2" * 50).replace(b"archive/b", b"archive/a"))
    second = content.rfind(b"PK\1\2")
    content[second + 42 : second + 46] = struct.pack("<L", 0)
    return bytes(content).replace(b"archive/a", b"archive/b", 2)


def with_second_end() -> bytes:
    """Let a directory in 64 bits lie elsewhere than the one in 32 bits."""
    content = archive_of(a=b"1", b=b"2")
    end = len(content) - 22
    size, start = struct.unpack("<LL", content[end + 12 : end + 20])
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size // 2, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    return content[:end] + end64 + locator + content[end:]


@pytest.mark.parametrize(
    "content",
    [
        archive_of(a=b"harmless") + archive_of(a=b"other"),
        b"prefix" + archive_of(a=b"1"),
        archive_of(a=b"1") + b"suffix",
        archive_of(a=b"1")[:-2] + b"\7\0comment",
        archive_of(a=archive_of(a=b"2"))[:-30],
        renamed(b"b", b"archive/a"),
        renamed(b"b", b"another/b"),
        overlapping(),
        with_second_end(),
        packed(MAX_COMPRESSED + 1),
        b"",
        b"PK",
    ],
)
def test_archive_that_is_not_written_by_pytorch_is_refused(tmp_path: Path, content: bytes) -> None:
    """A check must read what PyTorch reads."""
    path = tmp_path / "file.pt2"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"file\.pt2"), open_archive(path):
        pass


@pytest.mark.parametrize("write", [archive_of, lambda **_: packed(5000)])
def test_plain_archive_is_read(tmp_path: Path, write: Callable[..., bytes]) -> None:
    """Of stored and of compressed entries."""
    path = tmp_path / "file.pt2"
    path.write_bytes(write(code=bytes(5000)))

    with open_archive(path) as archive:
        assert archive.names() == ["code"]
        assert archive.read("code") == bytes(5000)
        with pytest.raises(ModelError, match="more than 4999"):
            archive.read("code", limit=4999)
        with pytest.raises(ModelError, match="no entry 'other'"):
            archive.read("other")
