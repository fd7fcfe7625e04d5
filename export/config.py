"""ExportConfig; formats and their precisions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segdeploy.card import Output
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
            msg = (
                f"{name} cannot be {precision}; choose --precision"
                f" {' or '.join(FORMATS[name].precisions)}"
            )
            raise ConfigError(msg)
    return asked


LEAST = 64
"""Images that a calibration needs: with fewer, the range of an activation is an accident."""


OPSET = 21
"""Newest version of ONNX's operators that every ONNX Runtime from 1.20 on runs."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What an export shall be.

    Attributes:
        precision: Kind of numbers that the files compute with.
        answer: What the files answer.
        confidence: Whether classes have their probability beside them.
        imgsz: Height and width of the network's input, in pixels; the checkpoint's where None.
        dynamic: Whether the files answer any height and width.
        opset: Version of ONNX's operators.
        dataset: Name of the dataset of the proof and the calibration; the one of the training
            where None.
        data: Its folder; the one of the training where None.
        files: Images, or folders of them, to prove on instead.
        proof_images: On how many images at most; all where None.
        max_miou_drop: How much mIoU int8 may lose, in [0, 1].
        calibration_images: How many images of the training split int8 is calibrated on.
        serve_on: Where a Triton server will run, "cpu" or "cuda"; "auto" for what this machine has.
    """

    precision: str = "fp32"
    answer: Output = "logits"
    confidence: bool = False
    imgsz: tuple[int, int] | None = None
    dynamic: bool = False
    opset: int = OPSET
    dataset: str | None = None
    data: Path | None = None
    files: tuple[Path, ...] = ()
    proof_images: int | None = 20
    max_miou_drop: float = 0.005
    calibration_images: int = LEAST
    serve_on: str = "auto"
