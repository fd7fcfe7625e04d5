"""`segdeploy run --every N`: fps, and mIoU on drawn streets, whose labels are known.

`python -m segdeploy.benchmarks.studies.carried street-int8 --weather sunny --weather night`.

The fps are medians of runs in fresh processes that take turns. The mIoU is of all frames of a
film, those of the network and those between; a film's frames are decoded from H.264.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median

import click

from segdeploy.arrays import Mask
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import load_backend
from segdeploy.cli.console import echo
from segdeploy.cli.main import invoke
from segdeploy.cli.options import Artifact
from segdeploy.datasets.synthetic.dataset import drive
from segdeploy.datasets.synthetic.lighting import WEATHERS
from segdeploy.imaging.overlay import MASK, Renderer
from segdeploy.metrics.scores import Scores
from segdeploy.metrics.segmentation import ConfusionMatrix
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import describe_machine
from segdeploy.video.frames import Outputs, SegmentedFrame
from segdeploy.video.motion import MotionCarrier, MotionCounts
from segdeploy.video.pipeline import VideoJob, segment_all
from segdeploy.video.reader import VideoSource
from segdeploy.video.run_options import Schedule
from segdeploy.video.synthetic_clip import render_clip

from ..measure.process import run_command
from ..measure.rounds import in_turns

RATE = Fraction(25)
SEED = 3


def render(path: Path, *, frames: int, size: tuple[int, int], weather: str) -> Path:
    """Render a drive through a street, and return its path."""
    render_clip(
        path,
        seed=SEED,
        frames=frames,
        height=size[0],
        width=size[1],
        rate=RATE,
        weather=weather,
        overlay=None,
        on_step=lambda _: None,
    )
    return path


def score(
    backend: Backend, video: Path, labels: Sequence[Mask], every: int
) -> tuple[Scores, MotionCounts]:
    """Return the scores of all masks of a video, and how they came about."""
    card = backend.card
    matrix = ConfusionMatrix(len(card.classes))

    def add(result: SegmentedFrame) -> None:
        matrix.add(result.mask, labels[result.frame.index])

    carrier = MotionCarrier(every, card.input, live=False)
    with VideoSource(video) as source:
        job = VideoJob(
            source=source,
            backend=backend,
            outputs=nullcontext(Outputs(writers=(add,), paths=())),
            renderer=Renderer(card.classes, (MASK,)),
            schedule=Schedule(throughput=False),
            motion=carrier if every > 1 else None,
        )
        segment_all(job)
    return matrix.scores(), carrier.counts


def print_scores(
    backend: Backend, weather: str, folder: Path, *, every: Sequence[int], frames: int
) -> None:
    """Print the mIoU in a weather for each distance, and the classes that lose most."""
    size = 720, 1280
    video = render(folder / f"{weather}.mp4", frames=frames, size=size, weather=weather)
    drawn = drive(SEED, height=size[0], width=size[1], rate=RATE, weather=weather)
    labels = [sample.mask for sample in islice(drawn, frames)]
    base, _ = score(backend, video, labels, 1)
    echo(f"{weather}: mIoU {base.miou:.2%} with the network on every frame")
    names = [entry.name for entry in backend.card.classes]
    for number in every:
        found, counts = score(backend, video, labels, number)
        losses = sorted(
            (before - after, name)
            for name, before, after in zip(names, base.iou, found.iou, strict=True)
            if before is not None and after is not None
        )
        worst = ", ".join(f"{name} {-100 * loss:+.1f}" for loss, name in losses[:-3:-1])
        echo(
            f"  every {number}: {found.miou:.2%} ({100 * (found.miou - base.miou):+.2f} points;"
            f" {worst}); {counts.summary}"
        )


@dataclass(frozen=True, kw_only=True)
class RunTime:
    """Times of one run.

    Attributes:
        rate: Frames per second of wall time.
        busy: Milliseconds of processor time of a frame, which other load disturbs less.
    """

    rate: float
    busy: float


def time_runs(
    artifact: Path, video: Path, folder: Path, *, every: Sequence[int], rounds: int
) -> Mapping[int, list[RunTime]]:
    """Run over a video in fresh processes that take turns, and return the times by distance."""
    times: dict[int, list[RunTime]] = {number: [] for number in every}
    for name in in_turns([str(number) for number in every], rounds):
        command = ["run", str(video), "--model", str(artifact), "--every", name, "--json"]
        target = ["--output", str(folder / "run"), "--overwrite"]
        found = json.loads(run_command(["-m", "segdeploy", *command, *target]))
        busy = 1000 * found["busy"] / found["frames"]
        times[int(name)].append(RunTime(rate=found["rate"], busy=busy))
    return times


def print_times(name: str, times: Mapping[int, list[RunTime]]) -> None:
    """Print fps and processor time by distance, with their ratios to every frame."""
    for number, found in times.items():
        pairs = list(zip(found, times[1], strict=True))
        rate = median(one.rate / base.rate for one, base in pairs)
        busy = median(base.busy / one.busy for one, base in pairs)
        echo(
            f"{name} every {number}: {median(one.rate for one in found):.1f} fps, {rate:.2f} times;"
            f" {median(one.busy for one in found):.0f} ms of processor time a frame, {busy:.2f}"
            " times less"
        )


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=Artifact())
@click.option(
    "--every", "distances", multiple=True, type=click.IntRange(2, 10), help="[default: 2, 3, 5]"
)
@click.option("--weather", multiple=True, type=click.Choice(WEATHERS), help="Scored weathers.")
@click.option("--frames", default=61, show_default=True, help="Frames of a scored film.")
@click.option("--rounds", default=5, show_default=True, help="Timed runs; 0 for none.")
@click.option("--seconds", default=6.0, show_default=True, help="Length of the timed film, 1080p.")
def main(
    artifacts: Sequence[Path],
    *,
    distances: Sequence[int],
    weather: Sequence[str],
    frames: int,
    rounds: int,
    seconds: float,
) -> None:
    """Print fps of each of ARTIFACTS, and the mIoU of the first one, by --every."""
    distances = distances or (2, 3, 5)
    machine = describe_machine()
    echo(f"{machine.kind}, {machine.cores} cores")
    with temporary_folder() as folder:
        backend = load_backend(artifacts[0], device="cpu")
        for name in weather:
            print_scores(backend, name, folder, every=distances, frames=frames)
        if not rounds:
            return
        count = round(seconds * RATE)
        video = render(folder / "timed.mp4", frames=count, size=(1080, 1920), weather="overcast")
        for artifact in artifacts:
            times = time_runs(artifact, video, folder, every=(1, *distances), rounds=rounds)
            print_times(artifact.name, times)


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.carried")
