"""Measuring for `tune`: processes are asked once, and an interrupted search remembers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdeploy.benchmarks.tuning.bench import FRAMES, MASKS, Accuracy, Journal, MachineBench
from segdeploy.benchmarks.tuning.space import Configuration, Trial
from segdeploy.errors import ConfigError, SegdeployError
from segdeploy.imaging.io import write_image

REQUEST = {"model": "abc", "input": "film.mp4"}
PLAIN = Configuration(file="int8", throughput=True, threads=2)


class FakeProcess:
    """Answers trials, and writes masks of which those of the reference are zero."""

    def __init__(self) -> None:
        self.requests: list[Mapping[str, Any]] = []

    def __call__(self, function: str, request: Mapping[str, Any]) -> Mapping[str, Any] | str:
        assert function == "tuning.trial:respond"
        self.requests.append(request)
        if request["artifact"] == "broken.onnx":
            return "it does not load"
        if request["masks"]:
            mask = np.zeros((10, 20), np.uint8)
            mask[: 0 if request["artifact"] == "best.pt" else request["every"]] = 1
            for number in range(2):
                write_image(Path(request["masks"]) / f"{number}.png", mask)
            return {"masks": 2}
        return {"fps": 10.0 + len(self.requests), "latency": 5.0, "memory": 100}


def make_bench(
    folder: Path,
    process: FakeProcess,
    *,
    dataset: Sequence[str] | None = None,
    seconds: Sequence[float] = (),
) -> MachineBench:
    (folder / "masks").mkdir(exist_ok=True)
    clock = iter(seconds)

    def run(arguments: Sequence[str]) -> str:
        miou = {"best.pt": 0.75, "int8.onnx": 0.746}[arguments[2]]
        return f'{{"scores": {{"miou": {miou}}}}}'

    return MachineBench(
        paths={"int8": Path("int8.onnx"), "broken": Path("broken.onnx")},
        accuracy=Accuracy(reference=Path("best.pt"), dataset=dataset),
        video=Path("film.mp4"),
        images=(),
        device="cpu",
        trust=False,
        folder=folder / "masks",
        journal=Journal(folder / "trials.jsonl", REQUEST),
        seconds=60,
        clock=(lambda: next(clock)) if seconds else (lambda: 0.0),
        process=process,
        run=run,
    )


def test_a_trial_asks_for_its_units_of_work(tmp_path: Path) -> None:
    """A process of its own gets every setting."""
    process = FakeProcess()
    configuration = Configuration(
        file="int8", throughput=False, threads=1, batch=2, every=3, preset="fast"
    )

    trial = make_bench(tmp_path, process).measure(configuration, 4)

    assert trial == Trial(fps=11.0, latency=5.0, memory=100)
    (request,) = process.requests
    assert request["frames"] == 4 * FRAMES
    assert [request[key] for key in ("throughput", "threads", "batch", "every", "preset")] == [
        False,
        1,
        2,
        3,
        "fast",
    ]


def test_an_interrupted_search_does_not_measure_again(tmp_path: Path) -> None:
    """Also where a line was cut off when it was killed; rounds beyond those kept are measured."""
    first = FakeProcess()
    bench = make_bench(tmp_path, first)
    measured = [bench.measure(PLAIN, 1), bench.measure(PLAIN, 1)]
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"key": "int8, thr')

    second = FakeProcess()
    resumed = make_bench(tmp_path, second)

    assert [resumed.measure(PLAIN, 1), resumed.measure(PLAIN, 1)] == measured
    assert second.requests == []
    resumed.measure(PLAIN, 1)
    assert len(second.requests) == 1


def test_another_search_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Its trials are of another film or machine."""
    make_bench(tmp_path, FakeProcess())

    with pytest.raises(ConfigError, match="holds another search"):
        Journal(tmp_path / "trials.jsonl", {**REQUEST, "input": "other.mp4"})


def test_agreement_counts_pixels_with_the_label_of_the_reference(tmp_path: Path) -> None:
    """One of 10 rows differs, or two with outputs that are carried; the reference runs once."""
    process = FakeProcess()
    bench = make_bench(tmp_path, process)

    assert bench.loss(PLAIN) == pytest.approx(10.0)
    carried = Configuration(file="int8", throughput=True, threads=2, every=2)
    assert bench.loss(carried) == pytest.approx(20.0)

    assert [request["artifact"] for request in process.requests].count("best.pt") == 1
    assert {request["frames"] for request in process.requests} == {MASKS}


def test_points_of_miou_are_lost_against_the_reference(tmp_path: Path) -> None:
    """75.0% and 74.6% on the labeled images."""
    bench = make_bench(tmp_path, FakeProcess(), dataset=["--dataset", "streets"])

    assert bench.loss(PLAIN) == pytest.approx(0.4)


def test_a_process_that_fails_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """The search leaves the file out."""
    bench = make_bench(tmp_path, FakeProcess())

    with pytest.raises(SegdeployError, match="it does not load"):
        bench.measure(Configuration(file="broken", throughput=True, threads=2), 1)


def test_time_that_is_left(tmp_path: Path) -> None:
    """As a share of the minutes, never below zero."""
    bench = make_bench(tmp_path, FakeProcess(), seconds=(100.0, 115.0, 190.0))

    assert bench.left() == pytest.approx(0.75)
    assert bench.left() == 0
