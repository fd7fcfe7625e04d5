"""What other commands of segdeploy do for a benchmark, each a process of its own.

Exporting, training speed, reading speed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from segdeploy.backends.loading import KINDS
from segdeploy.errors import SegdeployError
from segdeploy.system.plugins import LOADED

from ..results.report import Row
from ..results.row import ExternalResult
from ..results.variant import Variant
from .process import printed

Call = Callable[[Sequence[str]], str]
"""Runs a module with arguments, and gives what it printed; a SegdeployError says why it failed."""

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
"""Every format, its ending, and the precisions that `--all` makes of it."""


def call(arguments: Sequence[str]) -> str:
    """Run a module of segdeploy in a fresh process with the same plugins, and give what it printed.

    Raises:
        SegdeployError: It failed; the message is its own.
    """
    return printed(["-m", *arguments, *(word for name in LOADED for word in ("--plugin", name))])


def make_all(
    checkpoint: Path,
    folder: Path,
    *,
    dataset: str,
    data: Path | None,
    on_form: Callable[[str], None],
    run: Call = call,
) -> tuple[list[Path], list[Row]]:
    """Export a checkpoint to every format that a runtime here is known for.

    Args:
        checkpoint: The file.
        folder: Where the files go.
        dataset: Name of the dataset on whose validation split each is proven.
        data: Its folder, or None.
        on_form: Is told the name of each file before it is made.
        run: Runs `segdeploy export`.

    Returns:
        The files, and a row with its reason for each that could not be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made, failed = [], []
    for name, ending, precision in FORMS:
        if ending not in KINDS:
            continue
        path = folder / f"{checkpoint.stem}{'' if precision == 'fp32' else f'-{precision}'}{ending}"
        on_form(path.name)
        asked = [
            "--format",
            name,
            "--precision",
            precision,
            "--output-file",
            str(path),
            "--dataset",
            dataset,
        ]
        try:
            run(
                [
                    "segdeploy",
                    "export",
                    str(checkpoint),
                    *asked,
                    *([] if data is None else ["--data", str(data)]),
                ]
            )
            made.append(path)
        except SegdeployError as error:
            failed.append(
                Row(
                    name=path.name,
                    way=Variant(artifact=str(path)),
                    size=0,
                    figures=None,
                    error=str(error),
                )
            )
    return made, failed


def training_speed(recipe: str, data: Path | None, run: Call = call) -> ExternalResult:
    """Measure how fast a recipe trains.

    Beside the loop that people write where its dataset lies in files.

    Args:
        recipe: A TOML file, or the name of a recipe in the box.
        data: Folder of its dataset, or None of one that draws itself.
        run: Runs the command.

    Raises:
        SegdeployError: It cannot be measured.
    """
    return ExternalResult.read(
        "Training speed",
        run(
            [
                "segdeploy.train.throughput",
                recipe,
                "--json",
                *(["--no-plain"] if data is None else ["--data", str(data)]),
            ]
        ),
    )


def reading_speed(data: Path, dataset: str, run: Call = call) -> ExternalResult:
    """Measure how fast the samples of a dataset are read for training.

    Raises:
        SegdeployError: It cannot be measured.
    """
    return ExternalResult.read(
        "Reading speed",
        run(["segdeploy", "data", "speed", str(data), "--dataset", dataset, "--json"]),
    )
