"""One video loop, in a process of its own: `segdeploy run` in one of its ways, or the loop of a peer.

Run as `python -m segdeploy.benchmarks.loops ORDER RESULT`.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from segdeploy.backends.loading import load_backend
from segdeploy.video.codecs import Encoding
from segdeploy.video.drawing import Drawing
from segdeploy.video.pace import Pace
from segdeploy.video.saving import video_outputs
from segdeploy.video.segment import segment_all
from segdeploy.video.sources import VideoSource

from .process import serve

PACES = {
    "run": Pace(),
    "latency": Pace(throughput=False),
    "serial": Pace(serial=True),
    # What the stages cost when nothing runs beside them: their processor time is the bound for all other ways.
    "alone": Pace(serial=True, threads=1),
}
PEERS = ("torch loop", "onnx loop")
LOOPS = (*PACES, *PEERS)


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
        wall: Seconds by the clock on the wall.
        busy: Seconds of processor time of the process.
    """

    frames: int
    wall: float
    busy: float

    @property
    def rate(self) -> float:
        """Frames a second by the clock on the wall."""
        return self.frames / self.wall


def run_loop(loop: Loop) -> Span:
    """Run one loop over the video; reading the network is not timed."""
    act = ready_ours(loop) if loop.name in PACES else ready_peer(loop)
    wall, busy = time.perf_counter(), time.process_time()
    frames = act()
    return Span(frames=frames, wall=time.perf_counter() - wall, busy=time.process_time() - busy)


def ready_ours(loop: Loop) -> Callable[[], int]:
    """Load the network for `segdeploy run`'s own way over a video."""
    pace = PACES[loop.name]
    pace.share_cores()
    backend = load_backend(
        Path(loop.artifact), device="cpu", threads=pace.network_threads, spinning=loop.name == "serial", callers=pace.workers
    )
    drawing = Drawing(backend.card.classes)

    def act() -> int:
        with VideoSource(Path(loop.video)) as source:
            outputs = video_outputs(source, Path(loop.folder), drawing=drawing, encoding=Encoding())
            return segment_all(source, outputs, backend=backend, drawing=drawing, serial=pace.serial, workers=pace.workers).times.frames

    return act


def ready_peer(loop: Loop) -> Callable[[], int]:
    """Load the network for a peer's loop."""
    # PyTorch takes seconds to import, and memory: only for whom it is needed.
    from . import peers

    artifact = Path(loop.artifact)
    answer = peers.torch_answer(Path(loop.checkpoint)) if loop.name == "torch loop" else peers.onnx_answer(artifact)
    return lambda: peers.show(Path(loop.video), Path(loop.folder) / "peer.mp4", artifact, answer)


def serve_loop(order: Mapping[str, str]) -> Mapping[str, float]:
    """Run what an order says."""
    span = run_loop(Loop(**order))
    return {"frames": span.frames, "wall": span.wall, "busy": span.busy}


if __name__ == "__main__":
    serve(serve_loop, sys.argv[1:])
