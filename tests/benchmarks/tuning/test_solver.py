"""The search of `tune` against an exhaustive one, over tables of costs."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from segdeploy.benchmarks.tuning.solver import Candidate, Search, Solution, choose
from segdeploy.benchmarks.tuning.space import Budget, Configuration, Space, Trial
from segdeploy.errors import SegdeployError

TABLES: Mapping[str, Any] = json.loads((Path(__file__).parent / "costs.json").read_text())
KINDS = list(TABLES)

SPACE = Space(
    modes=(True, False), threads=(1, 2), every=(1, 2, 3), presets=("", "ultrafast", "medium")
)
OTHER_STAGES = {"": 20.0, "ultrafast": 12.0, "medium": 60.0}
"""Milliseconds of a frame's other stages by the encoder's preset."""

CARRIED_MS, CARRIED_LOSS = 3.0, 0.4


class TableBench:
    """Two cores whose costs stand in a table, measured with noise; time passes by trial."""

    def __init__(
        self,
        kind: str,
        *,
        noise: float = 0.03,
        seed: int = 0,
        most: int = 10**6,
        fails: str = "",
        images: bool = False,
    ) -> None:
        self.trials = 0
        self._files = TABLES[kind]["files"]
        self._random = random.Random(seed)
        self._noise = noise
        self._most = most
        self._fails = fails
        self._images = images

    def exact(self, configuration: Configuration) -> Trial:
        """Return the true costs."""
        network = self._files[configuration.file]["ms"]
        network = network / configuration.every + CARRIED_MS * (1 - 1 / configuration.every)
        others = 0.0 if self._images else OTHER_STAGES[configuration.preset]
        if configuration.throughput:
            # Frames share the cores, and other stages need some as well.
            cores = configuration.threads
            frame = max((network + others) / 2, network / cores)
            latency = network + others
        else:
            frame = max(network / (1 + 0.7 * (configuration.threads - 1)), others)
            latency = network / (1 + 0.7 * (configuration.threads - 1)) + others
        memory = 150_000_000 + 50_000_000 * configuration.throughput * configuration.threads
        return Trial(fps=1000 / frame, latency=latency, memory=memory)

    def measure(self, configuration: Configuration, units: int) -> Trial:
        if configuration.file == self._fails:
            msg = "it does not load"
            raise SegdeployError(msg)
        self.trials += units
        exact = self.exact(configuration)
        factor = self._random.gauss(1, self._noise / units**0.5)
        return Trial(fps=exact.fps * factor, latency=exact.latency / factor, memory=exact.memory)

    def loss(self, configuration: Configuration) -> float:
        carried = CARRIED_LOSS * (configuration.every - 1)
        return float(self._files[configuration.file]["loss"]) + carried

    def size(self, file: str) -> int:
        return int(self._files[file]["size"])

    def left(self) -> float:
        return max(0.0, 1 - self.trials / self._most)


def exhaustive(bench: TableBench, kind: str, budget: Budget, space: Space) -> list[Candidate]:
    """Return every configuration with its true costs, the best first."""
    every = [
        Candidate(
            configuration=one,
            trials=(bench.exact(one),),
            loss=bench.loss(one),
            size=bench.size(one.file),
        )
        for file in TABLES[kind]["files"]
        for one in space.of(file)
    ]
    return sorted(every, key=lambda one: one.rank(budget))


def solve(bench: TableBench, kind: str, budget: Budget, space: Space = SPACE) -> Solution:
    return Search(space=space, budget=budget, bench=bench).solve(list(TABLES[kind]["files"]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [Budget(loss=0.5), Budget(loss=2.0), Budget(loss=10.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_choice_is_within_5_percent_of_the_best(kind: str, budget: Budget, seed: int) -> None:
    """With noise of 3%, and with a fraction of the trials."""
    bench = TableBench(kind, seed=seed)
    ranked = exhaustive(bench, kind, budget, SPACE)

    found = solve(bench, kind, budget)

    assert found.choice is not None
    chosen = bench.exact(found.choice.configuration).fps
    assert chosen >= 0.95 * ranked[0].fps
    assert found.choice.loss is not None
    assert found.choice.loss <= budget.loss
    assert bench.trials < 5 * len(ranked)


@pytest.mark.parametrize("kind", KINDS)
def test_of_those_that_are_fast_enough_the_most_accurate_is_chosen(kind: str) -> None:
    """Nobody who asked for 20 fps wants to lose accuracy for 40."""
    bench = TableBench(kind, noise=0.01)
    budget = Budget(fps=20, loss=5.0)
    best = exhaustive(bench, kind, budget, SPACE)[0]

    found = solve(bench, kind, budget)

    assert found.choice is not None
    assert found.choice.fps >= 20
    assert found.choice.loss == pytest.approx(best.loss, abs=0.11)


def test_int8_of_openvino_is_found_on_a_processor_with_vnni() -> None:
    """Nobody has to name it."""
    space = Space(modes=(False,), threads=(1, 2))

    found = solve(TableBench("vnni", images=True), "vnni", Budget(loss=0.5), space)

    assert found.choice is not None
    assert found.choice.configuration.file == "openvino int8 360x480"


def test_latency_of_images_is_what_is_ranked_where_it_is_bounded() -> None:
    """Beside 12 ms of other stages, only the fastest file stays below 20 ms."""
    space = Space(modes=(False,), threads=(2,), presets=("ultrafast",))
    bench = TableBench("vnni", noise=0.0)

    found = solve(bench, "vnni", Budget(latency=20.0, loss=0.5), space)

    # 12 + 12.3 / 1.7 = 19.2 ms; 12 + 17.3 / 1.7 = 22.2 ms
    assert found.choice is not None
    assert found.choice.configuration.file == "openvino int8 360x480"
    assert found.choice.latency == pytest.approx(19.24, abs=0.01)


@pytest.mark.parametrize(
    ("budget", "bound"),
    [
        (Budget(fps=500, loss=0.5), "fps"),
        (Budget(size=1_000_000, loss=0.5), "size"),
        (Budget(memory=100_000_000, loss=0.5), "memory"),
    ],
)
def test_a_budget_that_nothing_keeps_names_what_comes_closest(budget: Budget, bound: str) -> None:
    """Nothing is chosen then."""
    found = solve(TableBench("vnni", noise=0.0), "vnni", budget)

    assert found.choice is None
    assert "comes closest" in found.reason
    assert found.finalists[0].configuration.name in found.reason
    assert bound in found.finalists[0].excess(budget)


def test_a_file_that_fails_is_left_out() -> None:
    """Its reason is kept."""
    bench = TableBench("vnni", fails="openvino int8 360x480", images=True)

    found = solve(bench, "vnni", Budget(loss=0.5), Space(modes=(False,), threads=(2,)))

    assert found.choice is not None
    assert found.choice.configuration.file == "onnx int8 360x480"
    assert [one.error for one in found.candidates if one.error] == ["it does not load"]


def test_what_fails_everywhere_is_an_error() -> None:
    """Its own sentence says why."""
    bench = TableBench("vnni", fails="onnx int8 360x480")
    search = Search(space=SPACE, budget=Budget(loss=1.0), bench=bench)

    with pytest.raises(SegdeployError, match="it does not load"):
        search.solve(["onnx int8 360x480"])


@pytest.mark.parametrize("most", [12, 40, 120])
def test_the_search_ends_in_time_with_the_best_so_far(most: int) -> None:
    """Trials cost what they cost; the choice then comes from fewer of them."""
    bench = TableBench("avx2", most=most)

    found = solve(bench, "avx2", Budget(loss=10.0))

    assert found.choice is not None
    # Each file has one trial in any case, and each finalist one of the finals.
    assert bench.trials <= most + 10 + 4 * 8


def candidate(name: str, fps: tuple[float, ...], loss: float) -> Candidate:
    return Candidate(
        configuration=Configuration(file=name, throughput=True, threads=2),
        trials=tuple(Trial(fps=one, latency=9.0, memory=1) for one in fps),
        loss=loss,
        size=1,
    )


def test_no_difference_within_the_noise_is_sold() -> None:
    """25.1 fps are not more than 24.9 where rounds vary by one; the one that loses less wins."""
    fast, accurate = candidate("int8", (24.6, 25.1, 25.9), 0.4), candidate("fp32", (24.9,) * 3, 0)

    choice, reason = choose([fast, accurate], Budget(loss=1.0))

    assert choice is accurate
    assert reason.startswith("as fast as int8")


def test_frontier_holds_what_nothing_beats_in_both() -> None:
    """The fastest first."""
    kept = [candidate("a", (30.0,), 2.0), candidate("b", (20.0,), 0.5)]
    beaten = candidate("c", (19.0,), 0.6)

    found = Solution(candidates=(beaten, *kept), finalists=(), choice=None, reason="")

    assert found.frontier == kept
