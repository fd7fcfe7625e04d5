"""`run` against the usual video loops.

Every figure comes from fresh processes that take turns; medians, and the median of the rounds'
ratios, are printed. The clip is a drawn street in 1920x1080; nothing but the loops themselves, from
a loaded network to a closed file, is timed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from segdeploy.backends.loading import load_backend
from segdeploy.cli.main import invoke
from segdeploy.errors import SegdeployError
from segdeploy.imaging.io import write_image
from segdeploy.imaging.overlay import Renderer
from segdeploy.system.machine import BLAS_THREADS, cores
from segdeploy.video.codecs import Encoding
from segdeploy.video.outputs import video_outputs
from segdeploy.video.pipeline import VideoJob, segment_all
from segdeploy.video.reader import VideoSource
from segdeploy.video.schedule import Schedule
from segdeploy.video.synthetic_clip import render_clip

from ..measure.process import run_in_process
from ..measure.rounds import in_turns

SCHEDULES = {
    "run": Schedule(),
    "latency": Schedule(throughput=False),
    "serial": Schedule(serial=True),
    # What the stages cost when nothing runs beside them: their processor time is the bound for all
    # other ways.
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
        folder: Where the overlay video goes.
    """

    name: str
    artifact: str
    checkpoint: str
    video: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class Span:
    """What a loop took, from a loaded network to a closed file.

    Attributes:
        frames: How many frames were written.
        wall: Seconds (wall time).
        busy: Seconds of processor time of the process.
    """

    frames: int
    wall: float
    busy: float

    @property
    def rate(self) -> float:
        """Frames a second (wall time)."""
        return self.frames / self.wall


def run_loop(loop: Loop) -> Span:
    """Run one loop over the video; reading the network is not timed."""
    act = ready_ours(loop) if loop.name in SCHEDULES else ready_peer(loop)
    wall, busy = time.perf_counter(), time.process_time()
    frames = act()
    return Span(frames=frames, wall=time.perf_counter() - wall, busy=time.process_time() - busy)


def ready_ours(loop: Loop) -> Callable[[], int]:
    """Load the network for `segdeploy run`'s own way over a video."""
    schedule = SCHEDULES[loop.name]
    schedule.share_cores()
    backend = load_backend(
        Path(loop.artifact),
        device="cpu",
        threads=schedule.network_threads,
        spinning=loop.name == "serial",
        callers=schedule.workers,
    )
    drawing = Renderer(backend.card.classes)

    def act() -> int:
        with VideoSource(Path(loop.video)) as source:
            outputs = video_outputs(source, Path(loop.folder), drawing=drawing, encoding=Encoding())
            job = VideoJob(
                source=source, backend=backend, outputs=outputs, drawing=drawing, schedule=schedule
            )
            return segment_all(job).times.frames

    return act


def ready_peer(loop: Loop) -> Callable[[], int]:
    """Load the network for a peer's loop."""
    # PyTorch takes seconds to import, and memory: only for whom it is needed.
    from ..measure import peer_loops as peers

    artifact = Path(loop.artifact)
    answer = (
        peers.torch_answer(Path(loop.checkpoint))
        if loop.name == "torch loop"
        else peers.onnx_answer(artifact)
    )
    return lambda: peers.show(Path(loop.video), Path(loop.folder) / "peer.mp4", artifact, answer)


def serve_loop(order: Mapping[str, str]) -> Mapping[str, float]:
    """Run what an order says."""
    span = run_loop(Loop(**order))
    return {"frames": span.frames, "wall": span.wall, "busy": span.busy}


HEIGHT, WIDTH, RATE = 1080, 1920, Fraction(25)

BARE = """
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


def asked(module: str, order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Have an order done in a fresh process.

    Raises:
        SegdeployError: It failed.
    """
    found = run_in_process(module, order)
    if isinstance(found, str):
        raise SegdeployError(found)
    return found


def run_loops(
    artifact: Path, checkpoint: Path, video: Path, folder: Path, *, rounds: int
) -> Mapping[str, list[Span]]:
    """Run all loops by turns, and give what each round took."""
    spans: dict[str, list[Span]] = {name: [] for name in LOOPS}
    for name in in_turns(LOOPS, rounds):
        loop = Loop(
            name=name,
            artifact=str(artifact),
            checkpoint=str(checkpoint),
            video=str(video),
            folder=str(folder),
        )
        spans[name].append(Span(**asked("studies.video_loops:serve_loop", asdict(loop))))
        click.echo(f"  {name}: {spans[name][-1].rate:.2f} fps", err=True)
    return spans


