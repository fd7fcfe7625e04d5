"""The peers' loops do the same work as ours, and ratios are worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from segdeploy.benchmarks.measure.peer_loops import onnx_session, overlay, torch_eager
from segdeploy.benchmarks.studies.overhead import RepeatedFrames, measure_memory
from segdeploy.benchmarks.studies.video_loops import LOOPS, Loop, LoopTime, print_loops, run_loop
from segdeploy.imaging.preprocess import to_batch
from segdeploy.inference.predictor import Predictor
from segdeploy.system.machine import cores
from segdeploy.video.reader import VideoSource
from segdeploy.video.synthetic_clip import render_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of 120x90."""
    from fractions import Fraction

    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    render_clip(
        path,
        seed=0,
        frames=6,
        height=90,
        width=120,
        rate=Fraction(25),
        overlay=None,
        on_step=lambda _: None,
    )
    return path


def test_peers_return_our_masks(artifacts: Path) -> None:
    """A loop with different masks cannot be compared."""
    from segdeploy.backends.loading import load_backend

    backend = load_backend(artifacts / "best.onnx")
    image = np.random.default_rng(0).integers(0, 256, (45, 60, 3), np.uint8)
    batch = to_batch([image], backend.card.input)

    ours = Predictor(backend).mask(image)

    for segment in (torch_eager(artifacts / "best.pt"), onnx_session(artifacts / "best.onnx")):
        assert np.mean(segment(batch, 45, 60) == ours) > 0.999


def test_peers_overlay_is_half_and_half() -> None:
    """(10, 20, 30) and (30, 40, 50) make (20, 30, 40)."""
    colors = np.array([[0, 0, 0], [30, 40, 50]], np.uint8)

    painted = overlay(np.full((2, 2, 3), (10, 20, 30), np.uint8), np.ones((2, 2), np.uint8), colors)

    assert painted[1, 1].tolist() == [20, 30, 40]


@pytest.mark.parametrize("name", LOOPS)
def test_every_loop_writes_all_frames(
    artifacts: Path, clip: Path, tmp_path: Path, name: str
) -> None:
    """A loop that left frames out would look fast."""
    loop = Loop(
        name=name,
        artifact=str(artifacts / "best.onnx"),
        checkpoint=str(artifacts / "best.pt"),
        video=str(clip),
        folder=str(tmp_path),
    )

    span = run_loop(loop)

    assert span.frames == 6
    assert span.wall > 0
    with VideoSource(next(tmp_path.glob("*.mp4"))) as source:
        assert len(list(source)) == 6


def test_memory_is_measured_over_all_frames(artifacts: Path, clip: Path) -> None:
    """Twelve frames from a clip of six."""
    found = measure_memory(
        {"artifact": str(artifacts / "best.onnx"), "video": str(clip), "frames": 12}
    )

    assert (found["frames"], found["first"]) == (12, 6)
    assert found["held"] > 10


def test_repeated_frames_have_increasing_times() -> None:
    """The encoder does not accept a timestamp twice."""
    images = [np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8)]

    frames = list(RepeatedFrames(images, 5))

    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 0, 1, 0]


def test_ratios_are_medians_of_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours 10, 20, 30 fps against 5, 5, 5.

    2, 4, 6 times, so 4. Alone 1 s of a core for 30 frames: 30 fps a core.
    """
    spans = {name: [LoopTime(frames=10, wall=2.0, busy=1.0)] * 3 for name in LOOPS}
    spans["run"] = [LoopTime(frames=30, wall=wall, busy=1.0) for wall in (3.0, 1.5, 1.0)]
    spans["alone"] = [LoopTime(frames=30, wall=1.0, busy=1.0)] * 3

    print_loops(spans)

    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].split()[-6:] == ["run", "is", "4.00", "times", "as", "fast"]
    assert lines[-1].startswith(f"the stages' processor time allows {30 * cores():.2f} fps")
    assert lines[-1].endswith(f"run reaches {20 / (30 * cores()):.2f} of it")
