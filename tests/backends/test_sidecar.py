"""FILE.json beside a file holds its metadata, and binds it to the file and its weights."""

import json
import shutil
from pathlib import Path

import pytest

from segdeploy.backends.base import companion_of
from segdeploy.backends.loading import KINDS, load_backend, read_card
from segdeploy.backends.sidecar import checksum, sidecar_of, write_metadata
from segdeploy.card import CHECKSUM_KEY
from segdeploy.errors import GateError, ModelError
from segdeploy.inference.self_test import verify

NAMES = ("best.mnn", "best.ncnn.param")
LIBRARIES = {"best.mnn": "MNN", "best.ncnn.param": "ncnn"}


@pytest.fixture(params=NAMES)
def copy(request: pytest.FixtureRequest, artifacts: Path, tmp_path: Path) -> Path:
    """Return a copy of a proven file, under another name."""
    pytest.importorskip(LIBRARIES[request.param])
    source = artifacts / request.param
    path = tmp_path / f"copy{source.suffix}"
    names = (KINDS[path.suffix].companions(file) for file in (source, path))
    for old, new in ((source, path), *zip(*names, strict=True)):
        shutil.copy(old, new)
    return path


def forget_checksum(path: Path) -> None:
    sidecar = sidecar_of(path)
    values = json.loads(sidecar.read_text())
    del values[CHECKSUM_KEY]
    sidecar.write_text(json.dumps(values))


def test_companions_have_the_name_of_the_file() -> None:
    """Also while all have their temporary names; and ncnn's weights are not OpenVINO's."""
    assert sidecar_of(Path("a/best.mnn")) == Path("a/best.mnn.json")
    assert sidecar_of(Path("a/best.ncnn.param.part")) == Path("a/best.ncnn.param.json.part")
    assert companion_of(Path("a/best.ncnn.param"), ".bin") == Path("a/best.ncnn.bin")


def test_checksum_is_over_the_weights_and_the_metadata(tmp_path: Path) -> None:
    """Either may be changed alone."""
    path = tmp_path / "a.param"
    path.write_text("graph")
    (tmp_path / "a.bin").write_bytes(b"weights")
    write_metadata(path, {"key": '{"a": 1}', CHECKSUM_KEY: "0"})
    first = checksum(path, leave_out=CHECKSUM_KEY)
    (tmp_path / "a.bin").write_bytes(b"weighty")
    second = checksum(path, leave_out=CHECKSUM_KEY)
    write_metadata(path, {"key": '{"a": 2}', CHECKSUM_KEY: "0"})
    third = checksum(path, leave_out=CHECKSUM_KEY)
    write_metadata(path, {"key": '{"a": 2}', CHECKSUM_KEY: "1"})

    assert len({first, second, third}) == 3
    assert checksum(path, leave_out=CHECKSUM_KEY) == third, "the checksum itself is left out"


def test_renamed_files_verify(copy: Path) -> None:
    """A file keeps its proof under any name."""
    result = verify(copy, KINDS[copy.suffix], device="cpu", probe=False).result

    assert result.difference is not None
    assert result.difference < 1e-4


def test_changed_file_is_refused(copy: Path) -> None:
    """A new file beside the metadata of an old one, after an export that ended between the two."""
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)

    with pytest.raises(ModelError, match="do not belong together"):
        load_backend(copy, device="cpu", probe=False)
    with pytest.raises(GateError, match="its checksum differs"):
        verify(copy, KINDS[copy.suffix], device="cpu", probe=False)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is damaged"),
        ("[1]", "holds a list"),
        ("[" * 100_000, "is damaged"),
        ('{"segdeploy.card": 3}', "copy"),
        ('{"other": "text"}', "has no card"),
        ('{"segdeploy.card": "\\ud800"}', "copy"),
    ],
)
def test_odd_metadata_are_refused(copy: Path, content: str, problem: str) -> None:
    """They come from outside as the file does."""
    sidecar_of(copy).write_text(content)

    with pytest.raises(ModelError, match=problem):
        read_card(copy)


def test_missing_metadata_are_reported(copy: Path) -> None:
    """The second file is easily forgotten when the first one is copied."""
    sidecar_of(copy).unlink()

    with pytest.raises(ModelError, match="belong together, keep them in one folder"):
        load_backend(copy)


def test_card_that_contradicts_the_file_is_refused(copy: Path) -> None:
    """The output has another number of classes."""
    forget_checksum(copy)
    sidecar = sidecar_of(copy)
    values = json.loads(sidecar.read_text())
    values["segdeploy.card"]["classes"].pop()
    values["segdeploy.card"].update(parity=None, scores=None)
    sidecar.write_text(json.dumps(values))

    with pytest.raises(ModelError, match="contradicts its card"):
        load_backend(copy, device="cpu")
