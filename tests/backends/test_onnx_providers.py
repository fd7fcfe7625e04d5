"""A session runs on the requested device or is refused: there is no silent fallback."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from segdeploy.backends.onnx_providers import (
    CPU,
    PROVIDERS,
    check_granted,
    device_memory,
    provider_with_options,
    request_providers,
)
from segdeploy.errors import DeviceError


def test_cpu_requests_no_other_provider() -> None:
    """Whatever the build contains."""
    assert request_providers("cpu", ["CUDAExecutionProvider", CPU]) == [CPU]
    assert request_providers("auto", [CPU]) == [CPU]


def test_auto_prefers_cuda_where_the_build_has_it() -> None:
    """TensorRT would build an engine for minutes, so it runs only when it is named."""
    available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]

    first, last = request_providers("auto", available)

    assert (first[0], last) == ("CUDAExecutionProvider", CPU)


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_device_that_this_build_lacks_is_refused(name: str) -> None:
    """The sentence says what to install."""
    with pytest.raises(
        DeviceError,
        match=rf"'{name}' is not available: this ONNX Runtime has no \w+; install onnxruntime",
    ):
        request_providers(name, [CPU])


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_device_that_this_build_has_is_requested(name: str) -> None:
    """The CPU stands behind it, for operators that the device does not support."""
    first, last = request_providers(name, [PROVIDERS[name].name, CPU])

    assert (first[0], last) == (PROVIDERS[name].name, CPU)


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "coreml:0", "openvino:1", "", "CUDA"])
def test_unknown_devices_are_refused(device: str) -> None:
    """A number only where there may be several devices."""
    with pytest.raises(
        DeviceError, match=f"there is no device '{device}'; choose auto, cpu, cuda, tensorrt"
    ):
        request_providers(device)


@pytest.mark.parametrize(
    ("device", "granted", "sentence"),
    [
        (
            "cuda",
            [CPU],
            (
                "'cuda' is not available: ONNX Runtime granted CPUExecutionProvider; it needs an"
                " NVIDIA driver"
            ),
        ),
        (
            "tensorrt:1",
            ["CUDAExecutionProvider", CPU],
            "'tensorrt:1' is not available: ONNX Runtime granted CUDAExecutionProvider",
        ),
    ],
)
def test_fallback_to_another_provider_is_refused(
    device: str, granted: Sequence[str], sentence: str
) -> None:
    """It would be ten times slower than expected, without notice."""
    with pytest.raises(DeviceError, match=sentence):
        check_granted(device, granted)


def test_requested_provider_is_accepted() -> None:
    """The CPU stands behind it, for operators that the device does not support."""
    check_granted("cuda:1", ["CUDAExecutionProvider", CPU])
    check_granted("auto", [CPU])
    check_granted("cpu", [CPU])


def test_device_number_becomes_an_option() -> None:
    """The second device is number 1; a provider without numbers gets none."""
    assert provider_with_options("cuda", "1")[1]["device_id"] == "1"
    assert "device_id" not in provider_with_options("coreml", "0")[1]


@pytest.mark.parametrize(
    ("granted", "memory"),
    [
        ({"CPUExecutionProvider": {}}, None),
        ({"CUDAExecutionProvider": {"device_id": "1"}, "CPUExecutionProvider": {}}, ("cuda", 1)),
        ({"TensorrtExecutionProvider": {}, "CUDAExecutionProvider": {}}, ("cuda", 0)),
        ({"OpenVINOExecutionProvider": {}, "CPUExecutionProvider": {}}, None),
    ],
    ids=["cpu", "cuda", "tensorrt", "openvino"],
)
def test_tensors_are_bound_on_nvidia_devices_only(
    granted: dict[str, dict[str, str]], memory: tuple[str, int] | None
) -> None:
    """Other providers read images from CPU memory."""
    assert device_memory(granted) == memory


def test_engines_are_kept_in_the_cache_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine is code: one that lies in the current folder may be anyone's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    _, options = provider_with_options("tensorrt", "0")

    assert options["trt_engine_cache_path"] == str(tmp_path / "segdeploy" / "tensorrt")
    assert options["trt_timing_cache_path"] == str(tmp_path / "segdeploy" / "tensorrt")
