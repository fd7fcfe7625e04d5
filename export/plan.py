"""Formats, options, and the plan of an export.

Nothing here imports PyTorch or a library of a format, so that `--help` is fast.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdeploy.card import ModelCard, Output
from segdeploy.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from segdeploy.models.deployed import Deployed

    from .calibration import CalibrationImages
    from .onnx_network import OnnxNetwork
    from .proof import ProofImages

PRECISIONS = ("fp32", "fp16", "bf16", "int8")

MIN_CALIBRATION_IMAGES = 64
"""With fewer images, the range of an activation depends on which ones were chosen."""

OPSET = 21
"""Newest ONNX opset that every ONNX Runtime from 1.20 on runs."""

EXTRAS = {
    "torch": "export",
    "onnx": "export",
    "onnxscript": "export",
    "openvino": "openvino",
    "nncf": "openvino",
    "MNN": "mobile",
    "pnnx": "mobile",
    "segmentation_models_pytorch": "adopt",
    "transformers": "adopt",
}
"""Extra that installs each optional library of this package."""


def import_optional(module: str) -> Any:  # noqa: ANN401 - a module
    """Import a module of this package that needs an optional library.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        return importlib.import_module(f".{module}", __package__)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise MissingExtraError(error.name, EXTRAS[error.name]) from error


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format, and the functions of this package that write it.

    A function is named "module:function". Its module, which imports the format's library, is
    imported when the function is needed.

    Attributes:
        ending: Ending of its files, or of its folder.
        precisions: Precisions that it can have.
        converter: Called as `convert(plan)`, returns a candidate.
        quantizer: Called as `search(plan, on_step)`, returns the candidates in int8; "" where the
            format has no int8.
        runtime: Ending of the file that a runtime loads, a key of `KINDS`.
        folder: Called as `replacing_model(path, plan)`, a context manager that yields a temporary
            folder; "" where the artifact is a file.
        model_file: Path of the runtime's file in that folder.
        default_output: What a file returns where the options say logits.
        of_onnx: Whether it can be made of an ONNX file, without a network of PyTorch.
        check: Called as `check(card, config)`, refuses what the format cannot hold, before the
            network is converted; "" where it holds everything.
        finish: Called as `finish(folder, path, plan)` once the file in the folder is proven; writes
            what says so, and proves the rest; "" where nothing is left to do.
    """

    ending: str
    precisions: tuple[str, ...]
    converter: str
    quantizer: str = ""
    runtime: str
    folder: str = ""
    model_file: str = ""
    default_output: Output = "logits"
    of_onnx: bool = True
    check: str = ""
    finish: str = ""


FORMATS: Mapping[str, Format] = {
    "onnx": Format(
        ending=".onnx",
        precisions=("fp32", "fp16", "int8"),
        converter="onnx_format:convert",
        quantizer="onnx_int8:search",
        runtime=".onnx",
    ),
    "openvino": Format(
        ending=".xml",
        precisions=("fp32", "fp16", "bf16", "int8"),
        converter="openvino_format:convert",
        quantizer="openvino_int8:search",
        runtime=".xml",
    ),
    "pt2": Format(
        ending=".pt2",
        precisions=("fp32",),
        converter="torch_formats:to_pt2",
        of_onnx=False,
        runtime=".pt2",
    ),
    "triton": Format(
        ending=".triton",
        precisions=("fp32", "fp16", "int8"),
        converter="onnx_format:convert",
        quantizer="onnx_int8:search",
        runtime=".onnx",
        folder="triton_repository:replacing_model",
        model_file="1/model.onnx",
        # Clients of a server expect classes.
        default_output="classes",
    ),
    "web": Format(
        ending=".web",
        precisions=("fp32", "fp16", "int8"),
        converter="onnx_format:convert",
        quantizer="onnx_int8:search",
        runtime=".onnx",
        folder="web_format:replacing_page",
        model_file="model.onnx",
        check="web_format:check",
        finish="web_format:finish",
    ),
    "torchscript": Format(
        ending=".torchscript",
        precisions=("fp32",),
        converter="torch_formats:to_torchscript",
        of_onnx=False,
        runtime=".torchscript",
    ),
    "mnn": Format(
        ending=".mnn",
        precisions=("fp32", "fp16", "int8"),
        converter="mnn_format:convert",
        quantizer="mnn_format:search",
        runtime=".mnn",
    ),
    "ncnn": Format(
        ending=".ncnn.param",
        precisions=("fp32", "fp16"),
        converter="ncnn_format:convert",
        of_onnx=False,
        runtime=".param",
        check="ncnn_format:check",
    ),
}


def format_of(path: Path) -> str | None:
    """Return the name of the format whose files end as a path does; None for another ending."""
    return next((name for name, one in FORMATS.items() if path.name.endswith(one.ending)), None)


def import_function(name: str) -> Callable[..., Any]:
    """Import a function of a format by its "module:function".

    Raises:
        MissingExtraError: The format's library is not installed.
    """
    module, _, function = name.partition(":")
    imported: Callable[..., Any] = getattr(import_optional(module), function)
    return imported


def choose_formats(text: str, precision: str) -> list[str]:
    """Return the formats in a list such as "onnx,torchscript", each once.

    Raises:
        ConfigError: A format is unknown, or cannot have the precision.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            msg = f"there is no format {name!r}; choose from {', '.join(FORMATS)}"
            raise ConfigError(msg)
        if precision not in FORMATS[name].precisions:
            allowed = " or ".join(FORMATS[name].precisions)
            msg = f"{name} cannot be {precision}; choose --precision {allowed}"
            raise ConfigError(msg)
    return names


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of an export.

    Attributes:
        precision: Precision that the files compute in.
        output: What the files return.
        confidence: Whether files that return classes also return the probability of each.
        imgsz: Height and width of the network's input, in pixels; the checkpoint's where None.
        dynamic: Whether the files accept any height and width.
        opset: ONNX opset.
        dataset: Name of the dataset of the proof and the calibration; the training's where None.
        data: Folder of that dataset; the training's where None.
        files: Images, or folders of them, to use for the proof instead of a dataset.
        proof_images: Largest number of images of the proof; all where None.
        max_miou_drop: How much mIoU int8 may lose, in [0, 1].
        calibration_images: Number of images of the training split that int8 is calibrated on.
        serve_on: Device of a Triton server, "cpu" or "cuda"; "auto" for what this machine has.
        calibrate: Images without masks, or folders of them, to calibrate int8 on instead; without
            a dataset or `files` the proof runs on them too.
        card_file: Whether the card is also written beside each file, as JSON.
        webgpu: Whether a page for browsers has the runtime for graphics processors too.
    """

    precision: str = "fp32"
    output: Output = "logits"
    confidence: bool = False
    imgsz: tuple[int, int] | None = None
    dynamic: bool = False
    opset: int = OPSET
    dataset: str | None = None
    data: Path | None = None
    files: tuple[Path, ...] = ()
    proof_images: int | None = 20
    max_miou_drop: float = 0.005
    calibration_images: int = MIN_CALIBRATION_IMAGES
    serve_on: str = "auto"
    calibrate: tuple[Path, ...] = ()
    card_file: bool = False
    webgpu: bool = False


OLDER_FIELDS = {
    "answer": "output",
    "proof_pictures": "proof_images",
    "calibration_pictures": "calibration_images",
}
"""Former names of fields of `ExportConfig`."""


def make_order(**options: Any) -> ExportConfig:  # noqa: ANN401 - the fields of ExportConfig
    """Return an `ExportConfig`, also from the former names of its fields.

    `segdeploy.export.Order` is this function, for scripts that were written for that name.
    """
    return ExportConfig(**{OLDER_FIELDS.get(name, name): value for name, value in options.items()})


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """All that an export needs, resolved and opened once.

    Attributes:
        config: The options.
        card: Card of the files: the network's, with the options applied.
        network: In evaluation mode, on the CPU, or an ONNX graph; it returns what the card says.
        proof_images: Images that files and network are compared on.
        calibration: Images that int8 is calibrated on; None for other precisions.
        targets: Path of the file of each format, by the format's name.
    """

    config: ExportConfig
    card: ModelCard
    network: "Deployed | OnnxNetwork"
    proof_images: "ProofImages"
    calibration: "CalibrationImages | None" = None
    targets: Mapping[str, Path] = field(default_factory=dict)
