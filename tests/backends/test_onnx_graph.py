"""What an ONNX graph declares is checked before memory is taken for it."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from segdeploy.backends.loading import load_backend
from segdeploy.backends.onnx_graph import check_graph
from segdeploy.errors import ModelError, UntrustedError
from segdeploy.system.budget import VARIABLE
from tests.backends.test_onnx_metadata import external, plain_onnx

BLACK = np.zeros((1, 45, 60, 3), np.uint8)


def with_nodes(
    source: Path, target: Path, nodes: Sequence[onnx.NodeProto], **constants: object
) -> Path:
    """Write a file again whose logits have the largest value of the tensor "big" added to them."""
    model = onnx.load(source)
    graph = model.graph
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    last = graph.node[-1]
    last.output[0] = "inner"
    graph.node.extend(nodes)
    graph.node.append(helper.make_node("ReduceMax", ["big"], ["peak"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["inner", "peak"], ["logits"]))
    target.write_bytes(model.SerializeToString())
    return target


SIZE = np.array([4, 1 << 28], np.int64)

GROWN = {
    "ConstantOfShape": ([helper.make_node("ConstantOfShape", ["s"], ["big"])], {"s": SIZE}),
    "Expand": (
        [helper.make_node("Expand", ["v", "s"], ["big"])],
        {"v": np.float32(1), "s": SIZE},
    ),
    "Tile": (
        [helper.make_node("Tile", ["v", "s"], ["big"])],
        {"v": np.ones((1, 1), np.float32), "s": SIZE},
    ),
    "Range": (
        [helper.make_node("Range", ["v", "e", "d"], ["big"])],
        {"v": np.float32(0), "e": np.float32(4e9), "d": np.float32(1)},
    ),
    "Concat": (
        [
            helper.make_node("Concat", [f"v{n}"] * 32, [f"v{n + 1}" if n < 6 else "big"], axis=0)
            for n in range(7)
        ],
        {"v0": np.ones(1, np.float32)},
    ),
    "MatMul": (
        [helper.make_node("MatMul", ["v", "w"], ["big"])],
        {"v": np.ones((100_000, 1), np.float32), "w": np.ones((1, 100_000), np.float32)},
    ),
    "Mul": (
        [helper.make_node("Mul", ["v", "w"], ["big"])],
        {"v": np.ones((100_000, 1), np.float32), "w": np.ones((1, 100_000), np.float32)},
    ),
}


@pytest.mark.parametrize("name", GROWN)
def test_graph_that_takes_gigabytes_is_refused(artifacts: Path, tmp_path: Path, name: str) -> None:
    """A runtime computes constants when it loads a file, and the rest when it runs it."""
    nodes, constants = GROWN[name]
    path = with_nodes(artifacts / "best.onnx", tmp_path / "big.onnx", nodes, **constants)

    with pytest.raises(ModelError, match=rf"its {name} node .* Available memory .*{VARIABLE}"):
        load_backend(path, device="cpu", threads=1).run(BLACK)


def test_constants_of_exported_files_are_computed_in_advance(artifacts: Path) -> None:
    """The limit costs no speed where nothing grows."""
    path = artifacts / "best.onnx"

    assert check_graph(path.read_bytes(), path)


def test_user_may_raise_the_limit(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here for a tensor of 128 MB."""
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["big"])]
    constants = {"s": np.array([1 << 25], np.int64)}
    path = with_nodes(artifacts / "best.onnx", tmp_path / "big.onnx", nodes, **constants)
    monkeypatch.setenv(VARIABLE, "100MB")

    with pytest.raises(ModelError, match="Available memory"):
        load_backend(path, device="cpu", threads=1).run(BLACK)

    monkeypatch.setenv(VARIABLE, "200MB")
    load_backend(path, device="cpu", threads=1).run(BLACK)


