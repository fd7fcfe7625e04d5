"""The formats that a network is exported to, and what each can be."""

from collections.abc import Mapping
from dataclasses import dataclass

from segdeploy.errors import ConfigError

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format.

    Attributes:
        ending: Ending of its files, or of its folder.
        precisions: Kinds of numbers that it can compute with.
    """

    ending: str
    precisions: tuple[str, ...]


FORMATS: Mapping[str, Format] = {
    "onnx": Format(ending=".onnx", precisions=("fp32", "fp16", "int8")),
    "openvino": Format(ending=".xml", precisions=("fp32", "fp16", "bf16", "int8")),
    "pt2": Format(ending=".pt2", precisions=("fp32",)),
    "triton": Format(ending=".triton", precisions=("fp32", "fp16", "int8")),
    "torchscript": Format(ending=".torchscript", precisions=("fp32",)),
}


def choose_formats(text: str, precision: str) -> list[str]:
    """Read a list as in "onnx,torchscript", each once.

    Raises:
        ConfigError: A format is unknown, or cannot have the precision.
    """
    asked = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in asked:
        if name not in FORMATS:
            msg = f"there is no format {name!r}; choose of {', '.join(FORMATS)}"
            raise ConfigError(msg)
        if precision not in FORMATS[name].precisions:
            msg = f"{name} cannot be {precision}; choose --precision {' or '.join(FORMATS[name].precisions)}"
            raise ConfigError(msg)
    return asked
