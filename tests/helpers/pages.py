"""Pages that run a network in the browser."""

import shutil
from pathlib import Path

import pytest

from segdeploy.errors import ConfigError
from segdeploy.web import site


def require_runtime(*, webgpu: bool = False) -> None:
    """Skip where this installation has no runtime for browsers."""
    try:
        site.page_files(webgpu=webgpu)
    except ConfigError:
        pytest.skip("no ONNX Runtime Web: run make web")


def require_node() -> str:
    """Return the path of Node; skip where there is none."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node: install Debian's nodejs")
    return node


def write_page(folder: Path, model: Path, *, webgpu: bool = False) -> Path:
    """Write the page of an exported ONNX file into a new folder, and return the folder."""
    require_runtime(webgpu=webgpu)
    site.copy_page(folder, webgpu=webgpu)
    shutil.copyfile(model, folder / site.MODEL_FILE)
    site.complete_page(folder, webgpu=webgpu)
    return folder
