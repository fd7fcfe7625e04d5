"""Speedup over PyTorch of a network in each format and precision.

`python -m segdeploy.benchmarks.studies.precisions`.

Each network has random weights: they do not change the time. Each file is timed from a batch to its
output, in processes of its own, and a network's files take turns. The reference is the checkpoint
in PyTorch: float32, channels last. The step from logits to a mask is not timed.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np

from segdeploy import models
from segdeploy.cli.console import echo, progress
from segdeploy.cli.main import invoke
from segdeploy.system.files import temporary_folder

from ..measure.subcommands import Call, call
from ..results.latency import SEED, Latency
from .networks import Candidate, conditions, randomly_initialized, time_networks, timing_options

DEFAULT_NETWORKS = ("fastscnn", "lightfpn", "ddrnet23slim", "unet", "deeplabv3plus")

REFERENCE = "PyTorch fp32"

FILES = {
    "TorchScript fp32": (".torchscript", "fp32"),
    "ONNX Runtime fp32": (".onnx", "fp32"),
    "ONNX Runtime int8": (".onnx", "int8"),
    "OpenVINO fp32": (".xml", "fp32"),
    "OpenVINO bf16": (".xml", "bf16"),
    "OpenVINO int8": (".xml", "int8"),
}
"""Suffix and precision of each row's file, by the row's name."""


def available_files(*, openvino: bool) -> list[str]:
    """Return the names of the rows that can be measured with or without the extra openvino."""
    return [name for name in FILES if openvino or not name.startswith("OpenVINO")]


def convert_all(checkpoint: Path, names: Sequence[str], run: Call = call) -> dict[str, Path]:
    """Convert a checkpoint to each of the named files.

    Args:
        checkpoint: The file.
        names: Names of rows.
        run: Runs a module of segdeploy.

    Returns:
        Their paths by the rows' names, the checkpoint's own first.

    Raises:
        SegdeployError: One of them cannot be converted.
    """
    files = {REFERENCE: checkpoint}
    with progress(f"converting {checkpoint.stem}", len(names)) as step:
        for name in names:
            suffix, precision = FILES[name]
            files[name] = checkpoint.with_name(f"{checkpoint.stem}-{precision}{suffix}")
            run(["segdeploy.export.unproven", str(checkpoint), str(files[name]), precision])
            step(name)
    return files


def speedup(latency: Latency, reference: Latency) -> tuple[float, float, float]:
    """Return the speedup over a reference, by the medians, and its 95% confidence interval."""
    samples = reference.resampled(50) / latency.resampled(50, seed=SEED + 1)
    low, high = np.percentile(samples, (2.5, 97.5))
    return reference.median / latency.median, float(low), float(high)


def to_markdown(network: str, latencies: Mapping[str, Latency]) -> str:
    """Return the rows of a network in Markdown, with 95% confidence intervals in brackets."""
    rows = []
    for name, latency in latencies.items():
        times = "{:.1f} ({:.1f}–{:.1f})".format(latency.median, *latency.interval(50))
        ratio = (
            "1"
            if name == REFERENCE
            else "{:.2f} ({:.2f}–{:.2f})".format(*speedup(latency, latencies[REFERENCE]))
        )
        rows.append(f"| {network} | {name} | {times} | {ratio} |")
    return "\n".join(rows)


@click.command()
@timing_options(size="512,512", runs=20, unit="file")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(models.names()),
    help=f"This network; may be repeated.  [default: {', '.join(DEFAULT_NETWORKS)}]",
)
def main(
    imgsz: tuple[int, int], rounds: int, runs: int, threads: int | None, only: Sequence[str]
) -> None:
    """Print times and speedups over PyTorch of each network's files, as a table in Markdown."""
    rows, measured = [], {}
    has_openvino = find_spec("openvino") is not None and find_spec("nncf") is not None
    names = available_files(openvino=has_openvino)
    for network in only or DEFAULT_NETWORKS:
        with temporary_folder() as folder:
            checkpoint = randomly_initialized(Candidate(network), folder, imgsz)
            files = convert_all(checkpoint, names)
            latencies = time_networks(files, rounds=rounds, runs=runs, threads=threads)
        rows.append(to_markdown(network, latencies))
        measured.update({f"{network}, {name}": latency for name, latency in latencies.items()})
    echo("| network | file | median ms | speedup over PyTorch |\n| --- | --- | ---: | ---: |")
    echo("\n".join(rows))
    echo(conditions(imgsz, threads, measured))


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.precisions")
