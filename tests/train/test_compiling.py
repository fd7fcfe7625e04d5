"""What stands against a compilation is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="an empty PATH hides the compiler there")
def test_machine_without_a_compiler_is_told(tmp_path: Path) -> None:
    """One sentence and the exit code of what goes wrong at run time, instead of a hundred lines of
    PyTorch's.
    """
    arguments = [
        "sanity",
        "--compile",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--overfit",
        "2",
        "--imgsz",
        "16",
        "--set",
        "arguments.depth=1",
    ]
    hidden = {"PATH": "", "CXX": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "segdeploy", "train", *arguments],
        env=os.environ | hidden,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "segdeploy: PyTorch cannot compile unet here (InvalidCxxCompiler: No working C++ compiler"
    )
    assert last.endswith("leave --compile out")
