"""The table of formats and precisions: its files, and how much faster each is."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from segdeploy.backends.loading import load_backend
from segdeploy.benchmarks.results.latency import Latency
from segdeploy.benchmarks.studies.precisions import (
    FILES,
    REFERENCE,
    available_files,
    convert_all,
    speedup,
    to_markdown,
)
from segdeploy.export.unproven import write


def always(milliseconds: float) -> Latency:
    return Latency(rounds=((milliseconds,) * 4,) * 2)


def test_files_of_openvino_need_its_extra() -> None:
    """A machine without it measures the others."""
    assert available_files(openvino=True) == list(FILES)
    assert available_files(openvino=False) == [
        "TorchScript fp32",
        "ONNX Runtime fp32",
        "ONNX Runtime int8",
    ]


def test_every_file_is_written_beside_the_checkpoint(tmp_path: Path) -> None:
    """Two precisions of one format must not overwrite each other."""
    calls: list[Sequence[str]] = []

    def run(arguments: Sequence[str]) -> str:
        calls.append(arguments)
        return ""

    made = convert_all(tmp_path / "unet.pt", ["ONNX Runtime fp32", "ONNX Runtime int8"], run)

    paths = [tmp_path / name for name in ("unet.pt", "unet-fp32.onnx", "unet-int8.onnx")]
    assert made == dict(
        zip([REFERENCE, "ONNX Runtime fp32", "ONNX Runtime int8"], paths, strict=True)
    )
    assert calls == [
        ["segdeploy.export.unproven", str(paths[0]), str(path), kind]
        for path, kind in zip(paths[1:], ("fp32", "int8"), strict=True)
    ]


def test_ratio_is_of_the_medians() -> None:
    """By hand: 30 ms against 10 ms; what never varies has no interval."""
    assert speedup(always(10), always(30)) == pytest.approx((3, 3, 3))
    ratio, low, high = speedup(Latency(rounds=((8.0, 10.0, 12.0),)), always(30))
    assert ratio == pytest.approx(3)
    assert 30 / 12 <= low < 3 < high <= 30 / 8


def test_table_has_a_row_for_each_file() -> None:
    lines = to_markdown(
        "unet", {REFERENCE: always(30), "ONNX Runtime fp32": always(12)}
    ).splitlines()

    assert lines == [
        "| unet | PyTorch fp32 | 30.0 (30.0–30.0) | 1 |",
        "| unet | ONNX Runtime fp32 | 12.0 (12.0–12.0) | 2.50 (2.50–2.50) |",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), [("a.onnx", "int8"), ("a.torchscript", "fp32")])
def test_file_for_timing_is_one_that_runs(
    artifacts: Path, tmp_path: Path, name: str, precision: str
) -> None:
    """It has no proof, and it is loaded and run as any other."""
    write(artifacts / "best.pt", tmp_path / name, precision=precision)

    backend = load_backend(tmp_path / name, device="cpu", threads=1)
    assert backend.card.precision == precision
    assert backend.card.parity is None
