"""The command from end to end, in processes of its own, also when one fails."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from segdeploy.benchmarks.command import benchmark
from segdeploy.benchmarks.results.report import Report
from segdeploy.errors import ConfigError, DataError, ModelError, SegdeployError

FEW = [
    "--dataset",
    "streets",
    "--images",
    "2",
    "--runs",
    "2",
    "--warm-up",
    "1",
    "--rounds",
    "1",
    "--threads",
    "1",
    "--device",
    "cpu",
]


@pytest.mark.slow
def test_compares_with_the_checkpoint(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was exported has the labels of PyTorch; a damaged file is a row that fails."""
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no protobuf")
    named = [str(artifacts / f"best.{ending}") for ending in ("pt", "onnx")]

    result = CliRunner().invoke(benchmark, [*named, str(broken), *FEW, "--json"])

    folder = tmp_path / "runs" / "benchmark" / "best"
    assert isinstance(result.exception, SegdeployError)
    assert result.exception.exit_code == 1
    assert "1 of 3 artifacts failed (broken.onnx: " in str(result.exception)
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    report = Report.from_json((folder / "report.json").read_text(), source="report.json")
    assert json.loads(result.stdout) == json.loads((folder / "report.json").read_text())
    assert report.reference == "best.pt"
    assert [row.name for row, _ in report.measured] == ["best.pt", "best.onnx"]
    assert "is not an ONNX file" in report.failed[0].error
    for row, row_result in report.measured:
        assert row_result.accuracy is not None
        assert row_result.accuracy.labels is not None
        assert row_result.accuracy.labels.overall >= 0.999, row.name
        assert len(row_result.latency.runs) == 2
        # Nothing starts in no time, and a network is a part of the work for a mask.
        assert row_result.cold_start.median > 50
        # Of two runs each, the fastest: a busy machine slows single ones down several times.
        assert min(row_result.network.runs) < 1.5 * min(row_result.latency.runs)
        assert (row_result.setting.threads, row_result.peak_memory is None) == (1, False)


@pytest.mark.slow
def test_runs_over_a_video(artifacts: Path, tmp_path: Path, real: Path) -> None:
    """The fps (wall time) is reported beside the network's time."""
    video = real / "video" / "odd_size_vp9.webm"
    named = str(artifacts / "best.onnx")

    result = CliRunner().invoke(
        benchmark,
        [named, *FEW, "--video", str(video), "--output", str(tmp_path / "out")],
        catch_exceptions=False,
    )

    report = Report.from_json((tmp_path / "out" / "report.json").read_text(), source="report.json")
    ((_, row_result),) = report.measured
    assert result.exit_code == 0
    assert str(tmp_path / "out" / "report.html") in result.stdout
    assert "best.onnx segments an image in" in result.stdout
    assert report.reference is None
    assert row_result.video is not None
    assert row_result.video.times.frames > 1
    assert row_result.video.times.infer.p50 > 0
    assert 0 <= row_result.video.flicker < 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["missing.onnx"], ModelError, "there is no file missing.onnx"),
        (["notes.txt"], ModelError, "an artifact ends with"),
        (["best.onnx"], ConfigError, "--dataset"),
        (["best.onnx", "--dataset", "camvid", "--data", "nowhere"], DataError, "nowhere"),
        (["best.onnx", "--dataset", "streets", "--video", "notes.txt"], DataError, "notes.txt"),
        (["best.onnx", "./best.onnx", "--dataset", "streets"], ConfigError, "named twice"),
        (["best.onnx", "--dataset", "streets", "--all"], ConfigError, "name a .pt file too"),
        (["best.onnx", "--dataset", "streets", "--loader"], ConfigError, "--loader reads a folder"),
        (
            ["best.onnx", "--dataset", "streets", "--baseline", "notes.txt"],
            ConfigError,
            "belong together",
        ),
        (
            ["best.onnx", "--dataset", "streets", "--baseline", "notes.txt", "--fail-on", "p95"],
            ConfigError,
            "is not a limit",
        ),
        (
            ["best.onnx", "--dataset", "streets", "--baseline", "notes.txt", "--fail-on", ""],
            ConfigError,
            "'' is not a limit",
        ),
        (
            [
                "best.onnx",
                "--dataset",
                "streets",
                "--baseline",
                "notes.txt",
                "--fail-on",
                "p95=+9%",
            ],
            DataError,
            "is not a report",
        ),
        (
            ["best.onnx", "--dataset", "streets", "--baseline", "nowhere", "--fail-on", "p95=+9%"],
            DataError,
            "cannot be read",
        ),
        (["best.onnx", "--dataset", "streets", "--name", "a/b"], ConfigError, "a/b"),
        (
            ["best.onnx", "--dataset", "streets", "--name", "a", "--output", "b"],
            ConfigError,
            "--name",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_first(
    artifacts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    error: type[SegdeployError],
    message: str,
) -> None:
    """Minutes of measuring must not end with a wrong option; nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(artifacts / "best.onnx", tmp_path)
    (tmp_path / "notes.txt").write_text("no video")

    result = CliRunner().invoke(benchmark, arguments)

    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not list(tmp_path.glob("runs/benchmark/*"))
