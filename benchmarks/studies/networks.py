"""Latency of all networks, with random weights.

`python -m segdeploy.benchmarks.studies.networks`.

Weights do not change the time. Each network is exported to ONNX with its proof by `segdeploy
export`, and timed with ONNX Runtime from a batch to its output, in processes of its own, networks
taking turns. The step from logits to a mask is not timed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
import torch

from segdeploy import datasets, models
from segdeploy.backends.loading import load_backend
from segdeploy.card import InputSpec, ModelCard
from segdeploy.cli.console import echo, progress
from segdeploy.cli.main import invoke
from segdeploy.cli.options import ImageSize
from segdeploy.errors import SegdeployError
from segdeploy.models.checkpoint import Checkpoint, save_checkpoint
from segdeploy.models.complexity import Complexity, measure_complexity
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import describe_machine
from segdeploy.system.schema import convert

from ..measure.process import run_in_process
from ..measure.rounds import in_turns
from ..measure.subcommands import call
from ..results.latency import Latency, measure

SEED = 0
WARM_UP = 5
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


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
        return " ".join(
            [self.network, *(f"{key}={value}" for key, value in self.arguments.items())]
        )


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


def randomly_initialized(candidate: Candidate, folder: Path, size: tuple[int, int]) -> Path:
    """Build a network for Streets' classes with random weights, and write its checkpoint.

    Args:
        candidate: The network.
        folder: Folder of the file.
        size: Height and width of the network's input, in pixels.
    """
    height, width = size
    classes = datasets.load("streets", None, "val").classes
    torch.manual_seed(SEED)
    network = models.build(candidate.network, len(classes), **candidate.arguments)
    # Without statistics in the batch norms the logits grow until rounding decides the labels, and
    # the proof of the export fails.
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 128, 128))
    stride = network.stride
    assert isinstance(stride, int)
    card = ModelCard(
        architecture=candidate.network,
        arguments=dict(candidate.arguments),
        classes=classes,
        input=InputSpec(height=height, width=width, mean=MEAN, std=STD, stride=stride),
    )
    checkpoint = folder / f"{candidate.name.replace(' ', '-')}.pt"
    save_checkpoint(checkpoint, Checkpoint(card=card, weights=network.state_dict(), state={}))
    return checkpoint


def exported(candidate: Candidate, folder: Path, size: tuple[int, int]) -> Path:
    """Build a network, and export it to an ONNX file of an input size.

    Raises:
        SegdeployError: The export failed; the message is its own.
    """
    checkpoint = randomly_initialized(candidate, folder, size)
    call(["segdeploy", "export", str(checkpoint), "--dataset", "streets", "--proof-images", "2"])
    return checkpoint.with_suffix(".onnx")


def respond(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Time an artifact on a noise image; called by `run_in_process`.

    What an image shows does not change the time of a network.

    Args:
        request: `artifact`, a path; `threads`, None for one per core; `runs` and `warm_up`.
    """
    backend = load_backend(Path(request["artifact"]), device="cpu", threads=request["threads"])
    spec = backend.card.input
    shape = (1, spec.height, spec.width, 3)
    batch = np.random.default_rng(SEED).integers(0, 256, shape, dtype=np.uint8)
    return measure(
        lambda _: backend.run(batch), runs=request["runs"], warm_up=request["warm_up"]
    ).to_dict()


def time_networks(
    artifacts: Mapping[str, Path], *, rounds: int, runs: int, threads: int | None
) -> dict[str, Latency]:
    """Time files in turn, each round in a fresh process.

    Raises:
        SegdeployError: One of them failed.
    """
    parts: dict[str, list[Latency]] = {name: [] for name in artifacts}
    with progress("measuring", rounds * len(artifacts)) as step:
        for name in in_turns(list(artifacts), rounds):
            request = {
                "artifact": str(artifacts[name]),
                "threads": threads,
                "runs": runs,
                "warm_up": WARM_UP,
            }
            response = run_in_process("studies.networks:respond", request)
            if isinstance(response, str):
                msg = f"{name} cannot be measured: {response}"
                raise SegdeployError(msg)
            parts[name].append(convert(response, Latency, refuse=SegdeployError))
            step(name)
    return {name: Latency.joined(rounds_) for name, rounds_ in parts.items()}


def to_markdown(costs: Mapping[str, Complexity], latencies: Mapping[str, Latency]) -> str:
    """Return a table in Markdown, the fastest network first."""
    lines = [
        "| network | parameters | GFLOPs | median ms | p95 ms |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, latency in sorted(latencies.items(), key=lambda item: item[1].median):
        cost = costs[name]
        values = (
            f"{cost.parameters / 1e6:.2f} M | {cost.gflops:.1f} | {latency.median:.1f} |"
            f" {latency.percentile(95):.1f}"
        )
        lines.append(f"| {name} | {values} |")
    return "\n".join(lines)


def conditions(size: tuple[int, int], threads: int | None, latencies: Mapping[str, Latency]) -> str:
    """Return the input size and the machine of some times, and which of them are noisy."""
    machine = describe_machine()
    versions = ", ".join(
        f"{name} {machine.versions[name]}"
        for name in ("torch", "onnxruntime", "openvino")
        if name in machine.versions
    )
    height, width = size
    used = f"{threads or machine.cores} threads"
    lines = [f"\n{height}x{width}, {machine.kind}, {used}, {versions}"]
    lines += [
        f"warning: {name}: {latency.noise}" for name, latency in latencies.items() if latency.noise
    ]
    return "\n".join(lines)


F = TypeVar("F", bound=Callable[..., Any])


def timing_options(*, size: str, runs: int, unit: str) -> Callable[[F], F]:
    """Return a decorator that adds --imgsz, --rounds, --runs and --threads to a command.

    Args:
        size: Default of --imgsz, for example "360,480".
        runs: Default of --runs.
        unit: What a process measures, for example "network".
    """
    options = (
        click.option(
            "--imgsz",
            type=ImageSize(),
            default=size,
            show_default=True,
            help="Height,width of the networks' input.",
        ),
        click.option(
            "--rounds",
            default=3,
            show_default=True,
            type=click.IntRange(min=1),
            help=f"Processes of each {unit}.",
        ),
        click.option(
            "--runs",
            default=runs,
            show_default=True,
            type=click.IntRange(min=1),
            help="Timed runs in each.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="Threads of the network.  [default: one per core]",
        ),
    )

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.command()
@timing_options(size="360,480", runs=30, unit="network")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([candidate.name for candidate in CANDIDATES]),
    help="Measure only this one; may be repeated.",
)
def main(
    imgsz: tuple[int, int], rounds: int, runs: int, threads: int | None, only: Sequence[str]
) -> None:
    """Print parameters, GFLOPs and latency of each network, as a table in Markdown."""
    height, width = imgsz
    chosen = [candidate for candidate in CANDIDATES if not only or candidate.name in only]
    costs = {
        candidate.name: measure_complexity(
            candidate.network,
            classes=11,
            height=height,
            width=width,
            arguments=candidate.arguments,
        )
        for candidate in chosen
    }
    with temporary_folder() as folder:
        with progress("exporting", len(chosen)) as step:
            artifacts = {}
            for candidate in chosen:
                artifacts[candidate.name] = exported(candidate, folder, imgsz)
                step(candidate.name)
        latencies = time_networks(artifacts, rounds=rounds, runs=runs, threads=threads)
    echo(to_markdown(costs, latencies))
    echo(conditions(imgsz, threads, latencies))


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.networks")
