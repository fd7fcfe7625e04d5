"""Execution providers of ONNX Runtime: names, options, and what a session was granted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnxruntime

from segdeploy.errors import DeviceError
from segdeploy.system.cache import cache_folder, remove_oldest

CPU = "CPUExecutionProvider"

MAX_ENGINES = 4 << 30
"""Largest size of all engines of TensorRT that are kept, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An execution provider of ONNX Runtime.

    Attributes:
        name: Name in ONNX Runtime.
        package: Build of ONNX Runtime that contains it.
        requirements: What else must be installed.
        numbered: Whether there may be several such devices, selected by a number.
        options: Provider options of a session.
    """

    name: str
    package: str
    requirements: str
    numbered: bool
    options: Mapping[str, str]


PROVIDERS: Mapping[str, Provider] = {
    "cuda": Provider(
        name="CUDAExecutionProvider",
        package="onnxruntime-gpu",
        requirements="an NVIDIA driver, CUDA and cuDNN (pip install 'onnxruntime-gpu[cuda,cudnn]')",
        numbered=True,
        # An exhaustive search takes seconds for each input size; the heuristic is nearly as good.
        options={"cudnn_conv_algo_search": "HEURISTIC"},
    ),
    "tensorrt": Provider(
        name="TensorrtExecutionProvider",
        package="onnxruntime-gpu",
        requirements="an NVIDIA driver, CUDA, cuDNN and TensorRT (pip install tensorrt)",
        numbered=True,
        # Building an engine takes minutes, so it is cached for the next run; see `engine_cache`.
        options={
            "trt_engine_cache_enable": "1",
            "trt_timing_cache_enable": "1",
        },
    ),
    "openvino": Provider(
        name="OpenVINOExecutionProvider",
        package="onnxruntime-openvino",
        requirements="nothing else",
        numbered=False,
        options={"device_type": "AUTO"},
    ),
    "coreml": Provider(
        name="CoreMLExecutionProvider",
        package="onnxruntime (macOS)",
        requirements="macOS 12 or newer",
        numbered=False,
        options={},
    ),
    "directml": Provider(
        name="DmlExecutionProvider",
        package="onnxruntime-directml",
        requirements="Windows 10 or newer and a DirectX 12 device",
        numbered=True,
        options={},
    ),
}
"""Execution providers by the names that `--device` accepts."""

AUTOMATIC = ("cuda",)
"""What "auto" tries before the CPU. Providers that build an engine for minutes, or round
differently, run only when they are named."""

ProviderRequest = list[str | tuple[str, Mapping[str, str]]]
"""Providers of a session, the preferred one first, as ONNX Runtime takes them."""


def request_providers(device: str, available: Sequence[str] | None = None) -> ProviderRequest:
    """Return the providers to request for a device, the preferred one first.

    Args:
        device: "auto", "cpu", or a name in `PROVIDERS`, with ":n" appended where there may be
            several.
        available: Providers to choose from; those of the installed ONNX Runtime where None.

    Raises:
        DeviceError: The name is unknown, or this build of ONNX Runtime lacks its provider.
    """
    if available is None:
        available = onnxruntime.get_available_providers()
    if device == "cpu":
        return [CPU]
    if device == "auto":
        names = [name for name in AUTOMATIC if PROVIDERS[name].name in available]
        return [*(provider_with_options(name, "0") for name in names), CPU]
    name, colon, number = device.partition(":")
    provider = PROVIDERS.get(name)
    if provider is None or (colon and not (provider.numbered and number.isdecimal())):
        msg = (
            f"there is no device {device!r}; choose auto, cpu, {', '.join(PROVIDERS)}, and cuda:1"
            " for the second one"
        )
        raise DeviceError(msg)
    if provider.name not in available:
        msg = (
            f"the device {device!r} is not available: this ONNX Runtime has no {provider.name};"
            f" install {provider.package}, or choose cpu or auto"
        )
        raise DeviceError(msg)
    return [provider_with_options(name, number or "0"), CPU]


def provider_with_options(name: str, number: str) -> tuple[str, Mapping[str, str]]:
    """Return the name in ONNX Runtime of a provider, with its options.

    Args:
        name: Key in `PROVIDERS`.
        number: Which of several devices.
    """
    provider = PROVIDERS[name]
    device_id = {"device_id": number} if provider.numbered else {}
    cache = engine_cache() if name == "tensorrt" else {}
    return provider.name, {**provider.options, **cache, **device_id}


def engine_cache() -> Mapping[str, str]:
    """Return the options of TensorRT that set where engines are kept.

    An engine is code, so the folder is the user's own and not the current one. The oldest engines
    are removed where all together are larger than `MAX_ENGINES`.
    """
    folder = cache_folder("tensorrt")
    if folder is None:
        return {"trt_engine_cache_enable": "0", "trt_timing_cache_enable": "0"}
    remove_oldest(folder, MAX_ENGINES)
    return {"trt_engine_cache_path": str(folder), "trt_timing_cache_path": str(folder)}


def check_granted(device: str, granted: Sequence[str]) -> None:
    """Check that a session runs on the requested device.

    Args:
        device: What was requested, as `request_providers` takes it.
        granted: The session's providers.

    Raises:
        DeviceError: ONNX Runtime silently fell back to another provider.
    """
    provider = PROVIDERS.get(device.partition(":")[0])
    if provider is not None and provider.name not in granted:
        msg = (
            f"the device {device!r} is not available: ONNX Runtime granted {granted[0]}; it needs"
            f" {provider.requirements}; see 'segdeploy doctor'"
        )
        raise DeviceError(msg)


DeviceMemory = tuple[str, int]
"""The memory of a device as ONNX Runtime names it: a type and a number."""


def device_memory(granted: Mapping[str, Mapping[str, str]]) -> DeviceMemory | None:
    """Return the CUDA memory in which a session keeps its tensors; None on other devices.

    Without bound tensors, each call would allocate them anew on the device.

    Args:
        granted: Options of the session's providers by their names, the preferred one first.
    """
    first, options = next(iter(granted.items()))
    if first not in (PROVIDERS["cuda"].name, PROVIDERS["tensorrt"].name):
        return None
    return "cuda", int(options.get("device_id", 0))