def test_batch_gets_more_memory(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is that of single images until a batch needs more."""
    batch = np.random.default_rng(0).integers(0, 256, (256, 45, 60, 3), dtype=np.uint8)
    usual = load_backend(artifacts / "best.onnx", device="cpu", threads=1).run(batch[:2])
    monkeypatch.setenv(VARIABLE, "1MB")

    output = load_backend(artifacts / "best.onnx", device="cpu", threads=1).run(batch)

    assert len(output) == 256
    np.testing.assert_allclose(output[:2], usual, atol=1e-4)


def loop() -> onnx.NodeProto:
    """Return a node that repeats a graph 2 to the power of 60 times."""
    scalar = [
        helper.make_tensor_value_info(name, kind, ())
        for name, kind in (("i", 7), ("c", 9), ("v", 1))
    ]
    results = [helper.make_tensor_value_info(n, k, ()) for n, k in (("c2", 9), ("v2", 1))]
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Sin", ["v"], ["v2"])],
        "body",
        scalar,
        results,
    )
    return helper.make_node("Loop", ["m", "t", "x"], ["big"], body=body)


def test_loop_is_refused_unless_the_file_is_trusted(artifacts: Path, tmp_path: Path) -> None:
    """It may run for ever."""
    path = with_nodes(
        artifacts / "best.onnx",
        tmp_path / "loop.onnx",
        [loop()],
        m=np.int64(2),
        t=np.array(object=1, dtype=bool),
        x=np.float32(0),
    )

    with pytest.raises(UntrustedError, match=r"the operator 'Loop'.*--trust"):
        load_backend(path)

    assert load_backend(path, device="cpu", trust=True).run(BLACK).shape[0] == 1


def test_loop_inside_a_branch_is_refused(tmp_path: Path) -> None:
    inner = helper.make_graph([loop()], "inner", [], [])
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    model = helper.make_model(helper.make_graph([node], "g", [], []))

    with pytest.raises(UntrustedError, match="Loop"):
        check_graph(model.SerializeToString(), tmp_path / "loop.onnx")


def functions(count: int, *, last: str) -> bytes:
    """Return a model of functions that each call the next one ten times, and the last another."""
    opset = helper.make_opsetid("", 21)
    names = [*(f"f{number}" for number in range(count)), last]
    made = [
        helper.make_function(
            "own",
            name,
            ["x"],
            ["y"],
            [helper.make_node(following, ["x"], ["y"], domain="own") for _ in range(10)],
            [opset, helper.make_opsetid("own", 1)],
        )
        for name, following in pairwise(names)
    ]
    node = helper.make_node("f0", ["x"], ["y"], domain="own")
    graph = helper.make_graph([node], "g", [], [])
    return helper.make_model(graph, functions=made).SerializeToString()


def test_functions_that_multiply_are_refused(tmp_path: Path) -> None:
    """A thousand bytes of them would become ten billion nodes."""
    assert not check_graph(functions(3, last="Relu"), tmp_path / "some.onnx")
    with pytest.raises(ModelError, match="become more than 200000 operators"):
        check_graph(functions(10, last="Relu"), tmp_path / "many.onnx")
    with pytest.raises(ModelError, match="for ever"):
        check_graph(functions(3, last="f0"), tmp_path / "circle.onnx")


def test_sparse_tensor_of_gigabytes_is_refused(tmp_path: Path) -> None:
    """A runtime makes it a dense one."""
    value = numpy_helper.from_array(np.ones(1, np.float32), "w")
    index = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    sparse = helper.make_sparse_tensor(value, index, [1 << 20, 1 << 12])
    graph = helper.make_graph([], "g", [], [], sparse_initializer=[sparse])
    content = helper.make_model(graph).SerializeToString()

    with pytest.raises(ModelError, match=r"declares tensors and would take 32\.0 GiB"):
        check_graph(content, tmp_path / "sparse.onnx")


def test_data_that_many_tensors_share_is_counted_each_time(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(bytes(64))
    tensor = external("w")
    del tensor.dims[:]
    tensor.dims.extend([1 << 14, 1 << 14])
    graph = helper.make_graph([], "g", [], [], initializer=[tensor, tensor])

    with pytest.raises(ModelError, match=r"would take 2\.0 GiB"):
        check_graph(helper.make_model(graph).SerializeToString(), tmp_path / "shared.onnx")


@pytest.mark.parametrize("location", ["w\0.bin", "*/_ORT_MEM_ADDR_/*", "w" * 5000])
def test_names_that_are_no_files_are_refused(tmp_path: Path, location: str) -> None:
    """ONNX Runtime reads the process's own memory under one of them."""
    plain_onnx(tmp_path / "odd.onnx", tensor=external(location))

    with pytest.raises(ModelError, match="outside its folder"):
        check_graph((tmp_path / "odd.onnx").read_bytes(), tmp_path / "odd.onnx")


def test_node_that_fails_is_named(artifacts: Path, tmp_path: Path) -> None:
    """Also where it fails on an image only, in the middle of a run."""
    nodes = [
        helper.make_node("Flatten", ["inner"], ["flat"]),
        helper.make_node("Reshape", ["flat", "s"], ["big"], name="head/seven"),
    ]
    path = with_nodes(artifacts / "best.onnx", tmp_path / "fails.onnx", nodes, s=np.array([7, 7]))
    backend = load_backend(path, device="cpu", threads=1)

    with pytest.raises(ModelError, match=r"fails\.onnx \(its Reshape node head/seven fails: The"):
        backend.run(BLACK)
