"""PyTorch as a runtime: half precision, compiled networks, and devices."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from segdeploy.backends.loading import load_backend
from segdeploy.backends.pytorch import EagerBackend, half_precision, has_bf16
from segdeploy.errors import ConfigError
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.system.machine import CPU_FEATURES
from tests.helpers.backends import random_batches


def load_eager_backend(artifacts: Path) -> EagerBackend:
    """Load best.pt on the CPU."""
    backend = load_backend(artifacts / "best.pt", device="cpu", threads=1)
    assert isinstance(backend, EagerBackend)
    return backend


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("avx2,avx512f,avx512_bf16", torch.bfloat16),
        ("amx_bf16", torch.bfloat16),
        ("asimd,bf16", torch.bfloat16),
        ("avx2,avx512f", None),
    ],
)
def test_cpu_uses_bfloat16_only_where_it_has_the_instructions(
    features: str, expected: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processors emulate it, which is slower than float32."""
    monkeypatch.setenv(CPU_FEATURES, features)

    assert half_precision(torch.device("cpu")) == expected
    assert has_bf16(tuple(features.split(","))) is (expected is not None)


def test_autocast_computes_in_half_precision(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits change a little, and the device says so."""
    monkeypatch.setenv(CPU_FEATURES, "avx2,avx512f,avx512_bf16")
    single, half = (load_eager_backend(artifacts) for _ in range(2))
    batch = random_batches(1)[0]

    half.accelerate(autocast=True)

    output, expected = half.run(batch), single.run(batch)
    assert output.dtype == np.float32
    assert 0 < np.abs(output - expected).max() < 0.1 * np.abs(expected).max()
    assert half.device == "torch cpu, bfloat16"


def test_autocast_without_fast_half_precision_is_refused(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be slower, and change labels for nothing."""
    monkeypatch.setenv(CPU_FEATURES, "avx2")
    backend = load_eager_backend(artifacts)

    with pytest.raises(ConfigError, match="torch cpu has no half precision that is faster"):
        backend.accelerate(autocast=True)


@pytest.mark.slow
def test_compiled_network_gives_the_same_labels(artifacts: Path) -> None:
    """For one image and for several; it is compiled before the first frame."""
    eager, compiled = (load_eager_backend(artifacts) for _ in range(2))

    compiled.accelerate(compiled=True)

    assert compiled.device == "torch cpu, compiled"
    for batch in random_batches(3):
        assert (compiled.run(batch).argmax(1) == eager.run(batch).argmax(1)).mean() > 0.999


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("autocast", "compiled"),
    [(False, False), (True, False), (False, True)],
    ids=["eager", "autocast", "compiled"],
)
def test_cuda_returns_the_labels_of_the_cpu(
    artifacts: Path, *, autocast: bool, compiled: bool
) -> None:
    """From several threads, each with its own stream and pinned memory."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    on_cpu = EagerBackend(checkpoint.network(), checkpoint.card)
    on_cuda = EagerBackend(checkpoint.network(), checkpoint.card, device="cuda")
    on_cuda.accelerate(autocast=autocast, compiled=compiled)
    batches = random_batches(12)

    with ThreadPoolExecutor(3) as threads:
        outputs = list(threads.map(on_cuda.run, batches))

    for batch, output in zip(batches, outputs, strict=True):
        assert output.flags.c_contiguous
        assert (output.argmax(1) == on_cpu.run(batch).argmax(1)).mean() > 0.99
