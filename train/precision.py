"""The half precision that a device is fast with."""

from pathlib import Path

import torch

from segdeploy.machine import CPUINFO, processor_flags

BF16 = {"amx_bf16", "avx512_bf16", "bf16"}
"""Flags of processors that multiply bfloat16 by themselves: Intel, AMD, and Arm. Others compute it by single precision, and slower."""


def half_precision(device: torch.device) -> torch.dtype | None:
    """Give the half precision that a device is fast with; None where it has none."""
    if device.type != "cuda":
        return torch.bfloat16 if has_bf16(CPUINFO) else None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def has_bf16(flags: Path) -> bool:
    """Tell by Linux's list of a processor's flags whether it multiplies bfloat16 by itself; without a list it does not."""
    return not BF16.isdisjoint(processor_flags(flags))
