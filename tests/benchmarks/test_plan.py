"""Rows measured in alternating rounds, their masks scored, and put into a report."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from segdeploy import datasets
from segdeploy.arrays import Batch, Logits, Mask
from segdeploy.benchmarks.measure.accuracy import score_masks
from segdeploy.benchmarks.measure.energy import Meter
from segdeploy.benchmarks.measure.rounds import (
    MOST,
    Outcome,
    Workers,
    in_turns,
    measure_all,
    repeat_until_stable,
)
from segdeploy.benchmarks.measure.video_worker import VideoTask
from segdeploy.benchmarks.measure.worker import (
    Task,
    batches,
    image_indices,
    mask_name,
    measure_round,
    write_masks,
)
from segdeploy.benchmarks.plan import Plan, artifact_names, reference_of, run_plan, variants_of
from segdeploy.benchmarks.results.latency import Latency
from segdeploy.benchmarks.results.row import Round, Setting, Video
from segdeploy.benchmarks.results.variant import SystemUnderTest, Variant, predictor_system
from segdeploy.card import InputSpec, ModelCard
from segdeploy.datasets.dataset import Dataset
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import write_image
from segdeploy.system.schema import convert
from segdeploy.video.profiler import StageTime, StageTimes

ROAD, CAR, VOID = 3, 8, 255
WAIT = StageTime(p50=0.01, p95=0.02, total=1.0)
TIMES = StageTimes(
    frames=100, wall=2.0, decode=WAIT, prepare=WAIT, infer=WAIT, mask=WAIT, draw=WAIT, encode=WAIT
)
VIDEO = Video(times=TIMES, flicker=0.01)


class Road:
    """A backend that predicts road everywhere."""

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
        "variant": Variant(artifact="a.onnx", threads=2),
        "dataset": "camvid",
        "data": None,
        "split": "val",
        "images": None,
        "runs": 2,
        "warm_up": 1,
        "masks": None,
        "started": 0.0,
    }
    return Task(**{**values, **changes})


def round_of(milliseconds: float, peak: int | None = 1000) -> Round:
    latency = Latency(rounds=((milliseconds, milliseconds),))
    setting = Setting(
        architecture="fake", precision="fp32", input=(12, 16), device="fake cpu", threads=2
    )
    return Round(
        setting=setting,
        cold_start=10 * milliseconds,
        latency=latency,
        network=latency,
        peak_memory=peak,
    )


def silent(device: str) -> Meter:
    """A machine that reports no energy."""
    return Meter({})


def road(dataset: Dataset, batch: int = 1) -> SystemUnderTest:
    return predictor_system(Road(dataset), Variant(artifact="a.onnx", threads=2, batch=batch))


def plan(artifacts: list[Path], data: Path, **changes: object) -> Plan:
    values = {
        "artifacts": tuple(artifacts),
        "threads": (2,),
        "dataset": "camvid",
        "data": data,
        "split": "val",
        "images": None,
        "runs": 2,
        "warm_up": 1,
        "rounds": 2,
        "video": None,
    }
    return Plan(**{**values, **changes})


def files(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_bytes(b"12345")
    return [folder / name for name in names]


def worker_with(
    dataset: Dataset, segment: Callable[[str, Mask], Mask]
) -> Callable[[Task], Round | str]:
    """A worker that writes `segment(artifact, labels)` as its masks, and fails on artifacts named
    broken.
    """

    def once(task: Task) -> Round | str:
        name = Path(task.variant.artifact).name
        if name.startswith("broken"):
            return "it is broken"
        if task.masks is not None:
            for index in range(len(dataset)):
                write_image(Path(task.masks) / mask_name(index), segment(name, dataset[index].mask))
        return round_of(20.0 if name.endswith(".pt") else 5.0)

    return once


def roads(name: str, labels: Mask) -> Mask:
    return np.full_like(labels, ROAD)


def test_rounds_alternate_in_both_directions() -> None:
    """A machine that slows down steadily slows all rows by the same."""
    assert in_turns(["a", "b", "c"], 3) == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]


def test_failed_row_is_left_out_of_later_rounds() -> None:
    """The others are measured to the end, and only first rounds write masks."""
    seen: list[tuple[str, str | None]] = []

    def once(task: Task) -> Round | str:
        seen.append((task.variant.artifact, task.masks))
        return "no such provider" if task.variant.artifact == "b" else round_of(1.0)

    reported: list[str] = []
    tasks = {name: task(variant=Variant(artifact=name), masks=f"masks-{name}") for name in "ab"}
    outcomes = measure_all(tasks, rounds=2, measure=once, on_round=reported.append)

    assert seen == [("a", "masks-a"), ("b", "masks-b"), ("a", None)]
    assert outcomes["b"].error == "no such provider"
    assert len(outcomes["a"].rounds) == 2
    assert reported == ["a", "b", "b", "a"]


@pytest.mark.parametrize(
    ("count", "images", "indices"),
    [(3, None, [0, 1, 2]), (10, 4, [0, 2, 5, 7]), (2, 9, [0, 1]), (0, None, [])],
)
def test_images_are_spread_over_the_whole_split(
    count: int, images: int | None, indices: list[int]
) -> None:
    """The first images of a drive look alike."""
    assert list(image_indices(count, images)) == indices


def test_round_times_each_part_with_one_clock(tiny_camvid: Path) -> None:
    """Under a clock that ticks once a call every timed run takes one tick, whatever it does."""
    ticks = iter(range(100))
    dataset = datasets.load("camvid", tiny_camvid, "val")

    # Reading takes from tick 0 to 1, and the first mask is complete at tick 2: of 2 s since the
    # start, 1 s was reading.
    found = measure_round(
        road(dataset), dataset, task(), clock=lambda: float(next(ticks)), meter=silent
    )

    assert found.cold_start == 1000.0
    assert found.latency.runs == found.network.runs == (1000.0, 1000.0)
    assert (found.setting.device, found.setting.threads, found.setting.input, found.energy) == (
        "fake cpu",
        2,
        (12, 16),
        {},
    )


def test_round_survives_json(tiny_camvid: Path) -> None:
    """It comes from another process."""
    found = round_of(3.0)

    assert convert(found.to_dict(), Round, refuse=DataError) == found


def test_masks_have_the_images_own_size(tiny_camvid: Path, tmp_path: Path) -> None:
    """The network's size is 12x16 and the images' 24x32; scores are of the latter."""
    dataset = datasets.load("camvid", tiny_camvid, "val")
    write_masks(road(dataset, batch=2), dataset, tmp_path, images=2)

    found = score_masks({"road": tmp_path}, dataset, [0, 1], reference=None)

    labels = np.concatenate([dataset[index].mask for index in (0, 1)])
    scores, agreement = found["road"].scores, found["road"].labels
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.png", "000001.png"]
    assert scores.pixel_accuracy == pytest.approx((labels == ROAD).sum() / (labels != VOID).sum())
    assert agreement is None


def test_compares_with_the_first_checkpoint(tiny_camvid: Path, tmp_path: Path) -> None:
    """The reference is correct everywhere, the other predicts road: they agree on what is road."""
    dataset = datasets.load("camvid", tiny_camvid, "val")
    masks = [dataset[index].mask for index in range(3)]
    right = worker_with(
        dataset,
        lambda name, labels: (
            np.where(labels == VOID, 0, labels).astype(np.uint8)
            if name.endswith(".pt")
            else roads(name, labels)
        ),
    )
    (tmp_path / "work").mkdir()

    report, pairs = run_plan(
        plan(files(tmp_path, "a.onnx", "b.pt"), tiny_camvid),
        tmp_path / "work",
        workers=Workers(measure=right, run_video=lambda video: "not asked for"),
        on_step=lambda name: None,
    )

    (other, result), (reference, reference_result) = report.measured
    assert report.reference == reference.name == "b.pt"
    assert (other.name, other.size) == ("a.onnx", 5)
    assert reference_result.accuracy is not None
    assert result.accuracy is not None
    assert reference_result.accuracy.scores.miou == 1.0
    assert reference_result.accuracy.boundary_iou == 1.0
    assert reference_result.accuracy.labels is not None
    assert reference_result.accuracy.labels.overall == 1.0
    assert result.accuracy.labels is not None
    assert result.accuracy.labels.overall == pytest.approx(
        np.mean([mask == ROAD for mask in masks])
    )
    assert result.latency.rounds == ((5.0, 5.0), (5.0, 5.0))
    assert result.cold_start.runs == (50.0, 50.0)
    assert report.images == ("0", "1", "2")
    shares = [float(np.mean(mask == ROAD)) for mask in masks]
    assert result.accuracy.worst == tuple(str(index) for index in np.argsort(shares)[:2])
    assert [(pair.row, pair.against, pair.image) for pair in pairs] == [
        ("a.onnx", "b.pt", name) for name in result.accuracy.worst
    ]
    assert all(side.startswith(b"\xff\xd8") for pair in pairs for side in (pair.left, pair.right))


def test_peers_are_compared_with_the_first_artifact(tiny_camvid: Path, tmp_path: Path) -> None:
    """Without a reference their rows would have no comparison.

    A library's own network has no file with a size.
    """
    (tmp_path / "work").mkdir()
    worker = worker_with(datasets.load("camvid", tiny_camvid, "val"), roads)
    asked = plan(files(tmp_path, "a.onnx"), tiny_camvid, peers=("onnxruntime loop", "ultralytics"))

    report, _ = run_plan(
        asked,
        tmp_path / "work",
        workers=Workers(measure=worker, run_video=lambda video: "not asked for"),
        on_step=lambda name: None,
    )

    assert report.reference == "a.onnx"
    assert [report.speedup(result) for _, result in report.measured] == [(1.0, 1.0)] * 3
    assert [(row.name, row.size) for row in report.rows] == [
        ("a.onnx", 5),
        ("onnxruntime loop", 5),
        ("ultralytics", None),
    ]
    assert reference_of(replace(asked, peers=())) is None


def test_failed_row_carries_its_reason(tiny_camvid: Path, tmp_path: Path) -> None:
    """Even where it is the reference: the others keep their absolute values."""
    dataset = datasets.load("camvid", tiny_camvid, "val")
    (tmp_path / "work").mkdir()

    report, _ = run_plan(
        plan(files(tmp_path, "broken.pt", "a.onnx"), tiny_camvid),
        tmp_path / "work",
        workers=Workers(
            measure=worker_with(dataset, roads), run_video=lambda video: "not asked for"
        ),
        on_step=lambda name: None,
    )

    assert [(row.name, row.error) for row in report.failed] == [("broken.pt", "it is broken")]
    assert report.reference_result is None
    ((row, result),) = report.measured
    assert row.name == "a.onnx"
    assert result.accuracy is not None
    assert result.accuracy.labels is None


def test_video_is_run_after_the_rounds(tiny_camvid: Path, tmp_path: Path) -> None:
    """A row that failed before is not run, and one that fails there fails."""
    dataset = datasets.load("camvid", tiny_camvid, "val")
    shown: list[str] = []

    def show(video: VideoTask) -> Video | str:
        shown.append(Path(video.variant.artifact).name)
        return VIDEO if video.variant.artifact.endswith(".onnx") else "no frame fits"

    (tmp_path / "work").mkdir()
    report, _ = run_plan(
        plan(
            files(tmp_path, "broken.pt", "a.onnx", "b.torchscript"),
            tiny_camvid,
            video=Path("clip.mp4"),
        ),
        tmp_path / "work",
        workers=Workers(measure=worker_with(dataset, roads), run_video=show),
        on_step=lambda name: None,
    )

    assert shown == ["a.onnx", "b.torchscript"]
    assert [(row.name, row.error) for row in report.failed] == [
        ("broken.pt", "it is broken"),
        ("b.torchscript", "no frame fits"),
    ]
    assert report.measured[0][1].video == VIDEO


def test_names_distinguish_files() -> None:
    """Two runs have a best.onnx each."""
    assert artifact_names([Path("x/best.onnx"), Path("y/best.onnx"), Path("best.pt")]) == [
        "x/best.onnx",
        "y/best.onnx",
        "best.pt",
    ]


def test_file_that_is_named_twice_is_refused() -> None:
    """Two rows of one file would need names of their own."""
    with pytest.raises(ConfigError, match="named twice"):
        artifact_names([Path("a/best.pt"), Path("a/../a/best.pt")])


def test_every_variant_is_a_row_with_its_own_name(tmp_path: Path) -> None:
    """What all rows share is in none of their names.

    A runtime that does not run a file's kind is left out for it.
    """
    names = files(tmp_path, "a.onnx", "b.pt")

    asked = plan(
        names,
        tmp_path,
        backends=("onnxruntime", "torch"),
        threads=(1, 2),
        batches=(4,),
        sizes=(None, (24, 32)),
    )

    variants = variants_of(asked)
    assert list(variants) == [
        f"{name}, {threads}, {size}"
        for name in ("a.onnx", "b.pt")
        for threads in ("1 thread", "2 threads")
        for size in ("own size", "24x32")
    ]
    assert variants["b.pt, 2 threads, 24x32"] == Variant(
        artifact=str(names[1]), backend="torch", threads=2, batch=4, size=(24, 32)
    )
    assert list(variants_of(plan(names, tmp_path, batches=(1, 8)))) == [
        "a.onnx, batch 1",
        "a.onnx, batch 8",
        "b.pt, batch 1",
        "b.pt, batch 8",
    ]


def test_rounds_are_repeated_until_the_median_is_known() -> None:
    """A steady row gets no further round, one that never settles ends at twelve, and one that
    failed is left alone.
    """
    done: list[str] = []

    def once(task: Task) -> Round | str:
        name = task.variant.artifact
        done.append(name)
        assert task.masks is None
        return round_of(10.0 if name == "steady" else 10.0 + 5 * (len(done) % 2))

    tasks = {
        name: task(variant=Variant(artifact=name), masks="there")
        for name in ("steady", "restless", "failed")
    }
    begun = {
        name: Outcome(rounds=(round_of(10.0), round_of(10.0 if name == "steady" else 16.0)))
        for name in ("steady", "restless")
    }
    outcomes = repeat_until_stable(
        tasks, {**begun, "failed": Outcome(error="no")}, measure=once, on_round=lambda name: None
    )

    assert {name: len(found.rounds) for name, found in outcomes.items()} == {
        "steady": 2,
        "restless": MOST,
        "failed": 0,
    }
    assert set(done) == {"restless"}


def test_batches_are_evenly_spaced_neighbors() -> None:
    """Twenty images give eight batches.

    Three images fill a batch of four by beginning again.
    """
    assert [group[0] for group in batches(range(20), 2)] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert batches(range(20), 2)[1] == [2, 3]
    assert batches([5, 6, 7], 4) == [[5, 6, 7, 5], [6, 7, 5, 6], [7, 5, 6, 7]]


def test_batch_is_timed_whole(tiny_camvid: Path) -> None:
    """Under a clock that ticks once a call a batch of four takes one second, and four images go
    through in it.
    """
    ticks = iter(range(100))
    dataset = datasets.load("camvid", tiny_camvid, "val")

    found = measure_round(
        road(dataset, batch=4), dataset, task(), clock=lambda: float(next(ticks)), meter=silent
    )

    assert found.setting.batch == 4
    assert found.latency.runs == (1000.0, 1000.0)


@pytest.mark.parametrize(
    ("dynamic", "size", "message"),
    [(False, (24, 32), "export it with --dynamic"), (True, (23, 32), "multiples of 4")],
)
def test_size_that_the_file_cannot_have_is_refused(
    tiny_camvid: Path, *, dynamic: bool, size: tuple[int, int], message: str
) -> None:
    """It is a row that says so."""
    backend = Road(datasets.load("camvid", tiny_camvid, "val"))
    backend.card = structs.replace(
        backend.card, input=structs.replace(backend.card.input, dynamic=dynamic, stride=4)
    )

    with pytest.raises(ConfigError, match=message):
        Variant(artifact="a.onnx", size=size).resized(backend)


def test_dynamic_file_gets_the_requested_size(tiny_camvid: Path) -> None:
    """Batches follow the card, so the card must say the size."""
    backend = Road(datasets.load("camvid", tiny_camvid, "val"))
    backend.card = structs.replace(
        backend.card, input=structs.replace(backend.card.input, dynamic=True)
    )

    sized = Variant(artifact="a.onnx", size=(24, 32)).resized(backend)

    assert predictor_system(sized, Variant(artifact="a.onnx")).prepare(
        [np.zeros((5, 7, 3), np.uint8)]
    ).shape == (
        1,
        24,
        32,
        3,
    )
    assert Variant(artifact="a.onnx", size=(12, 16)).resized(backend) is backend
