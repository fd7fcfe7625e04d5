"""The examples of the public docstrings and of docs/python.md run as they stand."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import segdeploy
from segdeploy.imaging.io import write_image
from tests.helpers.clips import gray_frames, write_clip
from tests.helpers.imports import ROOT

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"Example: `([^`]+)`")

ELSEWHERE = {"Result.show", "Result.to_supervision"}
"""Examples that need a screen or an optional library; tests of their own run them."""


def public_objects() -> Iterator[tuple[str, Any]]:
    """Yield the public classes and functions, and the public methods of the classes."""
    for name in segdeploy.PUBLIC:
        thing = getattr(segdeploy, name)
        yield name, thing
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                is_documented = callable(value) or hasattr(value, "func") or hasattr(value, "fget")
                if not member.startswith("_") and is_documented:
                    yield f"{name}.{member}", value


OBJECTS = dict(public_objects())


def examples_of(text: str) -> list[str]:
    """Return the examples in a docstring or a page."""
    return [textwrap.dedent(found) for found in (*BLOCK.findall(text), *INLINE.findall(text))]


@pytest.fixture(scope="module")
def names(
    artifacts: Path, tiny_camvid: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Return the names that examples use, in a folder with the files that they use."""
    folder = tmp_path_factory.mktemp("examples")
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    write_image(folder / "street.jpg", image)
    write_clip(folder / "dashcam.mp4", gray_frames(12))
    for name in ("best.onnx", "best.pt"):
        (folder / name).symlink_to(artifacts / name)
    (folder / "camvid").symlink_to(tiny_camvid)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        net = segdeploy.load("best.onnx", device="cpu")
        result = net("street.jpg")
        yield {
            "segdeploy": segdeploy,
            "net": net,
            "result": result,
            "np": np,
            "PIL": PIL,
            "Path": Path,
        }


@pytest.mark.parametrize("name", OBJECTS)
def test_example_of_a_public_name_runs(name: str, names: dict[str, Any]) -> None:
    """Whoever copies it gets no error."""
    value = OBJECTS[name]
    text = (getattr(value, "func", None) or getattr(value, "fget", None) or value).__doc__

    examples = examples_of(text or "")

    assert examples, f"{name} has no example"
    if name not in ELSEWHERE:
        for example in examples:
            exec(compile(example, name, "exec"), dict(names))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["train.train_model", "export.export_model", "benchmarks.benchmark_models"]
)
def test_example_of_a_workshop_runs(name: str, names: dict[str, Any]) -> None:
    """Training, export and benchmark are functions too."""
    pytest.importorskip("torch")
    package, function = name.split(".")
    text = getattr(getattr(segdeploy, package), function).__doc__

    for example in examples_of(text):
        exec(compile(example, name, "exec"), dict(names))


def test_page_runs_from_its_beginning(names: dict[str, Any]) -> None:
    """Each example of the page needs those before it, and nothing else."""
    known: dict[str, Any] = {}
    for example in examples_of((ROOT / "docs" / "python.md").read_text(encoding="utf-8")):
        exec(compile(example, "docs/python.md", "exec"), known)
