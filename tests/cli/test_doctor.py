"""`segdeploy doctor` reports quickly, without starting PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from segdeploy.cli.doctor import broken_imports, describe, doctor, examine, torch_devices
from segdeploy.system.machine import cores


def test_reports_what_a_bug_report_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, providers that work and are not only built in, cores, and the output folder."""
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(doctor, ["--json"], catch_exceptions=False)

    found = json.loads(result.stdout)
    assert found["versions"]["onnxruntime"]
    assert found["providers"]["CPUExecutionProvider"] is True
    assert found["machine"]["cores"] == cores()
    assert found["h264"] is True
    assert found["broken"] == {}
    assert found["runs"] == str(tmp_path / "runs")


def test_text_has_two_columns_and_a_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is for people, the JSON for programs."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")

    result = CliRunner().invoke(doctor, [], catch_exceptions=False)

    lines = result.stdout.splitlines()
    assert "ONNX Runtime" in lines
    assert any(line.split() == ["CPUExecutionProvider", "available"] for line in lines)
    assert any(line.split() == ["OPENBLAS_NUM_THREADS", "1"] for line in lines)
    assert result.stderr == "next: segdeploy train streets-demo\n"


@pytest.mark.slow
def test_starts_no_torch() -> None:
    """The import takes seconds, and a machine for inference need not have it."""
    code = (
        "import sys; from segdeploy.cli.doctor import examine; examine(); print('torch' in"
        " sys.modules)"
    )

    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert process.stdout.strip() == "False"


@pytest.mark.slow
def test_torch_starts_in_a_process_of_its_own() -> None:
    """A broken installation of PyTorch is reported and ends nothing."""
    found = torch_devices()

    assert set(found) in ({"cuda", "devices"}, {"error"})


def test_library_that_cannot_be_imported_is_reported() -> None:
    """OpenCV without the system's libGL is installed but cannot be imported."""
    assert list(broken_imports(["json", "no_such_library"])) == ["no_such_library"]


@pytest.mark.parametrize(
    ("changes", "section", "line"),
    [
        (
            {"providers": {"CUDAExecutionProvider": False}},
            "ONNX Runtime",
            ("CUDAExecutionProvider", "built in, but not available here"),
        ),
        ({"broken": {"cv2": "libGL.so.1"}}, "cannot be imported", ("cv2", "libGL.so.1")),
        ({"h264": False}, "video", ("H.264", "cannot be encoded: this PyAV has no libx264")),
        (
            {"torch": {"error": "no libcudart"}},
            "PyTorch",
            ("devices", "PyTorch does not start: no libcudart"),
        ),
        ({"torch": {"cuda": "13.0", "devices": ["H200"]}}, "PyTorch", ("cuda:0", "H200")),
        ({"torch": {"cuda": None, "devices": []}}, "PyTorch", ("built for", "CPU only")),
        ({"versions": {"python": "3.12.1"}}, "PyTorch", ("devices", "not installed")),
    ],
)
def test_describes_what_is_wrong(
    changes: dict[str, object], section: str, line: tuple[str, str]
) -> None:
    """Each known fault of an installation has its line."""
    found = {**examine(), **changes}

    name, text = line
    assert describe(found)[section][name] == text
