"""How fast the networks that may run in real time are: `python -m segdeploy.benchmarks.networks`.

Each has random weights, which change no time, is exported to ONNX with its proof by the command itself, and is timed with
ONNX Runtime from a batch to logits, in processes of its own, in rounds by turns. Making masks of the logits is left out.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch

from segdeploy import datasets, models
from segdeploy.card import InputSpec, ModelCard
from segdeploy.checkpoint import Checkpoint, save_checkpoint
from segdeploy.commands.size import ImageSize
from segdeploy.console import progress
from segdeploy.errors import SegdeployError
from segdeploy.machine import survey
from segdeploy.models.cost import Cost, measure

from .latency import Latency
from .process import apart
from .rounds import in_turns

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
WARM_UP = 5


@dataclass(frozen=True)
class Candidate:
    """A network as it would be trained.

    Attributes:
        network: Its registered name.
        arguments: What it is built with.
    """

    network: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its row."""
        return " ".join([self.network, *(f"{key}={value}" for key, value in self.arguments.items())])


CANDIDATES = (
    Candidate("fastscnn"),
    Candidate("bisenetv2"),
    Candidate("regseg"),
    Candidate("ddrnet23slim"),
    Candidate("pidnet_s"),
    Candidate("lightfpn"),
    Candidate("lightfpn", {"finest": 4}),
    Candidate("lightfpn", {"backbone": "mobilenet_v3_large"}),
    Candidate("deeplabv3plus", {"backbone": "efficientnet_lite0"}),
    Candidate("deeplabv3plus", {"backbone": "mobilenet_v3_large"}),
)


def exported(candidate: Candidate, folder: Path, size: tuple[int, int]) -> Path:
    """Build a network and let the command turn it into an ONNX file of an input size.

    Raises:
        SegdeployError: The command failed; the message is its own.
    """
    height, width = size
    dataset = datasets.load("streets", None, "val")
    torch.manual_seed(0)
    network = models.build(candidate.network, len(dataset.classes), **candidate.arguments)
    # Norms that never saw a picture let the logits grow until rounding decides the labels, and the proof fails.
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 128, 128))
    stride = network.stride
    assert isinstance(stride, int)
    spec = InputSpec(height=height, width=width, mean=MEAN, std=STD, stride=stride)
    card = ModelCard(architecture=candidate.network, arguments=dict(candidate.arguments), classes=dataset.classes, input=spec)
    checkpoint, artifact = (folder / f"{candidate.name.replace(' ', '-')}{ending}" for ending in (".pt", ".onnx"))
    save_checkpoint(checkpoint, Checkpoint(card=card, weights=network.state_dict(), state={}))
    done = subprocess.run(  # noqa: S603 - this Python, and files of ours
        [sys.executable, "-P", "-m", "segdeploy", "export", str(checkpoint), "--dataset", "streets", "--proof-pictures", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = f"{candidate.name} cannot be exported: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        raise SegdeployError(msg)
    return artifact


def timed(artifacts: Mapping[str, Path], *, rounds: int, runs: int, threads: int | None) -> dict[str, Latency]:
    """Time files by turns, each round in a fresh process.

    Raises:
        SegdeployError: One of them failed.
    """
    parts: dict[str, list[Latency]] = {name: [] for name in artifacts}
    with progress("measuring", rounds * len(artifacts)) as step:
        for name in in_turns(list(artifacts), rounds):
            order = {"artifact": str(artifacts[name]), "threads": threads, "runs": runs, "warm_up": WARM_UP}
            found = apart("network_row", order)
            if isinstance(found, str):
                msg = f"{name} cannot be measured: {found}"
                raise SegdeployError(msg)
            parts[name].append(Latency.from_dict(found))
            step(name)
    return {name: Latency.joined(rows) for name, rows in parts.items()}


def in_markdown(costs: Mapping[str, Cost], latencies: Mapping[str, Latency]) -> str:
    """Write a table, the fastest first."""
    lines = ["| network | parameters | GFLOPs | median ms | 95% under ms |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, latency in sorted(latencies.items(), key=lambda item: item[1].median):
        cost = costs[name]
        figures = f"{cost.parameters / 1e6:.2f} M | {cost.gflops:.1f} | {latency.median:.1f} | {latency.percentile(95):.1f}"
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines)


@click.command()
@click.option("--imgsz", type=ImageSize(), default="360,480", show_default=True, help="Height,width of the networks' input.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Processes of each network.")
@click.option("--runs", default=30, show_default=True, type=click.IntRange(min=1), help="Timed runs in each.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the network.  [default: as many as there are cores]")
@click.option("--only", multiple=True, type=click.Choice([one.name for one in CANDIDATES]), help="Measure only this one; may be repeated.")
def main(imgsz: tuple[int, int], rounds: int, runs: int, threads: int | None, only: Sequence[str]) -> None:
    """Print parameters, GFLOPs and latency of each network, as a table in Markdown."""
    height, width = imgsz
    chosen = [candidate for candidate in CANDIDATES if not only or candidate.name in only]
    costs = {one.name: measure(one.network, classes=11, height=height, width=width, arguments=one.arguments) for one in chosen}
    with TemporaryDirectory(prefix="segdeploy-") as folder:
        with progress("exporting", len(chosen)) as step:
            artifacts = {}
            for candidate in chosen:
                artifacts[candidate.name] = exported(candidate, Path(folder), imgsz)
                step(candidate.name)
        latencies = timed(artifacts, rounds=rounds, runs=runs, threads=threads)
    machine = survey()
    click.echo(in_markdown(costs, latencies))
    click.echo(
        f"\n{height}x{width}, {machine.processor}, {threads or machine.cores} threads, ONNX Runtime {machine.versions['onnxruntime']}"
    )
    for name, latency in latencies.items():
        if latency.noise:
            click.echo(f"careful: {name}: {latency.noise}")


if __name__ == "__main__":
    main()
