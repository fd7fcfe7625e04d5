"""What makes a backend fast on a device changes when numbers are copied, not which they are."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from msgspec.structs import replace

from segdeploy.backends import pytorch as eager
from segdeploy.backends.loading import load_backend
from segdeploy.backends.onnx_runtime import OnnxBackend, device_memory
from segdeploy.backends.pytorch import EagerBackend
from segdeploy.cli.run_inputs import Haste
from segdeploy.errors import ConfigError
from segdeploy.models.checkpoint import load_checkpoint


def batches(count: int) -> list[np.ndarray[tuple[int, int, int, int], np.dtype[np.uint8]]]:
    """Batches of one to three images."""
    random = np.random.default_rng(0)
    return [
        random.integers(0, 256, (1 + number % 3, 45, 60, 3), dtype=np.uint8)
        for number in range(count)
    ]


def test_bound_tensors_answer_as_the_session_does(artifacts: Path) -> None:
    """Whatever the size of a batch, from several threads, and no answer is written over by the next
    one.
    """
    plain = load_backend(artifacts / "best.onnx", device="cpu", threads=1)
    session = onnxruntime.InferenceSession(
        str(artifacts / "best.onnx"), providers=["CPUExecutionProvider"]
    )
    bound = OnnxBackend(session, plain.card, place=("cpu", 0))
    inputs = batches(12)

    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(bound.run, inputs))

    for batch, answer in zip(inputs, answers, strict=True):
        np.testing.assert_allclose(answer, plain.run(batch), atol=1e-5)


@pytest.mark.parametrize(
    ("granted", "place"),
    [
        ({"CPUExecutionProvider": {}}, None),
        ({"CUDAExecutionProvider": {"device_id": "1"}, "CPUExecutionProvider": {}}, ("cuda", 1)),
        ({"TensorrtExecutionProvider": {}, "CUDAExecutionProvider": {}}, ("cuda", 0)),
        ({"OpenVINOExecutionProvider": {}, "CPUExecutionProvider": {}}, None),
    ],
    ids=["cpu", "cuda", "tensorrt", "openvino"],
)
def test_tensors_are_bound_on_nvidias_devices_alone(
    granted: dict[str, dict[str, str]], place: tuple[str, int] | None
) -> None:
    """Other providers take images from the processor's memory."""
    assert device_memory(granted) == place


def test_autocast_computes_in_half_precision(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels are nearly all the same, the numbers are not; the name of the device says it."""
    plain, half = (load_backend(artifacts / "best.pt", device="cpu", threads=1) for _ in range(2))
    assert isinstance(half, EagerBackend)
    monkeypatch.setattr(eager, "half_precision", lambda _: torch.bfloat16)
    half.accelerate(autocast=True)

    ours, theirs = half.run(batches(1)[0]), plain.run(batches(1)[0])

    assert ours.dtype == np.float32
    assert 0 < np.abs(ours - theirs).max() < 0.1 * np.abs(theirs).max()
    assert half.device == "torch cpu, bfloat16"


def test_autocast_without_half_precision_is_told(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be slower, for nothing."""
    monkeypatch.setattr(eager, "half_precision", lambda _: None)
    backend = load_backend(artifacts / "best.pt", device="cpu", threads=1)

    with pytest.raises(ConfigError, match="torch cpu has no half precision"):
        Haste(autocast=True).apply(backend, artifacts / "best.pt")


def test_exported_files_have_their_precision(artifacts: Path) -> None:
    """An option without effect is worse than none."""
    with pytest.raises(ConfigError, match=r"best\.onnx is no checkpoint"):
        Haste(compiled=True).apply(load_backend(artifacts / "best.onnx"), artifacts / "best.onnx")


@pytest.mark.slow
def test_compiled_network_gives_the_same_labels(artifacts: Path) -> None:
    """For one image and for several; it is compiled before the first frame."""
    plain = load_backend(artifacts / "best.pt", device="cpu", threads=1)
    compiled = load_backend(artifacts / "best.pt", device="cpu", threads=1)
    Haste(compiled=True).apply(compiled, artifacts / "best.pt")

    assert compiled.device == "torch cpu, compiled"
    for batch in batches(3):
        assert (compiled.run(batch).argmax(1) == plain.run(batch).argmax(1)).mean() > 0.999


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    "haste",
    [Haste(), Haste(autocast=True), Haste(compiled=True)],
    ids=["plain", "autocast", "compiled"],
)
def test_cuda_answers_as_the_processor_does(artifacts: Path, haste: Haste) -> None:
    """From several threads, each with its own stream and pinned memory."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    on_cpu = EagerBackend(checkpoint.network(), checkpoint.card)
    on_cuda = EagerBackend(checkpoint.network(), replace(checkpoint.card), device="cuda")
    haste.apply(on_cuda, artifacts / "best.pt")
    inputs = batches(12)

    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(on_cuda.run, inputs))

    for batch, answer in zip(inputs, answers, strict=True):
        assert answer.flags.c_contiguous
        assert (answer.argmax(1) == on_cpu.run(batch).argmax(1)).mean() > 0.99
