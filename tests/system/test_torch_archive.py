"""Archives that can be read in two ways, or that grow when they are read, are refused."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from segdeploy.errors import ModelError
from segdeploy.system.torch_archive import (
    MAX_COMPRESSED,
    StoredTensor,
    open_archive,
    read_pickle,
    to_bytes,
)


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


FLOATS = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
    b"0X\3\0\0\0cpu"
)
"""Beginning of the pickle of a tensor in the entry "0", up to the number of its elements."""

HOOKS = b"\x89ccollections\nOrderedDict\n)RtR"


def tensor(*, count: bytes, offset: bytes, shape: bytes, strides: bytes) -> bytes:
    """Return the pickle of a tensor; a number is "K" and a byte, or "J" and four."""
    return FLOATS + count + b"tQ" + offset + b"(" + shape + b"t(" + strides + b"t" + HOOKS


def read(folder: Path, content: bytes, *, size: int = 16) -> object:
    path = folder / "file.pt"
    path.write_bytes(to_bytes({"data.pkl": content, "data/0": bytes(size)}).getvalue())
    with open_archive(path) as archive:
        return read_pickle(archive, "data.pkl", folder="data")


WHOLE = tensor(count=b"K\4", offset=b"K\0", shape=b"K\2K\2", strides=b"K\2K\1")


def test_tensors_and_plain_values_are_described(tmp_path: Path) -> None:
    """Nothing is built of them, so that PyTorch is not needed."""
    value = read(tmp_path, b"\x80\2}(X\1\0\0\0a" + WHOLE + b"X\1\0\0\0b](K\1Neu.")

    assert value == {
        "a": StoredTensor(
            kind="FloatStorage", key="0", count=4, offset=0, shape=(2, 2), strides=(2, 1)
        ),
        "b": [1, None],
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\2cos\nsystem\n.", "it names os.system"),
        (b"\x80\2ctorch._utils\n_rebuild_nested_tensor\n.", "_rebuild_nested_tensor"),
        (b"\x80\2ctorch\nQInt8Storage\n.", "QInt8Storage"),
        (b"\x80\2(ios\nsystem\n.", "it has a INST"),
        (b"\x80\2]b.", "it has a BUILD"),
        (b"\x80\2Nr\xff\xff\xff\x7f.", "it has a LONG_BINPUT"),
        (b"\x80\2\x96\0\0\0\0\x08\0\0\0.", "holds more than tensors"),
        (b"\x80\2X\xff\xff\xff\x7fa.", "expected 2147483647 bytes"),
        (b"\x80\2)R.", "holds more than tensors"),
        (b"\x80\2", "holds more than tensors"),
        (b"\x80\2" + b"(" * 200, "holds more than tensors"),
        (tensor(count=b"K\4", offset=b"K\0", shape=b"K\5", strides=b"K\0") + b".", "larger than"),
        (tensor(count=b"K\4", offset=b"K\2", shape=b"K\4", strides=b"K\1") + b".", "larger than"),
        (tensor(count=b"K\5", offset=b"K\0", shape=b"K\1", strides=b"K\1") + b".", "contradicts"),
        (
            tensor(count=b"K\4", offset=b"K\0", shape=b"K\1K\1", strides=b"K\1") + b".",
            "contradicts",
        ),
        (
            tensor(count=b"K\4", offset=b"K\0", shape=b"J\xff\xff\xff\xff", strides=b"K\1") + b".",
            "contradicts",
        ),
    ],
)
def test_pickle_of_more_than_tensors_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    """Neither code nor memory is taken for it."""
    with pytest.raises(ModelError, match="was not loaded") as caught:
        read(tmp_path, content)

    assert reason in str(caught.value)


def test_tensors_that_share_their_bytes_are_not_many_times_as_large(tmp_path: Path) -> None:
    """A few bytes could stand for any number of weights, and each takes memory in a network."""
    shared = tensor(count=b"M\xe8\3", offset=b"K\0", shape=b"M\xe8\3", strides=b"K\1")

    with pytest.raises(ModelError, match="its tensors have 40000 bytes"):
        read(tmp_path, b"(" + shared * 10 + b"t.", size=4000)
    assert isinstance(read(tmp_path, b"(" + shared * 3 + b"t.", size=4000), tuple)
