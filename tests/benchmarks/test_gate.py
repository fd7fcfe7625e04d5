"""The gate: limits are parsed, noise does not fail, and what cannot be compared is refused."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segdeploy import datasets
from segdeploy.benchmarks.gate import (
    Limit,
    check_gate,
    check_limits,
    check_plan,
    gate,
    parse_limits,
)
from segdeploy.benchmarks.measure.worker import image_indices
from segdeploy.benchmarks.plan import Plan
from segdeploy.benchmarks.results.latency import Latency, measure
from segdeploy.benchmarks.results.report import Report, Row
from segdeploy.benchmarks.results.row import Accuracy, Round, RowResult, Setting
from segdeploy.benchmarks.results.variant import Variant
from segdeploy.benchmarks.run import check_results
from segdeploy.errors import ConfigError, GateError, SegdeployError
from segdeploy.metrics.scores import Scores
from segdeploy.system.machine import Machine

MACHINE = Machine(
    processor="Zen",
    system="Linux 6",
    cores=2,
    host_cores=8,
    memory=None,
    governor="",
    load=0.1,
    versions={},
)
SPEED = parse_limits("p95=+15%")


def values_of(latency: Latency, *, miou: float = 0.7, peak: int | None = 200_000_000) -> RowResult:
    setting = Setting(
        architecture="unet", precision="fp32", input=(90, 120), device="fake cpu", threads=2
    )
    rounds = tuple(
        Round(
            setting=setting,
            cold_start=400.0,
            latency=Latency(rounds=(one,)),
            network=latency,
            peak_memory=peak,
        )
        for one in latency.rounds
    )
    scores = Scores(miou=miou, pixel_accuracy=0.9, dice=0.8, iou=(miou,), pixels=100)
    return RowResult(
        rounds=rounds, accuracy=Accuracy(scores=scores, boundaries=(0.5,), labels=None)
    )


def report_of(result: RowResult, name: str = "best.onnx") -> Report:
    return Report(
        created="2026-01-02T03:04:05+00:00",
        dataset="camvid",
        split="val",
        images=("a", "b"),
        classes=("road",),
        reference=None,
        runs=3,
        rounds=2,
        warm_up=1,
        machine=MACHINE,
        load_after=0.2,
        video=None,
        rows=(Row(name=name, variant=Variant(artifact=name), size=2_000_000, result=result),),
    )


def noisy_clock(random: np.random.Generator, seconds: float) -> Callable[[], float]:
    """A clock of a shared machine.

    Each process 2% faster or slower, each run 3%, and one of 33 disturbed for up to its own length.
    """
    process = seconds * (1 + random.normal(0, 0.02))

    def ticks() -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += (
                process
                * float(np.exp(random.normal(0, 0.03)))
                * (1 + random.random() * (random.random() < 0.03))
            )
            yield now

    left = ticks()
    return lambda: next(left)


def measured(random: np.random.Generator, seconds: float) -> Report:
    """A benchmark of five rounds of forty runs on such a machine."""
    parts = (
        measure(lambda run: None, runs=40, warm_up=0, clock=noisy_clock(random, seconds))
        for _ in range(5)
    )
    return report_of(values_of(Latency.joined(parts)))


def test_same_file_passes_twenty_times_of_twenty() -> None:
    """A gate that fails by chance is soon disabled."""
    random = np.random.default_rng(0)

    verdicts = [
        verdict
        for _ in range(20)
        for verdict in gate(measured(random, 0.02), measured(random, 0.02), SPEED)
    ]

    assert len(verdicts) == 20
    assert all(verdict.state != "failed" for verdict in verdicts)


def test_file_slowed_by_thirty_percent_fails_twenty_times_of_twenty() -> None:
    """A gate that lets it pass is useless."""
    random = np.random.default_rng(0)

    verdicts = [
        verdict
        for _ in range(20)
        for verdict in gate(measured(random, 0.026), measured(random, 0.02), SPEED)
    ]

    assert [verdict.state for verdict in verdicts] == ["failed"] * 20


def test_failure_says_which_and_by_how_much() -> None:
    """100 ms become 130; 120 would have been allowed."""
    old, new = (report_of(values_of(Latency(rounds=((time,) * 5,) * 3))) for time in (100.0, 130.0))

    with pytest.raises(
        GateError, match=r"best.onnx: p50 is 130 ms and was 100 ms, \+30%; \+20% is allowed"
    ) as caught:
        check_gate(gate(new, old, parse_limits("p50=+20%,p99=+40%")))

    assert caught.value.exit_code == 6
    check_gate(gate(new, old, parse_limits("p50=+30%")))
    check_gate(gate(old, new, parse_limits("p50=+0%")))


def test_noise_does_not_fail() -> None:
    """Two rounds of 100 and 140 ms against two of 90 and 110: 20% more, or chance."""
    old, new = (
        report_of(values_of(Latency(rounds=((first,) * 3, (second,) * 3))))
        for first, second in ((90.0, 110.0), (100.0, 140.0))
    )

    (verdict,) = gate(new, old, parse_limits("p50=+15%"))

    assert verdict.state == "unsure"
    assert (
        "p50 is 120 ms and was 100 ms, +20%; +15% is allowed, but it may be chance"
        in verdict.sentence
    )


@pytest.mark.parametrize("limit", ["p95=+15%", "p95=+15"])
def test_slightly_slower_is_not_much_slower(limit: str) -> None:
    """All runs take 3% longer, surely.

    A few runs that take 30% longer lift p95 over the limit, and may not occur in another
    measurement.
    """
    steady, disturbed = (103.0,) * 20, (103.0,) * 16 + (130.0,) * 4
    old, new = (
        report_of(values_of(Latency(rounds=rounds)))
        for rounds in (((100.0,) * 20,) * 2, (steady, disturbed))
    )

    (verdict,) = gate(new, old, parse_limits(limit))

    assert verdict.state == "unsure", verdict.sentence


@pytest.mark.parametrize(
    ("limit", "state"),
    [
        ("miou=-0.5", "passed"),
        ("miou=-0.4", "failed"),
        ("miou=-1%", "passed"),
        ("miou=-0.7%", "failed"),
        ("pixel_accuracy=-0", "passed"),
        ("size=+0", "passed"),
        ("memory=+50", "passed"),
        ("memory=+40", "failed"),
        ("labels=-1", "unsure"),
    ],
)
def test_accuracy_is_limited_in_points_and_memory_in_megabytes(limit: str, state: str) -> None:
    """mIoU fell from 70.0 to 69.5, 0.5 points or 0.714%, and memory rose from 200 to 250 MB.

    Labels were not compared.
    """
    same = Latency(rounds=((100.0,) * 3,))
    old, new = (
        report_of(values_of(same)),
        report_of(values_of(same, miou=0.695, peak=250_000_000)),
    )

    (verdict,) = gate(new, old, parse_limits(limit))

    assert verdict.state == state, verdict.sentence


@pytest.mark.parametrize("text", ["p95", "p95=15%", "speed=+3%", "p95=+x%", "", "p95=+15%,"])
def test_malformed_limit_is_refused(text: str) -> None:
    """A gate with a typo must not pass everything."""
    with pytest.raises(ConfigError, match=r"write for example p95=\+15%"):
        parse_limits(text)


def test_limit_to_what_is_better_is_refused() -> None:
    """mIoU is worse with less."""
    with pytest.raises(ConfigError, match=r"write miou=-0.3"):
        parse_limits("miou=+0.3")
    assert parse_limits("p95=+15%, miou=-0.3") == (
        Limit(metric="p95", allowed=15.0, relative=True),
        Limit(metric="miou", allowed=0.3, relative=False),
    )


def test_times_of_two_machines_are_not_compared() -> None:
    """Accuracy is the same everywhere."""
    baseline = report_of(values_of(Latency(rounds=((1.0,),))))
    other = replace(MACHINE, processor="Xeon")

    with pytest.raises(
        ConfigError, match="p95 cannot be compared: the baseline was measured on 2 cores of Zen"
    ):
        check_limits(baseline, other, SPEED)
    check_limits(baseline, other, parse_limits("miou=-0.1,size=+1"))
    check_limits(baseline, MACHINE, SPEED)


def test_a_processor_that_shows_other_features_is_another() -> None:
    """Virtual processors have the same name with VNNI and without, which halves the time in int8.

    Older reports do not record it.
    """
    result = values_of(Latency(rounds=((1.0,),)))
    with_vnni = replace(MACHINE, features=("avx2", "avx512_vnni"))

    with pytest.raises(
        ConfigError,
        match=r"on 2 cores of Zen \(avx2, avx512_vnni\), and this machine has 2 of Zen \(avx2\)",
    ):
        check_limits(
            replace(report_of(result), machine=with_vnni),
            replace(MACHINE, features=("avx2",)),
            SPEED,
        )
    check_limits(report_of(result), with_vnni, SPEED)


def test_other_measurements_are_not_compared() -> None:
    """Other images, other rows, other threads."""
    result = values_of(Latency(rounds=((1.0,),)))
    report = report_of(result)
    one = replace(
        result,
        rounds=tuple(
            replace(found, setting=replace(found.setting, threads=1)) for found in result.rounds
        ),
    )

    with pytest.raises(ConfigError, match="measure both on the same images"):
        gate(report, replace(report, images=("a",)), SPEED)
    with pytest.raises(
        ConfigError, match=r"the baseline has other.onnx, and this report best.onnx"
    ):
        gate(report, report_of(result, "other.onnx"), SPEED)
    with pytest.raises(ConfigError, match="the baseline has no row"):
        gate(report, replace(report, rows=()), SPEED)
    with pytest.raises(ConfigError, match="other threads, batch or input"):
        gate(report, report_of(one), SPEED)


def plan_of(artifact: Path, **changes: object) -> Plan:
    values = {
        "artifacts": (artifact,),
        "threads": (2,),
        "dataset": "streets",
        "data": None,
        "split": "val",
        "images": 2,
        "runs": 3,
        "warm_up": 1,
        "rounds": 2,
    }
    return Plan(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 3}, "measured on 2 images of streets val and this report on 3"),
        (
            {"threads": (1,)},
            r"other threads, batch or input in the baseline \(\(2, 1\), now \(1, 1\)\)",
        ),
        ({"batches": (4,)}, "other threads, batch or input"),
        ({"batches": (1, 4)}, "the baseline has best.onnx, and this report best.onnx, batch 1"),
    ],
)
def test_what_the_baseline_cannot_hold_is_refused_before_it_is_measured(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    """Minutes of measuring must not end with an error that could have been raised first."""
    (tmp_path / "best.onnx").write_bytes(b"x")
    names = datasets.load("streets", None, "val").names
    images = tuple(names[index] for index in image_indices(len(names), 2))
    baseline = replace(
        report_of(values_of(Latency(rounds=((1.0,),)))), dataset="streets", images=images
    )

    with pytest.raises(ConfigError, match=message):
        check_plan(baseline, plan_of(tmp_path / "best.onnx", **changes))
    check_plan(baseline, plan_of(tmp_path / "best.onnx"))


def test_missing_row_does_not_pass() -> None:
    """A gate that loses a row would pass everything.

    The reason of a row whose export failed is reported elsewhere.
    """
    result = values_of(Latency(rounds=((1.0,),)))
    report = report_of(result)
    more = replace(report, rows=(*report.rows, *report_of(result, "slow.onnx").rows))

    with pytest.raises(
        ConfigError,
        match=r"the baseline has slow.onnx, and this report best.onnx; measure the same files",
    ):
        gate(report, more, SPEED)
    assert [
        verdict.sentence for verdict in gate(more, report, SPEED) if verdict.state == "unsure"
    ] == ["slow.onnx is not in the baseline"]


def test_row_that_failed_ends_with_its_own_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """The row exists: the file is at fault and not the command."""
    report = report_of(values_of(Latency(rounds=((1.0,),))))
    broken = replace(report, rows=(replace(report.rows[0], result=None, error="it has no card"),))

    with pytest.raises(SegdeployError, match=r"best.onnx: it has no card") as caught:
        check_results(broken, gate(broken, report, SPEED))

    assert caught.value.exit_code == 1


def test_missing_value_does_not_pass() -> None:
    """It may have become worse; one that the baseline never had is refused at once."""
    result = values_of(Latency(rounds=((1.0,),)))
    report, limits = report_of(result), parse_limits("miou=-1")
    without = report_of(replace(result, accuracy=None))

    with pytest.raises(GateError, match=r"best.onnx: miou was 70.00% and was not measured now"):
        check_gate(gate(without, report, limits))
    with pytest.raises(ConfigError, match="miou cannot be compared: no row of the baseline has it"):
        check_limits(without, MACHINE, limits)
