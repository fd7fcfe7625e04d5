"""What ONNX Runtime can run a network on: the providers of its builds, by the names that users know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnxruntime

from segdeploy.errors import DeviceError

CPU = "CPUExecutionProvider"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One kind of device.

    Attributes:
        name: What ONNX Runtime calls it.
        package: The build of ONNX Runtime that has it.
        needs: What else must be on the machine.
        numbered: Whether there may be several, told by a number.
        options: What it is asked for.
    """

    name: str
    package: str
    needs: str
    numbered: bool
    options: Mapping[str, str]


# Trying every algorithm for every convolution takes seconds a size; the heuristic loses little.
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}

PROVIDERS: Mapping[str, Provider] = {
    "cuda": Provider(
        name="CUDAExecutionProvider",
        package="onnxruntime-gpu",
        needs="an NVIDIA driver, CUDA and cuDNN (pip install 'onnxruntime-gpu[cuda,cudnn]')",
        numbered=True,
        options=CUDA_OPTIONS,
    ),
    "tensorrt": Provider(
        name="TensorrtExecutionProvider",
        package="onnxruntime-gpu",
        needs="an NVIDIA driver, CUDA, cuDNN and TensorRT (pip install tensorrt)",
        numbered=True,
        # Building an engine takes minutes; it is kept for the next run.
        options={"trt_engine_cache_enable": "1", "trt_engine_cache_path": ".segdeploy-tensorrt", "trt_timing_cache_enable": "1"},
    ),
    "openvino": Provider(
        name="OpenVINOExecutionProvider",
        package="onnxruntime-openvino",
        needs="nothing else",
        numbered=False,
        options={"device_type": "AUTO"},
    ),
    "coreml": Provider(
        name="CoreMLExecutionProvider", package="onnxruntime (macOS)", needs="macOS 12 or newer", numbered=False, options={}
    ),
    "directml": Provider(
        name="DmlExecutionProvider",
        package="onnxruntime-directml",
        needs="Windows 10 or newer and a DirectX 12 device",
        numbered=True,
        options={},
    ),
}
"""Providers by the names that `--device` takes, best first for who leaves the choice."""

AUTOMATIC = ("cuda",)
"""What `auto` asks for before the processor; what takes minutes to build an engine, or rounds in its own way, is taken by name only."""

Request = list[str | tuple[str, Mapping[str, str]]]


def request(device: str) -> Request:
    """Name what to ask ONNX Runtime for, best first.

    Args:
        device: "auto", "cpu", or a name of `PROVIDERS`, with ":n" behind it where there may be several.

    Raises:
        DeviceError: There is no device of that name, or this ONNX Runtime was built without it.
    """
    available = onnxruntime.get_available_providers()
    if device == "cpu":
        return [CPU]
    if device == "auto":
        return [*(asked(name, "0") for name in AUTOMATIC if PROVIDERS[name].name in available), CPU]
    kind, colon, number = device.partition(":")
    provider = PROVIDERS.get(kind)
    if provider is None or (colon and not (provider.numbered and number.isdecimal())):
        msg = f"there is no device {device!r}; choose auto, cpu, {', '.join(PROVIDERS)}, and cuda:1 for the second one"
        raise DeviceError(msg)
    if provider.name not in available:
        lacks = f"the device {device!r} was asked for and this ONNX Runtime has no {provider.name}"
        msg = f"{lacks}; install {provider.package}, or choose cpu or auto"
        raise DeviceError(msg)
    return [asked(kind, number or "0"), CPU]


def asked(kind: str, number: str) -> tuple[str, Mapping[str, str]]:
    """Give a provider's name with its options."""
    provider = PROVIDERS[kind]
    return provider.name, {**provider.options, **({"device_id": number} if provider.numbered else {})}


def check_granted(device: str, granted: Sequence[str]) -> None:
    """Refuse a session that runs on something else than was asked for.

    Args:
        device: What was asked for, as `request` takes it.
        granted: The session's providers.

    Raises:
        DeviceError: ONNX Runtime took another one without a word.
    """
    provider = PROVIDERS.get(device.partition(":")[0])
    if provider is not None and provider.name not in granted:
        msg = (
            f"the device {device!r} was asked for and ONNX Runtime granted {granted[0]}; it needs {provider.needs}; see 'segdeploy doctor'"
        )
        raise DeviceError(msg)
