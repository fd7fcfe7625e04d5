"""Half precision where the device is fast with it."""

import pytest
import torch

from segdeploy.backends.torch_device import half_precision, has_bf16


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (("avx2", "avx512f", "avx512_bf16"), True),
        (("amx_bf16",), True),
        (("asimd", "bf16"), True),
        (("avx2", "avx512f"), False),
        ((), False),
    ],
)
def test_only_processors_that_multiply_bfloat16_are_given_it(
    features: tuple[str, ...], *, expected: bool
) -> None:
    """Others are slower with it than with single precision."""
    assert has_bf16(features) is expected
    assert half_precision(torch.device("cpu")) in {None, torch.bfloat16}
