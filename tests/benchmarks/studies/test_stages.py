"""Processor time by stage: what is measured, and what the sums say."""

from fractions import Fraction
from pathlib import Path

from segdeploy.backends.loading import load_backend
from segdeploy.benchmarks.studies.stages import (
    CONVERT,
    ENCODE,
    stages_of,
    time_stages,
    to_table,
)
from segdeploy.video.codecs import Encoding
from segdeploy.video.reader import VideoSource
from tests.helpers.clips import gray_frames, write_clip

BY_DEFAULT = f"{ENCODE}, default"


def test_the_fastest_pass_counts_and_encoding_is_without_the_conversion() -> None:
    """Two frames: drawing takes 8 and then 6 s, converting 2 and 2 s, both with encoding 12 s."""
    now = 0.0
    seconds = {"draw": [8.0, 6.0], CONVERT: [2.0, 2.0], BY_DEFAULT: [12.0, 14.0]}

    def pass_of(name: str) -> None:
        nonlocal now
        now += seconds[name].pop(0)

    times = time_stages(
        {name: lambda name=name: pass_of(name) for name in seconds},
        frames=2,
        rounds=2,
        clock=lambda: now,
    )

    assert times == {"draw": 3000.0, CONVERT: 1000.0, BY_DEFAULT: 5000.0}


def test_every_way_to_encode_has_a_sum() -> None:
    """Of 10, 5 and 5 ms: 20 ms, by which two cores reach 100 fps."""
    table = to_table({"draw": 10.0, CONVERT: 5.0, BY_DEFAULT: 5.0, f"{ENCODE}, x": 25.0}, count=2)

    assert table.splitlines()[-2:] == [
        "| all, encode, default | 20.0: at most 100.0 fps on 2 cores |",
        "| all, encode, x | 40.0: at most 50.0 fps on 2 cores |",
    ]


def test_stages_run_over_a_clip(artifacts: Path, tmp_path: Path) -> None:
    """From the file to an overlay video with every frame."""
    clip = tmp_path / "clip.mp4"
    write_clip(clip, gray_frames(3, height=60, width=80, step=10), rate=15)

    stages = stages_of(
        load_backend(artifacts / "best.onnx", device="cpu", threads=1),
        clip,
        count=3,
        folder=tmp_path,
        encodings={"default": Encoding()},
    )
    times = time_stages(stages, frames=3, rounds=1)

    assert list(times) == ["decode", "prepare", "network", "labels", "draw", CONVERT, BY_DEFAULT]
    assert all(times[name] > 0 for name in ("decode", "network", BY_DEFAULT))
    with VideoSource(tmp_path / "0.mp4") as source:
        assert source.rate == Fraction(25)
        assert len(list(source)) == 3
