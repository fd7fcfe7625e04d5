"""`segdeploy run` against plain video loops.

`python -m segdeploy.benchmarks.studies.video_loops best.onnx --checkpoint best.pt`.

Every value comes from fresh processes that take turns; printed are medians, and the median of the
rounds' ratios. The clip is a drawn street in 1920x1080. Only the loops are timed, from a loaded
network to a closed file.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import click

from segdeploy.backends.loading import load_backend
from segdeploy.cli.console import echo
from segdeploy.cli.main import invoke
from segdeploy.errors import SegdeployError
from segdeploy.imaging.io import write_image
from segdeploy.imaging.overlay import Renderer
from segdeploy.system.concurrency import PYTHON
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import BLAS_THREADS, cores
from segdeploy.system.schema import convert
from segdeploy.video.codecs import Encoding
from segdeploy.video.outputs import video_outputs
from segdeploy.video.pipeline import VideoJob, segment_all
from segdeploy.video.reader import VideoSource
from segdeploy.video.run_options import Schedule
from segdeploy.video.synthetic_clip import render_clip

from ..measure.process import run_in_process
from ..measure.rounds import in_turns
from .overhead import run_measurement

SCHEDULES = {
    "run": Schedule(),
    "latency": Schedule(throughput=False),
    "serial": Schedule(serial=True),
    # What the stages cost when nothing runs beside them: their processor time bounds the fps of
    # every schedule.
    "alone": Schedule(serial=True, threads=1),
}
PEERS = ("torch loop", "onnx loop")
LOOPS = (*SCHEDULES, *PEERS)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What to run.

    Attributes:
        name: One of `LOOPS`.
        artifact: The ONNX file.
        checkpoint: The same network's checkpoint.
        video: The video.
        folder: Folder of the overlay video.
    """

    name: str
    artifact: str
    checkpoint: str
    video: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class LoopTime:
    """Time of a loop, from a loaded network to a closed file.

    Attributes:
        frames: Number of written frames.
        wall: Seconds of wall time.
        busy: Seconds of processor time of the process.
    """

    frames: int
    wall: float
    busy: float

    @property
    def rate(self) -> float:
        """Frames per second of wall time."""
        return self.frames / self.wall


def respond(request: Mapping[str, str]) -> Mapping[str, Any]:
    """Run the loop that a request describes; called by `run_in_process`."""
    return asdict(run_loop(Loop(**request)))


def run_loop(loop: Loop) -> LoopTime:
    """Run one loop over the video; loading the network is not timed."""
    run = load_schedule(loop) if loop.name in SCHEDULES else load_peer_loop(loop)
    wall, busy = time.perf_counter(), time.process_time()
    frames = run()
    return LoopTime(frames=frames, wall=time.perf_counter() - wall, busy=time.process_time() - busy)


def load_schedule(loop: Loop) -> Callable[[], int]:
    """Load the network for the pipeline of `segdeploy run`, and return what runs it."""
    schedule = SCHEDULES[loop.name]
    schedule.share_cores()
    backend = load_backend(
        Path(loop.artifact),
        device="cpu",
        threads=schedule.network_threads,
        spinning=loop.name == "serial",
        callers=schedule.workers,
    )
    renderer = Renderer(backend.card.classes)

    def run() -> int:
        with VideoSource(Path(loop.video)) as source:
            outputs = video_outputs(
                source, Path(loop.folder), renderer=renderer, encoding=Encoding()
            )
            job = VideoJob(
                source=source,
                backend=backend,
                outputs=outputs,
                renderer=renderer,
                schedule=schedule,
            )
            return segment_all(job).times.frames

    return run


def load_peer_loop(loop: Loop) -> Callable[[], int]:
    """Load the network for a peer's loop, and return what runs it."""
    # It may import PyTorch, whose memory must not count for the other loops.
    from ..measure.peer_loops import onnx_session, run_over_video, torch_eager

    artifact, target = Path(loop.artifact), Path(loop.folder) / "peer.mp4"
    is_torch = loop.name == "torch loop"
    segment = torch_eager(Path(loop.checkpoint)) if is_torch else onnx_session(artifact)
    return lambda: run_over_video(Path(loop.video), target, artifact, segment)


def time_loops(
    artifact: Path, checkpoint: Path, video: Path, folder: Path, *, rounds: int
) -> Mapping[str, list[LoopTime]]:
    """Run all loops in turn, each in a fresh process, and return the time of each round.

    Raises:
        SegdeployError: One of them failed.
    """
    times: dict[str, list[LoopTime]] = {name: [] for name in LOOPS}
    for name in in_turns(LOOPS, rounds):
        loop = Loop(
            name=name,
            artifact=str(artifact),
            checkpoint=str(checkpoint),
            video=str(video),
            folder=str(folder),
        )
        response = run_in_process("studies.video_loops:respond", asdict(loop))
        if isinstance(response, str):
            raise SegdeployError(response)
        times[name].append(convert(response, LoopTime, refuse=SegdeployError))
        echo(f"  {name}: {times[name][-1].rate:.2f} fps", err=True)
    return times