def show_loops(spans: Mapping[str, list[Span]]) -> None:
    """Print the rates, their ratios to ours, and our share of what the stages' processor time allows."""
    ours = spans["run"]
    for name, others in spans.items():
        ratio = median(one.rate / other.rate for one, other in zip(ours, others, strict=True))
        click.echo(
            f"{name:12} {median(span.rate for span in others):7.2f} fps; run is {ratio:.2f} times"
            " as fast"
        )
    bounds = [cores() * span.frames / span.busy for span in spans["alone"]]
    share = median(one.rate / bound for one, bound in zip(ours, bounds, strict=True))
    click.echo(
        f"the stages' processor time allows {median(bounds):.2f} fps on {cores()} cores; run"
        f" reaches {share:.2f} of it"
    )


def start_times(artifact: Path, picture: Path, folder: Path, *, rounds: int) -> tuple[float, float]:
    """Time, by turns, `segdeploy run` on one image and a bare script, from nothing to a mask in a file; medians in seconds."""
    ours = [
        "-m",
        "segdeploy",
        "run",
        "--model",
        str(artifact),
        "--image",
        str(picture),
        "--save",
        "mask",
        "--output",
        str(folder / "start"),
    ]
    bare = ["-c", BARE, str(picture), str(artifact), str(folder / "bare.png")]
    spans: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for arguments, taken in zip((ours, bare), spans, strict=True):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-P", *arguments],
                check=True,
                capture_output=True,
                env={**BLAS_THREADS, **os.environ},
            )  # noqa: S603 - this Python
            taken.append(time.perf_counter() - start)
    return median(spans[0]), median(spans[1])


@click.command()
@click.argument("artifact", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--checkpoint",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The same network's.",
)
@click.option(
    "--video",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A clip.  [default: a street is drawn]",
)
@click.option("--seconds", default=6.0, show_default=True, help="Length of the drawn clip.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--frames",
    default=2000,
    show_default=True,
    type=click.IntRange(min=4),
    help="How many the memory is watched over.",
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
    """Measure the way of a video through a network, beside the loops that people write."""
    with TemporaryDirectory(prefix="segdeploy-") as name:
        folder = Path(name)
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
            picture = next(iter(source)).image
        write_image(folder / "picture.png", picture)
        order = {"artifact": str(artifact), "video": str(video), "frames": frames}
        show_loops(run_loops(artifact, checkpoint, video, folder, rounds=rounds))
        drawn = [
            asked("studies.overhead:serve_moment", {**order, "moment": "drawing"})
            for _ in range(rounds)
        ]
        labels, overlay, naive = (
            median(one[key] for one in drawn) for key in ("labels", "overlay", "numpy overlay")
        )
        click.echo(
            f"labels {labels:.2f} ms and overlay {overlay:.2f} ms: {labels + overlay:.2f} ms a"
            f" frame; numpy's overlay {naive:.2f} ms"
        )
        singles = [
            asked("studies.overhead:serve_moment", {**order, "moment": "picture"})
            for _ in range(rounds)
        ]
        beside, fitted = (
            median(one[size] / one["network"] for one in singles) - 1
            for size in ("whole", "fitted")
        )
        own = f"one image: the network {median(one['network'] for one in singles):.2f} ms"
        click.echo(
            f"{own}, everything else {beside:+.1%} at the video's size, {fitted:+.1%} at the"
            " network's own"
        )
        started, bare = start_times(artifact, folder / "picture.png", folder, rounds=max(5, rounds))
        click.echo(
            f"one image from nothing: {started:.2f} s, a bare script {bare:.2f} s:"
            f" {started / bare:.2f} times"
        )
        grown = asked("studies.overhead:serve_moment", {**order, "moment": "memory"})
        click.echo(
            f"memory: {grown['growth']:+.1f} MB from frame {grown['first']} to {grown['frames']},"
            f" {grown['held']:.0f} MB held at most"
        )


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.video_loops")
