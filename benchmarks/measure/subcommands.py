"""What other commands of segdeploy do for a benchmark, each in a process of its own.

Export, training speed, loading speed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from segdeploy.backends.loading import KINDS
from segdeploy.errors import SegdeployError
from segdeploy.system.files import make_folder
from segdeploy.system.plugins import LOADED

from ..results.report import Row
from ..results.row import ExternalResult
from ..results.variant import Variant
from .process import run_command

Call = Callable[[Sequence[str]], str]
"""Runs a module with arguments and returns what it printed; a SegdeployError says why it failed."""

FORMS = (
    ("onnx", ".onnx", "fp32"),
    ("onnx", ".onnx", "fp16"),
    ("onnx", ".onnx", "int8"),
    ("torchscript", ".torchscript", "fp32"),
    ("pt2", ".pt2", "fp32"),
    ("openvino", ".xml", "fp32"),
    ("openvino", ".xml", "bf16"),
    ("openvino", ".xml", "int8"),
)
"""Format, suffix and precision of every file that `--all` exports."""


def call(arguments: Sequence[str], timeout: float | None = None) -> str:
    """Run a module in a fresh process with the same plugins, and return what it printed.

    Args:
        arguments: Name of the module and its arguments, for example ["segdeploy", "models"].
        timeout: Seconds after which it is ended; None for never.

    Raises:
        SegdeployError: It failed, and the message is its own; or it took longer than the timeout.
    """
    plugins = [word for name in LOADED for word in ("--plugin", name)]
    return run_command(["-m", *arguments, *plugins], timeout=timeout)


def export_all(
    checkpoint: Path,
    folder: Path,
    *,
    dataset: str,
    data: Path | None,
    on_file: Callable[[str], None],
    run: Call = call,
) -> tuple[list[Path], list[Row]]:
    """Export a checkpoint to every format and precision that has a runtime.

    Args:
        checkpoint: The file.
        folder: Folder of the exported files.
        dataset: Name of the dataset on whose validation split each is proven.
        data: Its folder, or None.
        on_file: Called with the name of each file before it is exported.
        run: Runs `segdeploy export`.

    Returns:
        The files, and a row with its reason for each that could not be exported.
    """
    make_folder(folder)
    exported, failed = [], []
    shared = ["--dataset", dataset, *([] if data is None else ["--data", str(data)])]
    for name, suffix, precision in FORMS:
        if suffix not in KINDS:
            continue
        ending = suffix if precision == "fp32" else f"-{precision}{suffix}"
        path = folder / f"{checkpoint.stem}{ending}"
        on_file(path.name)
        options = ["--format", name, "--precision", precision, "--output-file", str(path), *shared]
        try:
            run(["segdeploy", "export", str(checkpoint), *options])
            exported.append(path)
        except SegdeployError as error:
            variant = Variant(artifact=str(path))
            row = Row(name=path.name, variant=variant, size=0, result=None, error=str(error))
            failed.append(row)
    return exported, failed


def training_speed(recipe: str, data: Path | None, run: Call = call) -> ExternalResult:
    """Measure how fast a recipe trains.

    A plain training loop is measured beside it if the dataset lies in files.

    Args:
        recipe: A TOML file, or the name of a bundled recipe.
        data: Folder of its dataset, or None for a dataset that is drawn.
        run: Runs the command.

    Raises:
        SegdeployError: It cannot be measured.
    """
    options = ["--no-plain"] if data is None else ["--data", str(data)]
    printed = run(["segdeploy.train.throughput", recipe, "--json", *options])
    return ExternalResult.read("Training speed", printed)


def loading_speed(data: Path, dataset: str, run: Call = call) -> ExternalResult:
    """Measure how fast the samples of a dataset are loaded for training.

    Raises:
        SegdeployError: It cannot be measured.
    """
    printed = run(["segdeploy", "data", "speed", str(data), "--dataset", dataset, "--json"])
    return ExternalResult.read("Loading speed", printed)
