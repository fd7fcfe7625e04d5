"""Optimized graphs are kept: the same output sooner, and nothing else is ever run."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from segdeploy.backends import onnx_session
from segdeploy.backends.loading import load_backend
from segdeploy.backends.onnx_session import GraphCache
from tests.helpers.backends import random_batches


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the kept graphs, which is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "segdeploy" / "graphs"


def kept(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def run(path: Path, *, cache: bool = True, trust: bool = False) -> np.ndarray:
    backend = load_backend(path, device="cpu", threads=1, cache=cache, trust=trust)
    return np.concatenate([backend.run(batch) for batch in random_batches(2)])


def test_a_kept_graph_gives_the_same_output(artifacts: Path, folder: Path) -> None:
    """It is written once, and read the second time; without the option nothing is written."""
    plain = run(artifacts / "best.onnx", cache=False)
    assert kept(folder) == []

    first = run(artifacts / "best.onnx")
    (graph,) = kept(folder)
    written = graph.stat().st_ino
    second = run(artifacts / "best.onnx")

    assert kept(folder) == [graph]
    assert graph.stat().st_ino == written
    np.testing.assert_array_equal(first, plain)
    np.testing.assert_array_equal(second, plain)


@pytest.mark.parametrize("content", [b"", b"x" * 500, None])
def test_a_damaged_graph_is_replaced(artifacts: Path, folder: Path, content: bytes | None) -> None:
    """A truncated, a foreign and a changed file are not run."""
    plain = run(artifacts / "best.onnx")
    (graph,) = kept(folder)
    whole = graph.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1

    graph.write_bytes(bytes(changed) if content is None else content)

    np.testing.assert_array_equal(run(artifacts / "best.onnx"), plain)
    # ONNX Runtime does not always write the same bytes.
    assert len(GraphCache(graph).read() or b"") > 500


def test_a_graph_that_cannot_be_run_is_replaced(artifacts: Path, folder: Path) -> None:
    """What ONNX Runtime refuses, though it is whole, costs a slower start and no error."""
    plain = run(artifacts / "best.onnx")
    (graph,) = kept(folder)
    GraphCache(graph).write(b"no graph")

    np.testing.assert_array_equal(run(artifacts / "best.onnx"), plain)
    assert GraphCache(graph).read() != b"no graph"


def test_another_file_has_another_graph(artifacts: Path, folder: Path, tmp_path: Path) -> None:
    """Of the same name, with other weights."""
    path = tmp_path / "best.onnx"
    path.write_bytes((artifacts / "best.onnx").read_bytes())
    before = run(path)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 2, tensor.name)
            )
    onnx.save(model, path)

    after = run(path)

    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, run(path, cache=False))
    assert len(kept(folder)) == 2


def test_nothing_is_kept_where_others_may_write(artifacts: Path, folder: Path) -> None:
    """A graph of somebody else would decide what the network answers."""
    folder.mkdir(parents=True)
    folder.chmod(0o777)

    run(artifacts / "best.onnx")

    assert kept(folder) == []


def test_a_trusted_file_is_loaded_as_it_is(artifacts: Path, folder: Path) -> None:
    """Its graph is not checked, so nothing is known about what would be kept."""
    run(artifacts / "best.onnx", trust=True)

    assert kept(folder) == []


def test_files_with_tensors_elsewhere_and_large_ones_have_no_graph() -> None:
    """Their bytes alone do not say what is computed, or they would fill the cache."""
    assert GraphCache.of(b"graph", foldable=True) is not None
    assert GraphCache.of(b"graph \x0a\x08location", foldable=True) is None
    assert GraphCache.of(bytes(onnx_session.LARGEST + 1), foldable=True) is None


def test_the_cache_does_not_grow(folder: Path) -> None:
    """Each release of a network leaves a graph behind."""
    cache = GraphCache.of(b"graph", foldable=True)
    assert cache is not None
    old = folder / "old.graph"
    with old.open("wb") as file:
        file.truncate(onnx_session.MOST)

    cache.write(b"new")

    assert kept(folder) == [cache.path]
    assert cache.read() == b"new"


def test_a_graph_is_of_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of ONNX Runtime optimizes otherwise, and so does the other folding."""
    first = GraphCache.of(b"graph", foldable=True)
    monkeypatch.setattr(onnxruntime, "__version__", "0.1")

    assert GraphCache.of(b"graph", foldable=True) != first
    assert GraphCache.of(b"graph", foldable=False) != GraphCache.of(b"graph", foldable=True)
