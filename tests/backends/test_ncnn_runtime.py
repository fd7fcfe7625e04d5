"""ncnn graphs from outside are checked before ncnn takes memory for them."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("ncnn")

from segdeploy.backends.loading import KINDS, load_backend
from segdeploy.errors import ModelError


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("7767517", "7767518", "is not an ncnn graph"),
        ("\n", "\n9", "declares 9"),
        ("in0", "in9", "not in0 and out0"),
        ("Convolution ", "Convocation ", "cannot load"),
    ],
)
def test_odd_graph_is_refused(
    artifacts: Path, tmp_path: Path, old: str, new: str, problem: str
) -> None:
    """ncnn itself would take gigabytes for a number of layers, and crash on an odd layer."""
    source, path = artifacts / "best.ncnn.param", tmp_path / "odd.param"
    names = (KINDS[".param"].companions(file) for file in (source, path))
    for before, after in zip(*names, strict=True):
        shutil.copy(before, after)
    path.write_text(source.read_text().replace(old, new))

    with pytest.raises(ModelError, match=problem):
        load_backend(path, device="cpu", trust=True)
