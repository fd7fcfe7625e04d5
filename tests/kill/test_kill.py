"""A few kills of each command; `make fuzz` does more, at other moments."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kill.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="libraries survive a fork on Linux only")
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_command_loses_and_breaks_nothing(name: str) -> None:
    """What has its final name is whole, and what is resumed ends as if nobody had killed it."""
    pytest.importorskip("openvino" if "openvino" in name else "torch")

    done = subprocess.run(
        [sys.executable, "-m", "tests.kill", "--kills", "2", "--only", name],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        # An earlier test may have let the processes of this one import from no current folder.
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "faults" in done.stdout
