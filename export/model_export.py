"""`segdeploy export` as a function."""

from pathlib import Path
from typing import Any

from segdeploy.cli.option_values import option_values

from .command import ExportOptions, export, name_suffix, name_targets
from .exporter import export_checkpoint
from .plan import FORMATS, choose_formats
from .writer import Artifact


def export_model(
    checkpoint: Path | str,
    path: Path | str | None = None,
    **options: Any,  # noqa: ANN401 - of the command
) -> Artifact:
    """Convert a checkpoint to a file for another runtime, prove it, and return the file.

    Example:
        ```python
        artifact = segdeploy.export.export_model("best.pt", "small.onnx", proof_images=2)
        print(artifact.path, artifact.size, artifact.parity.agreement)
        ```

    Args:
        checkpoint: A file that `segdeploy train` or `segdeploy adopt` wrote.
        path: Name of the file, whose ending chooses the format; an ONNX file beside the checkpoint
            where None.
        options: Those of `segdeploy export` by their names: precision, output, confidence, imgsz,
            dynamic, opset, serve_on, dataset, data, files (`--verify`), proof_images,
            max_miou_drop, calibration_images, calibrate and card_file; and formats where `path`
            is None.

    Raises:
        ConfigError: An option is unknown, impossible, or does not fit the others.
        ModelError: The checkpoint cannot be used.
        DataError: The images of the proof cannot be used.
        ExportError: The network cannot be converted.
        GateError: The file's output is not the network's; no file is left.
        MissingExtraError: A library of the format is not installed.
    """
    if path is not None:
        endings = {file_format.ending: name for name, file_format in FORMATS.items()}
        options = {"formats": endings.get(Path(path).suffix, "onnx"), **options}
    given = {**options, "checkpoint": checkpoint, "output_file": path}
    values = ExportOptions(**option_values(export, given, without=("as_json",)))
    values.check()
    assert values.checkpoint is not None, "it is given"
    targets = name_targets(
        values.checkpoint,
        formats=choose_formats(values.formats, values.precision)[:1],
        suffix=name_suffix(values.precision, values.output),
        output_file=values.output_file,
    )
    [result] = export_checkpoint(values.checkpoint, targets, values.config())
    return result.artifact
