"""Pages that run a network in the browser, and a plain static server for them."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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


class _Quiet(SimpleHTTPRequestHandler):
    """Python's own static server: it sets no headers that isolate a page."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Print nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Yield the address of a folder while a static server serves it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
