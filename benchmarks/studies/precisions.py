"""How much faster than PyTorch a network is in each format and precision.

`python -m segdeploy.benchmarks.studies.precisions`.

Each network has random weights, which change no time. Each file is timed from a batch to logits, in
processes of its own, and a network's files take turns. Beside them stands the checkpoint, as
PyTorch runs it: float32, channels last. Making masks of the logits is left out.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from segdeploy import models
from segdeploy.cli.console import progress
from segdeploy.cli.main import invoke
from segdeploy.cli.options import ImageSize

from ..measure.subcommands import Call, call
from ..results.latency import SEED, Latency
from .networks import Candidate, conditions, randomly_initialized, timed

USUAL = ("fastscnn", "lightfpn", "ddrnet23slim", "unet", "deeplabv3plus")

REFERENCE = "PyTorch fp32"

FILES = {
    "TorchScript fp32": (".torchscript", "fp32"),
    "ONNX Runtime fp32": (".onnx", "fp32"),
    "ONNX Runtime int8": (".onnx", "int8"),
    "OpenVINO fp32": (".xml", "fp32"),
    "OpenVINO bf16": (".xml", "bf16"),
    "OpenVINO int8": (".xml", "int8"),
}
"""Ending and precision of what each row is, by the row's name."""


def files_here(*, openvino: bool) -> list[str]:
    """Return the rows that can be measured with and without the extra openvino."""
    return [name for name in FILES if openvino or not name.startswith("OpenVINO")]


def make(checkpoint: Path, names: Sequence[str], run: Call = call) -> dict[str, Path]:
    """Convert a checkpoint to each of the named files, and give their paths, the checkpoint's own first.

    Args:
        checkpoint: The file.
        names: Names of rows.
        run: Runs a module of segdeploy.

    Raises:
        SegdeployError: One of them cannot be made.
    """
    made = {REFERENCE: checkpoint}
    with progress(f"converting {checkpoint.stem}", len(names)) as step:
        for name in names:
            ending, precision = FILES[name]
            made[name] = checkpoint.with_name(f"{checkpoint.stem}-{precision}{ending}")
            run(["segdeploy.export.unproven", str(checkpoint), str(made[name]), precision])
            step(name)
    return made


def times_as_fast(latency: Latency, reference: Latency) -> tuple[float, float, float]:
    """Return how many times as fast as a reference something is, by the medians, and bounds that hold it with 95% confidence."""
    samples = reference.resampled(50) / latency.resampled(50, seed=SEED + 1)
    low, high = np.percentile(samples, (2.5, 97.5))
    return reference.median / latency.median, float(low), float(high)


def in_markdown(network: str, latencies: Mapping[str, Latency]) -> str:
    """Write a network's rows, in brackets what holds the true value with 95% confidence."""
    rows = []
    for name, latency in latencies.items():
        times = "{:.1f} ({:.1f}–{:.1f})".format(latency.median, *latency.interval(50))
        ratio = (
            "1"
            if name == REFERENCE
            else "{:.2f} ({:.2f}–{:.2f})".format(*times_as_fast(latency, latencies[REFERENCE]))
        )
        rows.append(f"| {network} | {name} | {times} | {ratio} |")
    return "\n".join(rows)


@click.command()
@click.option(
    "--imgsz",
    type=ImageSize(),
    default="512,512",
    show_default=True,
    help="Height,width of the networks' input.",
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes of each file.",
)
@click.option(
    "--runs", default=20, show_default=True, type=click.IntRange(min=1), help="Timed runs in each."
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of the network.  [default: as many as there are cores]",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(models.names()),
    help=f"This network; may be repeated.  [default: {', '.join(USUAL)}]",
)
def main(
    imgsz: tuple[int, int], rounds: int, runs: int, threads: int | None, only: Sequence[str]
) -> None:
    """Print the times of each network's files and how many times as fast as PyTorch they are, as a table in Markdown."""
    rows, measured = [], {}
    names = files_here(openvino=find_spec("openvino") is not None and find_spec("nncf") is not None)
    for network in only or USUAL:
        with TemporaryDirectory(prefix="segdeploy-") as folder:
            made = make(randomly_initialized(Candidate(network), Path(folder), imgsz), names)
            latencies = timed(made, rounds=rounds, runs=runs, threads=threads)
        rows.append(in_markdown(network, latencies))
        measured.update({f"{network}, {name}": latency for name, latency in latencies.items()})
    click.echo(
        "| network | file | median ms | times as fast as PyTorch |\n| --- | --- | ---: | ---: |"
    )
    click.echo("\n".join(rows))
    click.echo(conditions(imgsz, threads, measured))


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.precisions")
