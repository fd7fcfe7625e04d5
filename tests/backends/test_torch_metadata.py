"""Archives of PyTorch: one that could execute code is refused before PyTorch reads it."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segdeploy.backends.loading import KINDS, load_backend, read_card
from segdeploy.backends.torch_metadata import CONFIGS, MODEL, SAMPLES, read_program_metadata
from segdeploy.errors import ModelError

Change = Callable[[dict[str, bytes]], None]


def changed(source: Path, target: Path, change: Change) -> Path:
    """Write an archive again with other entries, by their names without the top folder."""
    with zipfile.ZipFile(source) as archive:
        entries = {
            entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()
        }
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"archive/{name}", content)
    return target


def entry(name: str, content: bytes) -> Change:
    return lambda entries: entries.update({name: content})


def within(name: str, act: Callable[[Any], None]) -> Change:
    """Change the JSON of an entry."""

    def change(entries: dict[str, bytes]) -> None:
        values = json.loads(entries[name])
        act(values)
        entries[name] = json.dumps(values).encode()

    return change


def first_weight(**values: object) -> Change:
    return within(CONFIGS[0], lambda config: next(iter(config["config"].values())).update(values))


def first_node(**values: object) -> Change:
    return within(MODEL, lambda model: model["graph_module"]["graph"]["nodes"][0].update(values))


def size(text: str) -> Change:
    return within(MODEL, lambda model: model.update(range_constraints={"s0": {"expr_str": text}}))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (entry("data/aotinductor/model/x.so", b"code"), "an entry 'data/aotinductor/model/x.so'"),
        (entry("data/weights/model.pt", b"a pickle"), "an entry 'data/weights/model.pt'"),
        (
            entry("data/constants/custom_obj_0", b"a pickle"),
            "an entry 'data/constants/custom_obj_0'",
        ),
        (entry(SAMPLES, b"a pickle"), "an entry 'data/sample_inputs/model.pt'"),
        (first_weight(use_pickle=True), "a tensor with use_pickle 'True'"),
        (first_weight(path_name="opaque_obj_0"), "a tensor with path_name 'opaque_obj_0'"),
        (first_node(target="torch.hub.load"), "a function 'torch.hub.load'"),
        (first_node(target="torch.ops.load_library"), "a function"),
        (first_node(target="#custom:x"), "a function '#custom:x'"),
        (within(MODEL, lambda model: model.update(guards_code=["exit()"])), "guards"),
        (size("__import__('os').system('true')"), "a size"),
        (size("eval(chr(49))"), "a size"),
        (size("Symbol('x y')"), "a size"),
    ],
)
def test_archive_that_could_execute_code_is_refused(
    artifacts: Path, tmp_path: Path, change: Change, what: str
) -> None:
    """PyTorch's reader unpickles, looks up and evaluates whatever the file contains."""
    path = changed(artifacts / "best.pt2", tmp_path / "unsafe.pt2", change)

    with pytest.raises(
        ModelError, match=r"which PyTorch might execute, and was not loaded"
    ) as caught:
        load_backend(path, device="cpu")

    assert what in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s40', positive=True, integer=True)",
        "Add(Mul(Integer(2), FloorDiv(Symbol('s7'), Integer(16))), Integer(-1))",
        "s0",
    ],
)
def test_sums_are_allowed_as_sizes(artifacts: Path, tmp_path: Path, text: str) -> None:
    """A dynamic program computes its sizes."""
    path = changed(artifacts / "best.pt2", tmp_path / "sums.pt2", size(text))

    assert "segdeploy.card" in read_program_metadata(path)


def test_archive_without_a_program_is_refused(artifacts: Path, tmp_path: Path) -> None:
    """A TorchScript file is a ZIP archive too."""
    path = changed(
        artifacts / "best.pt2", tmp_path / "empty.pt2", lambda entries: entries.pop(MODEL) and None
    )

    with pytest.raises(ModelError, match="holds no exported program"):
        read_card(path)


def test_file_contains_no_path_of_this_machine(artifacts: Path) -> None:
    """PyTorch stores a stack trace at every node; a published file must not reveal folders."""
    with zipfile.ZipFile(artifacts / "best.pt2") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())

    assert b".py" not in content
    assert b"/segdeploy/" not in content


def test_renamed_torchscript_keeps_its_checksum(artifacts: Path, tmp_path: Path) -> None:
    """The top folder of the archive is named after the file that was written first."""
    shutil.copy(artifacts / "best.torchscript", tmp_path / "other.torchscript")
    kind = KINDS[".torchscript"]

    assert kind.checksum(tmp_path / "other.torchscript") == kind.checksum(
        artifacts / "best.torchscript"
    )
