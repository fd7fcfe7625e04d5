"""Models are verified before they serve, swapped without a gap, and never named by a path."""

import shutil
from pathlib import Path

import pytest

from segdeploy.errors import ConfigError, GateError, RequestError
from segdeploy.serving.engine.models import LoadSettings, ModelStore, named_paths

CORES = LoadSettings(mode="cores")


@pytest.mark.slow
def test_swap_keeps_the_old_model_until_the_new_one_is_verified(
    tmp_path: Path, artifacts: Path
) -> None:
    """A file that is damaged on its way does not reach a single request."""
    path = tmp_path / "best.onnx"
    shutil.copy(artifacts / "best.onnx", path)
    store = ModelStore({"best": path}, settings=CORES)
    first = store.load("best")
    same = store.load("best")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(GateError, match="checksum differs"):
        store.load("best")
    kept = store.get("best")
    shutil.copy(artifacts / "best.onnx", path)
    new = store.load("best")

    assert same is first
    assert kept is first
    assert new is not first
    assert store.get() is new


@pytest.mark.slow
def test_clients_load_only_what_lies_in_the_folder(tmp_path: Path, artifacts: Path) -> None:
    """A name is looked up among the files that are there; it never becomes a path."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(artifacts / "best.onnx", folder / "more.onnx")
    shutil.copy(artifacts / "best.onnx", tmp_path / "secret.onnx")
    (folder / "notes.txt").write_text("x")
    store = ModelStore({}, settings=CORES, folder=folder)

    for name in ("../secret", "secret", "/etc/passwd", str(tmp_path / "secret"), "more.onnx", ""):
        with pytest.raises(RequestError) as caught:
            store.load(name)
        assert caught.value.status == 404
    loaded = store.load("more")
    store.unload("more")

    assert loaded.is_verified
    assert [(state.name, state.state) for state in store.index()] == [("more", "UNAVAILABLE")]
    with pytest.raises(RequestError, match="there is no model here"):
        store.get()


def test_names_of_models() -> None:
    """Two files of one name need names of their own, which stand in addresses."""
    found = named_paths(["street-int8", "a/best.onnx", "night=b/best.onnx"])

    assert list(found) == ["street-int8", "best", "night"]
    with pytest.raises(ConfigError, match="are both called best"):
        named_paths(["a/best.onnx", "b/best.onnx"])
    with pytest.raises(ConfigError, match="cannot be the name"):
        named_paths(["a/my best.onnx"])
