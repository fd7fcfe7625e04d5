"""Half precision where the device is fast with it."""

from pathlib import Path

import pytest
import torch

from segdeploy.precision import half_precision, has_bf16


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni", True),
        ("flags\t\t: fpu avx2 amx_bf16 amx_tile", True),
        ("Features\t: fp asimd i8mm bf16", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("bugs\t\t: bf16", False),
    ],
)
def test_processors_say_that_they_multiply_bfloat16(tmp_path: Path, line: str, *, expected: bool) -> None:
    """Others are slower with it than with single precision."""
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")

    assert has_bf16(tmp_path / "cpuinfo") is expected


def test_without_a_list_there_is_none(tmp_path: Path) -> None:
    """Other systems have no such file."""
    assert not has_bf16(tmp_path / "nothing")
    assert half_precision(torch.device("cpu")) in {None, torch.bfloat16}
