"""Rows in rounds by turns, their masks judged, and put together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segdeploy import datasets
from segdeploy.backends.base import Batch, Logits
from segdeploy.benchmarks.accuracy import judge
from segdeploy.benchmarks.comparison import Plan, compare, row_names
from segdeploy.benchmarks.film import Film
from segdeploy.benchmarks.latency import Latency
from segdeploy.benchmarks.rounds import Workers, in_turns, measure_all
from segdeploy.benchmarks.row import Round, Task, answer_name, chosen, measure_round, write_answers
from segdeploy.card import InputSpec, ModelCard
from segdeploy.datasets.sample import Dataset
from segdeploy.errors import ConfigError
from segdeploy.pictures import write_picture
from segdeploy.scores import Mask
from segdeploy.video.times import StageTime, StageTimes

ROAD, CAR, VOID = 3, 8, 255
WAIT = StageTime(p50=0.01, p95=0.02, total=1.0)
TIMES = StageTimes(frames=100, wall=2.0, decode=WAIT, prepare=WAIT, infer=WAIT, mask=WAIT, draw=WAIT, encode=WAIT)


class Road:
    """A backend that sees nothing but road."""

    device = "fake cpu"

    def __init__(self, dataset: Dataset) -> None:
        spec = InputSpec(height=12, width=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        self.card = ModelCard(architecture="fake", classes=dataset.classes, input=spec)

    def run(self, batch: Batch) -> Logits:
        logits = np.zeros((len(batch), 11, 6, 8), np.float32)
        logits[:, ROAD] = 1
        return logits


def task(**changes: object) -> Task:
    values = {
        "artifact": "a.onnx", "backend": "auto", "device": "auto", "threads": 2, "dataset": "camvid", "data": None, "split": "val",
        "pictures": None, "runs": 2, "warm_up": 1, "answers": None, "started": 0.0,
    }  # fmt: skip
    return Task(**{**values, **changes})


def round_of(milliseconds: float, peak: int | None = 1000) -> Round:
    latency = Latency(rounds=((milliseconds, milliseconds),))
    return Round(
        architecture="fake", precision="fp32", input=(12, 16), device="fake cpu", threads=2,
        cold_start=10 * milliseconds, latency=latency, network=latency, peak_memory=peak,
    )  # fmt: skip


def plan(artifacts: list[Path], data: Path, **changes: object) -> Plan:
    values = {
        "artifacts": tuple(artifacts), "backend": "auto", "device": "auto", "threads": 2, "dataset": "camvid", "data": data,
        "split": "val", "pictures": None, "runs": 2, "warm_up": 1, "rounds": 2, "video": None,
    }  # fmt: skip
    return Plan(**{**values, **changes})


def files(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_bytes(b"12345")
    return [folder / name for name in names]


def answering(dataset: Dataset, answer: Callable[[str, Mask], Mask]) -> Callable[[Task], Round | str]:
    """A worker that writes `answer(artifact, truth)` as its masks, and fails on what is called broken."""

    def once(order: Task) -> Round | str:
        name = Path(order.artifact).name
        if name.startswith("broken"):
            return "it is broken"
        if order.answers is not None:
            for index in range(len(dataset)):
                write_picture(Path(order.answers) / answer_name(index), answer(name, dataset[index].mask))
        return round_of(20.0 if name.endswith(".pt") else 5.0)

    return once


def roads(name: str, truth: Mask) -> Mask:
    return np.full_like(truth, ROAD)


def test_rounds_go_there_and_back() -> None:
    """A machine that slows down steadily slows all rows by the same."""
    assert in_turns(["a", "b", "c"], 3) == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]


def test_row_that_failed_is_left_out_of_later_rounds() -> None:
    """The others are measured to the end, and only first rounds write masks."""
    seen: list[tuple[str, str | None]] = []

    def once(order: Task) -> Round | str:
        seen.append((order.artifact, order.answers))
        return "no such provider" if order.artifact == "b" else round_of(1.0)

    told: list[str] = []
    tasks = {name: task(artifact=name, answers=f"masks-{name}") for name in "ab"}
    outcomes = measure_all(tasks, rounds=2, once=once, on_round=told.append)

    assert seen == [("a", "masks-a"), ("b", "masks-b"), ("a", None)]
    assert outcomes["b"].error == "no such provider"
    assert len(outcomes["a"].rounds) == 2
    assert told == ["a", "b", "b", "a"]


@pytest.mark.parametrize(("count", "pictures", "indices"), [(3, None, [0, 1, 2]), (10, 4, [0, 2, 5, 7]), (2, 9, [0, 1]), (0, None, [])])
def test_pictures_are_chosen_over_the_whole_split(count: int, pictures: int | None, indices: list[int]) -> None:
    """The first ones of a drive look all the same."""
    assert list(chosen(count, pictures)) == indices


def test_round_times_each_part_with_one_clock(tiny_camvid: Path) -> None:
    """Under a clock that ticks once a call every timed run takes one tick, whatever it does."""
    ticks = iter(range(100))
    dataset = datasets.load("camvid", tiny_camvid, "val")

    # Reading takes from tick 0 to 1, and the first mask is there at tick 2: of 2 s since the start, 1 s was reading.
    found = measure_round(Road(dataset), dataset, task(), clock=lambda: float(next(ticks)))

    assert found.cold_start == 1000.0
    assert found.latency.runs == found.network.runs == (1000.0, 1000.0)
    assert (found.device, found.threads, found.input) == ("fake cpu", 2, (12, 16))


def test_round_survives_json(tiny_camvid: Path) -> None:
    """It comes from another process."""
    found = round_of(3.0)

    assert Round.from_dict(found.to_dict()) == found


def test_answers_are_masks_of_the_pictures_own_size(tiny_camvid: Path, tmp_path: Path) -> None:
    """The network's size is 12x16 and the pictures' 24x32; scores are of the latter."""
    dataset = datasets.load("camvid", tiny_camvid, "val")
    write_answers(Road(dataset), dataset, tmp_path, pictures=2)

    found = judge({"road": tmp_path}, dataset, [0, 1], reference=None)

    truth = np.concatenate([dataset[index].mask for index in (0, 1)])
    scores, labels = found["road"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.png", "000001.png"]
    assert scores.pixel_accuracy == pytest.approx((truth == ROAD).sum() / (truth != VOID).sum())
    assert labels is None


def test_compares_with_the_first_checkpoint(tiny_camvid: Path, tmp_path: Path) -> None:
    """The reference answers the truth, the other road everywhere: what is road is the same."""
    dataset = datasets.load("camvid", tiny_camvid, "val")
    masks = [dataset[index].mask for index in range(3)]
    right = answering(
        dataset, lambda name, truth: np.where(truth == VOID, 0, truth).astype(np.uint8) if name.endswith(".pt") else roads(name, truth)
    )
    (tmp_path / "work").mkdir()

    report = compare(
        plan(files(tmp_path, "a.onnx", "b.pt"), tiny_camvid), tmp_path / "work",
        workers=Workers(once=right, show=lambda film: "not asked for"), on_step=lambda name: None,
    )  # fmt: skip

    (other, figures), (reference, base) = report.measured
    assert report.reference == reference.name == "b.pt"
    assert (other.name, other.size) == ("a.onnx", 5)
    assert base.scores.miou == 1.0
    assert base.labels is not None
    assert base.labels.overall == 1.0
    assert figures.labels is not None
    assert figures.labels.overall == pytest.approx(np.mean([mask == ROAD for mask in masks]))
    assert figures.latency.rounds == ((5.0, 5.0), (5.0, 5.0))
    assert figures.cold_start.runs == (50.0, 50.0)
    assert report.pictures == ("0", "1", "2")


def test_failed_row_carries_its_reason(tiny_camvid: Path, tmp_path: Path) -> None:
    """Even where it is the reference: the others keep their absolute figures."""
    dataset = datasets.load("camvid", tiny_camvid, "val")
    (tmp_path / "work").mkdir()

    report = compare(
        plan(files(tmp_path, "broken.pt", "a.onnx"), tiny_camvid), tmp_path / "work",
        workers=Workers(once=answering(dataset, roads), show=lambda film: "not asked for"), on_step=lambda name: None,
    )  # fmt: skip

    assert [(row.name, row.error) for row in report.failed] == [("broken.pt", "it is broken")]
    assert report.base is None
    ((row, figures),) = report.measured
    assert row.name == "a.onnx"
    assert figures.labels is None


def test_video_is_run_after_the_rounds(tiny_camvid: Path, tmp_path: Path) -> None:
    """A row that failed before is not run, and one that fails there fails."""
    dataset = datasets.load("camvid", tiny_camvid, "val")
    shown: list[str] = []

    def show(film: Film) -> StageTimes | str:
        shown.append(Path(film.artifact).name)
        return TIMES if film.artifact.endswith(".onnx") else "no frame fits"

    (tmp_path / "work").mkdir()
    report = compare(
        plan(files(tmp_path, "broken.pt", "a.onnx", "b.torchscript"), tiny_camvid, video=Path("clip.mp4")), tmp_path / "work",
        workers=Workers(once=answering(dataset, roads), show=show), on_step=lambda name: None,
    )  # fmt: skip

    assert shown == ["a.onnx", "b.torchscript"]
    assert [(row.name, row.error) for row in report.failed] == [("broken.pt", "it is broken"), ("b.torchscript", "no frame fits")]
    assert report.measured[0][1].video == TIMES


def test_names_tell_files_apart() -> None:
    """Two runs have a best.onnx each."""
    assert row_names([Path("x/best.onnx"), Path("y/best.onnx"), Path("best.pt")]) == ["x/best.onnx", "y/best.onnx", "best.pt"]


def test_file_that_is_named_twice_is_refused() -> None:
    """Two rows of one file would need names of their own."""
    with pytest.raises(ConfigError, match="named twice"):
        row_names([Path("a/best.pt"), Path("a/../a/best.pt")])