def print_loops(times: Mapping[str, list[LoopTime]]) -> None:
    """Print fps, their ratios to `run`, and the share of what the stages' processor time allows."""
    ours = times["run"]
    for name, others in times.items():
        ratio = median(own.rate / other.rate for own, other in zip(ours, others, strict=True))
        echo(
            f"{name:12} {median(other.rate for other in others):7.2f} fps; run is {ratio:.2f} times"
            " as fast"
        )
    bounds = [cores() * found.frames / found.busy for found in times["alone"]]
    share = median(own.rate / bound for own, bound in zip(ours, bounds, strict=True))
    echo(
        f"the stages' processor time allows {median(bounds):.2f} fps on {cores()} cores; run"
        f" reaches {share:.2f} of it"
    )


def print_overhead(artifact: Path, video: Path, *, rounds: int, frames: int) -> None:
    """Print the time of drawing, what one image costs beside the network, and memory growth."""
    request = {"artifact": str(artifact), "video": str(video), "frames": frames}
    drawn = [run_measurement("drawing", request) for _ in range(rounds)]
    labels, overlay, plain = (
        median(values[name] for values in drawn) for name in ("labels", "overlay", "numpy overlay")
    )
    echo(
        f"labels {labels:.2f} ms and overlay {overlay:.2f} ms: {labels + overlay:.2f} ms a frame;"
        f" numpy's overlay {plain:.2f} ms"
    )
    single = [run_measurement("image", request) for _ in range(rounds)]
    network = median(values["network"] for values in single)
    whole, fitted = (
        median(values[size] / values["network"] for values in single) - 1
        for size in ("whole", "fitted")
    )
    echo(
        f"one image: the network {network:.2f} ms, everything else {whole:+.1%} at the video's"
        f" size, {fitted:+.1%} at the network's own"
    )
    memory = run_measurement("memory", request)
    echo(
        f"memory: {memory['growth']:+.1f} MB from frame {memory['first']} to {memory['frames']},"
        f" {memory['held']:.0f} MB held at most"
    )


HEIGHT, WIDTH, RATE = 1080, 1920, Fraction(25)
"""Size in pixels and rate of the drawn clip."""

SHORTEST = """
import sys
import cv2
import numpy as np
import onnxruntime
image = cv2.imread(sys.argv[1])
session = onnxruntime.InferenceSession(sys.argv[2])
_, height, width, _ = session.get_inputs()[0].shape
batch = cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB)[None]
mask = session.run(None, {"image": np.ascontiguousarray(batch)})[0][0].argmax(0).astype(np.uint8)
cv2.imwrite(sys.argv[3], mask)
"""
"""The shortest script from an image to a mask in a file."""


def print_start(artifact: Path, image: Path, folder: Path, *, rounds: int) -> None:
    """Print the time from process start to a mask: `segdeploy run` and the shortest script.

    They take turns; the medians are printed.
    """
    run = ["-m", "segdeploy", "run", "--model", str(artifact), "--image", str(image)]
    commands = {
        "run": [*run, "--save", "mask", "--output", str(folder / "start")],
        "script": ["-c", SHORTEST, str(image), str(artifact), str(folder / "script.png")],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run(  # noqa: S603 - this Python, and arguments of ours
                [*PYTHON, *arguments],
                check=True,
                capture_output=True,
                env={**BLAS_THREADS, **os.environ},
            )
            times[name].append(time.perf_counter() - start)
    ours, script = median(times["run"]), median(times["script"])
    echo(
        f"one image from nothing: {ours:.2f} s, the shortest script {script:.2f} s:"
        f" {ours / script:.2f} times"
    )


@click.command()
@click.argument("artifact", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--checkpoint",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Checkpoint of the same network.",
)
@click.option(
    "--video",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A clip.  [default: a street is drawn]",
)
@click.option("--seconds", default=6.0, show_default=True, help="Length of the drawn clip.")
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes of each loop.",
)
@click.option(
    "--frames",
    default=2000,
    show_default=True,
    type=click.IntRange(min=4),
    help="Frames of the memory measurement.",
)
def main(
    artifact: Path,
    checkpoint: Path,
    *,
    video: Path | None,
    seconds: float,
    rounds: int,
    frames: int,
) -> None:
    """Measure a video through ARTIFACT, an ONNX file, beside plain loops."""
    with temporary_folder() as folder:
        if video is None:
            video = folder / "street.mp4"
            render_clip(
                video,
                seed=3,
                frames=round(seconds * RATE),
                height=HEIGHT,
                width=WIDTH,
                rate=RATE,
                overlay=None,
                on_step=lambda _: None,
            )
        with VideoSource(video) as source:
            write_image(folder / "image.png", next(iter(source)).image)
        print_loops(time_loops(artifact, checkpoint, video, folder, rounds=rounds))
        print_overhead(artifact, video, rounds=rounds, frames=frames)
        print_start(artifact, folder / "image.png", folder, rounds=max(5, rounds))


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.video_loops")
