"""A session runs on the requested device or is refused: there is no silent fallback."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace

from segdeploy.backends.loading import load_backend, read_card
from segdeploy.backends.onnx_runtime import (
    CPU,
    PROVIDERS,
    OnnxBackend,
    check_granted,
    device_memory,
    provider_with_options,
    request_providers,
)
from segdeploy.card import CARD_KEY
from segdeploy.errors import DeviceError, ModelError
from tests.helpers.backends import random_batches


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


def test_card_that_contradicts_its_graph_is_refused(artifacts: Path, tmp_path: Path) -> None:
    """The contradiction is found when the file is opened, not in the middle of a video."""
    card = read_card(artifacts / "best.onnx")
    model = onnx.load(artifacts / "best.onnx")
    onnx.helper.set_model_props(
        model, {CARD_KEY: replace(card, input=replace(card.input, height=90)).to_json()}
    )
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match="which contradicts its card"):
        load_backend(tmp_path / "other.onnx")


def test_bound_tensors_give_the_output_of_the_session(artifacts: Path) -> None:
    """For batches of any size, from several threads, and no output is overwritten by the next."""
    plain = load_backend(artifacts / "best.onnx", device="cpu", threads=1)
    session = onnxruntime.InferenceSession(
        str(artifacts / "best.onnx"), providers=["CPUExecutionProvider"]
    )
    bound = OnnxBackend(session, plain.card, memory=("cpu", 0))
    inputs = random_batches(12)

    with ThreadPoolExecutor(3) as threads:
        outputs = list(threads.map(bound.run, inputs))

    for batch, output in zip(inputs, outputs, strict=True):
        np.testing.assert_allclose(output, plain.run(batch), atol=1e-5)


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


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_returns_the_labels_of_the_cpu(artifacts: Path, device: str) -> None:
    """But for ties."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA")
    batch = np.random.default_rng(0).integers(0, 256, (2, 45, 60, 3), np.uint8)

    backend = load_backend(artifacts / "best.onnx", device=device)

    assert backend.device == "onnxruntime CUDAExecutionProvider"
    expected = load_backend(artifacts / "best.onnx", device="cpu").run(batch)
    assert np.mean(backend.run(batch).argmax(1) == expected.argmax(1)) > 0.999
