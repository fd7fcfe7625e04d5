"""What is asked for is granted, or told: nothing falls back without a word."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from segdeploy.backends.loading import load_backend
from segdeploy.backends.onnx_runtime import CPU, PROVIDERS, asked, check_granted, request
from segdeploy.errors import DeviceError


def test_processor_alone() -> None:
    """Whoever says cpu gets nothing else, whatever the build has."""
    assert request("cpu") == [CPU]
    assert request("auto")[-1] == CPU


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_device_that_this_build_lacks_is_told(name: str) -> None:
    """The sentence says what to install."""
    if PROVIDERS[name].name in onnxruntime.get_available_providers():
        pytest.skip("this build has it")

    with pytest.raises(
        DeviceError,
        match=rf"'{name}' was asked for and this ONNX Runtime has no \w+; install onnxruntime",
    ):
        request(name)


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "coreml:0", "openvino:1", "", "CUDA"])
def test_unknown_devices_are_told(device: str) -> None:
    """A number only where there may be several."""
    with pytest.raises(
        DeviceError, match=f"there is no device '{device}'; choose auto, cpu, cuda, tensorrt"
    ):
        request(device)


@pytest.mark.parametrize(
    ("device", "granted", "sentence"),
    [
        (
            "cuda",
            [CPU],
            (
                "'cuda' was asked for and ONNX Runtime granted CPUExecutionProvider; it needs an"
                " NVIDIA driver"
            ),
        ),
        (
            "tensorrt:1",
            ["CUDAExecutionProvider", CPU],
            "'tensorrt:1' was asked for and ONNX Runtime granted CUDAExecutionProvider",
        ),
    ],
)
def test_another_grant_is_refused(device: str, granted: Sequence[str], sentence: str) -> None:
    """Ten times slower than thought, and nobody knew."""
    with pytest.raises(DeviceError, match=sentence):
        check_granted(device, granted)


def test_grant_is_accepted() -> None:
    """Behind it stands the processor, for what the device cannot do."""
    check_granted("cuda:1", ["CUDAExecutionProvider", CPU])
    check_granted("auto", [CPU])
    check_granted("cpu", [CPU])


def test_number_is_handed_on() -> None:
    """The second device is number 1; one that cannot be numbered gets none."""
    assert asked("cuda", "1")[1]["device_id"] == "1"
    assert "device_id" not in asked("coreml", "0")[1]


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_answers_as_the_processor(artifacts: Path, device: str) -> None:
    """The same labels but for ties."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA")
    batch = np.random.default_rng(0).integers(0, 256, (2, 45, 60, 3), np.uint8)

    backend = load_backend(artifacts / "best.onnx", device=device)

    assert backend.device == "onnxruntime CUDAExecutionProvider"
    expected = load_backend(artifacts / "best.onnx", device="cpu").run(batch)
    assert np.mean(backend.run(batch).argmax(1) == expected.argmax(1)) > 0.999
