"""The half precision that a device is fast with."""

import torch

from segdeploy.machine import CPU, features

BF16 = {"amx_bf16", "avx512_bf16", "bf16"}
"""Features of processors that multiply bfloat16 by themselves: Intel, AMD, and Arm. Others compute it by single precision, and slower."""


def half_precision(device: torch.device) -> torch.dtype | None:
    """Give the half precision that a device is fast with; None where it has none."""
    if device.type != "cuda":
        return torch.bfloat16 if has_bf16(features(CPU)) else None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def has_bf16(features: tuple[str, ...]) -> bool:
    """Tell by a processor's features, as segdeploy.machine names them, whether it multiplies bfloat16 by itself."""
    return not BF16.isdisjoint(features)
