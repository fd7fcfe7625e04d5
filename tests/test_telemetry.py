"""No usage is reported, and the home directory gets at most our cache."""

import os
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from segdeploy.system.concurrency import PYTHON
from tests.helpers import offline

OFFLINE = f"""{Path(offline.__file__).read_text(encoding="utf-8")}
if not forbid_network():
    raise SystemExit(77)
"""
"""Makes the system end the process, also in native code, at the first socket to a network."""

USES = {
    "onnxruntime": "import time, segdeploy; segdeploy.load('street'); time.sleep(8)",
    "openvino": "import segdeploy.backends.openvino_runtime as used; used.openvino.Core()",
    "nncf": "import segdeploy.export.openvino_int8 as used; used.nncf.Dataset([1])",
    "torch": "from segdeploy.cli.main import main; main(sys.argv[1:])",
}
"""What a child process does, by the library that it needs."""


def run_offline(code: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process whose home directory is new and that may open no socket.

    Skips the test where the system cannot forbid that.
    """
    known = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
    done = subprocess.run(
        [*PYTHON, "-c", OFFLINE + code, *arguments],
        env={name: os.environ[name] for name in known if name in os.environ} | {"HOME": str(home)},
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this system does not let a process forbid itself sockets")
    return done


def files_below(folder: Path) -> list[str]:
    """Return the files of a folder, without those of our cache."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [name for name in found if not name.startswith(".cache/segdeploy/")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home directory."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("library", USES)
def test_no_library_reports_its_use(home: Path, tiny_camvid: Path, library: str) -> None:
    """ONNX Runtime does after some seconds, OpenVINO and NNCF when they are imported; each leaves
    the number of the machine below the home directory.
    """
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    training = ["train", "--model", "unet", "--set", "arguments.width=2", "--set"]
    training += ["arguments.depth=2", "--dataset", "camvid", "--data", str(tiny_camvid)]
    training += ["--epochs", "1", "--imgsz", "32,32", "--batch", "2", "--workers", "0"]

    done = run_offline(USES[library], home, *training)

    assert done.returncode == 0, f"{signal.SIGSYS=:d}: {done.stderr}"
    assert files_below(home) == []


def test_a_socket_ends_the_process(home: Path) -> None:
    """Otherwise the test above would prove nothing."""
    done = run_offline("import socket; socket.socket(socket.AF_INET)", home)

    assert done.returncode == -signal.SIGSYS
