"""ONNX files are read without a library: metadata, checksum, and where tensors lie."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from segdeploy.backends.loading import load_backend
from segdeploy.backends.onnx_graph import check_graph
from segdeploy.backends.onnx_metadata import checksum, read_metadata
from segdeploy.errors import CardError, ModelError


def plain_onnx(
    path: Path, *, metadata: dict[str, str] | None = None, tensor: onnx.TensorProto | None = None
) -> None:
    """Write a small valid ONNX file that is not ours."""
    weight = tensor or onnx.numpy_helper.from_array(np.zeros((4, 4), np.float32), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [onnx.helper.make_tensor_value_info("y", 1, (4, 4))],
        initializer=[weight],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10
    )
    onnx.helper.set_model_props(model, metadata or {})
    path.write_bytes(model.SerializeToString())


def external(location: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(
        name="w", data_type=1, dims=[4, 4], data_location=onnx.TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=location)
    return tensor


def check(path: Path) -> None:
    check_graph(path.read_bytes(), path)


def test_onnx_without_a_card_is_refused(tmp_path: Path) -> None:
    """A file of another project would run, and its output would be meaningless."""
    plain_onnx(tmp_path / "foreign.onnx")

    with pytest.raises(
        CardError, match=r"foreign\.onnx has no card; was it written by 'segdeploy export'\?"
    ):
        load_backend(tmp_path / "foreign.onnx")


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret"])
def test_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    """An untrusted file must not read other files of the user."""
    plain_onnx(tmp_path / "unsafe.onnx", tensor=external(location))

    with pytest.raises(ModelError, match="outside its folder"):
        check(tmp_path / "unsafe.onnx")


def test_data_behind_a_symbolic_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret").write_bytes(b"x" * 64)
    (tmp_path / "inner" / "data").symlink_to(tmp_path / "secret")
    plain_onnx(tmp_path / "inner" / "unsafe.onnx", tensor=external("data"))

    with pytest.raises(ModelError, match="outside its folder"):
        check(tmp_path / "inner" / "unsafe.onnx")


def test_data_inside_the_folder_is_allowed(tmp_path: Path) -> None:
    plain_onnx(tmp_path / "large.onnx", metadata={"a": "b"}, tensor=external("weights.bin"))
    (tmp_path / "weights.bin").write_bytes(bytes(64))

    check(tmp_path / "large.onnx")

    assert read_metadata(tmp_path / "large.onnx") == {"a": "b"}


def test_outside_data_in_a_nested_graph_is_refused(tmp_path: Path) -> None:
    """A branch of an If node may hold tensors too."""
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["z"], value=external("../secret"))],
        "inner",
        [],
        [onnx.helper.make_tensor_value_info("z", 1, (4, 4))],
    )
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], []))
    (tmp_path / "unsafe.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match="outside its folder"):
        check(tmp_path / "unsafe.onnx")


def test_checksum_covers_all_but_its_own_entry(tmp_path: Path) -> None:
    """It can be written into the file that it is computed from."""
    plain_onnx(tmp_path / "a.onnx", metadata={"card": "x"})
    plain_onnx(tmp_path / "b.onnx", metadata={"card": "x", "sum": "123"})
    plain_onnx(tmp_path / "c.onnx", metadata={"card": "y"})
    plain_onnx(
        tmp_path / "d.onnx",
        metadata={"card": "x"},
        tensor=onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w"),
    )

    sums = [checksum(tmp_path / f"{name}.onnx", leave_out="sum") for name in "abcd"]

    assert sums[0] == sums[1]
    assert len(set(sums)) == 3
