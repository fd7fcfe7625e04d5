"""The half precision that a device is fast with."""

from pathlib import Path

import torch

CPU = Path("/proc/cpuinfo")
BF16 = {"amx_bf16", "avx512_bf16", "bf16"}
"""Flags of processors that multiply bfloat16 by themselves: Intel, AMD, and Arm. Others compute it by single precision, and slower."""


def half_precision(device: torch.device) -> torch.dtype | None:
    """Give the half precision that a device is fast with; None where it has none."""
    if device.type != "cuda":
        return torch.bfloat16 if has_bf16(CPU) else None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def has_bf16(flags: Path) -> bool:
    """Tell by Linux's list of a processor's flags whether it multiplies bfloat16 by itself; without a list it does not."""
    if not flags.is_file():
        return False
    lines = (line.partition(":") for line in flags.read_text().splitlines())
    return any(key.strip() in {"flags", "Features"} and not BF16.isdisjoint(values.split()) for key, _, values in lines)
