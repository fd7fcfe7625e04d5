"""How fast the networks that may run in real time are: `python -m segdeploy.benchmarks.networks`.

Each has random weights, which change no time, is exported to ONNX with its proof by the command itself, and is timed with
ONNX Runtime from a batch to logits, in processes of its own, in rounds by turns. Making masks of the logits is left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from segdeploy.commands.invoking import invoke
from segdeploy.commands.size import ImageSize
from segdeploy.console import progress
from segdeploy.errors import SegdeployError
from segdeploy.machine import survey
from segdeploy.models.cost import Cost, measure

from .latency import Latency
from .outside import call
from .process import apart
from .rounds import in_turns
from .settled import Candidate, settled

WARM_UP = 5


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
    checkpoint = settled(candidate, folder, size)
    call(["segdeploy", "export", str(checkpoint), "--dataset", "streets", "--proof-pictures", "2"])
    return checkpoint.with_suffix(".onnx")


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


def conditions(size: tuple[int, int], threads: int | None, latencies: Mapping[str, Latency]) -> str:
    """Say at which size and on which machine times were measured, and which of them are doubtful."""
    machine = survey()
    versions = ", ".join(f"{name} {machine.versions[name]}" for name in ("torch", "onnxruntime", "openvino") if name in machine.versions)
    lines = ["\n{}x{}, {}, {} threads, {}".format(*size, machine.kind, threads or machine.cores, versions)]
    return "\n".join([*lines, *(f"careful: {name}: {latency.noise}" for name, latency in latencies.items() if latency.noise)])


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
    click.echo(in_markdown(costs, latencies))
    click.echo(conditions(imgsz, threads, latencies))


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.networks")
