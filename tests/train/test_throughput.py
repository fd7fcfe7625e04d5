"""The whole loop compared with the network alone and with a plain loop."""

import operator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segdeploy.datasets.registry import layout
from segdeploy.errors import DataError
from segdeploy.system.machine import CPU_FEATURES
from segdeploy.train.recipe import Recipe
from segdeploy.train.throughput import (
    HALF_LIMIT,
    LIMIT,
    OURS,
    PLAIN,
    Throughput,
    choose_runs,
    measure,
    ratios,
    speed,
)
from segdeploy.train.throughput_loops import PlainDataset, limit, plain_loop, whole_loop


@pytest.fixture
def recipe(tiny_camvid: Path, one_thread: None) -> Recipe:
    """A recipe with fast steps."""
    return Recipe(
        arguments={"width": 2, "depth": 1},
        dataset="camvid",
        data=str(tiny_camvid),
        imgsz=(24, 32),
        batch=4,
        device="cpu",
        threads=1,
        workers=0,
    )


@pytest.mark.slow
def test_loops_take_turns_in_processes_of_their_own() -> None:
    """Threads and memory of one are released before the next.

    The functions import nothing: a recipe is not 1.
    """
    order: list[str] = []

    throughputs = measure(
        Recipe(),
        {"one": operator.is_not, "two": operator.is_},
        steps=1,
        rounds=2,
        on_step=order.append,
    )

    assert order == ["one", "two", "one", "two"]
    assert throughputs == {
        "one": Throughput(rate=1, rounds=(1, 1)),
        "two": Throughput(rate=0, rounds=(0, 0)),
    }


def test_ratios_are_those_of_rounds_by_the_faster_precision() -> None:
    """The machine was half as fast in the second round: 9 of 10 and 4 of 5, and 3 and 4 times the
    plain loop. In float32 the network takes longer, and is no limit.
    """
    rounds = {LIMIT: (8.0, 4.0), HALF_LIMIT: (10.0, 5.0), OURS: (9.0, 4.0), PLAIN: (3.0, 1.0)}
    throughputs = {
        name: Throughput(rate=sum(rates) / 2, rounds=rates) for name, rates in rounds.items()
    }

    assert ratios(throughputs) == pytest.approx({"limit": 0.85, PLAIN: 3.5})


@pytest.mark.parametrize(("features", "half"), [("avx2", False), ("amx_bf16", True)])
def test_half_precision_is_measured_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, features: str, *, half: bool
) -> None:
    """An emulated one would be no limit, and take an hour."""
    monkeypatch.setenv(CPU_FEATURES, features)

    runs = choose_runs(Recipe(device="cpu"), plain=False)

    assert list(runs) == [LIMIT, *([HALF_LIMIT] if half else []), OURS]


@pytest.mark.slow
def test_all_learn(recipe: Recipe) -> None:
    """Each gives a rate, over the end of an epoch of three steps and with accumulated gradients."""
    files = layout("camvid").index(Path(recipe.data), "train").dataset()

    assert limit(recipe, 2, half=False) > 0
    assert limit(recipe, 2, half=True) > 0
    assert whole_loop(recipe, 4) > 0
    assert plain_loop(recipe, files, 2, warm_up=2, workers=0) > 0


def test_plain_loop_sees_what_can_be_learned_from(recipe: Recipe) -> None:
    """Images as normalized numbers, and classes within range or 255 where a crop reaches beyond
    the edge.
    """
    files = layout("camvid").index(Path(recipe.data), "train").dataset()
    image, mask = PlainDataset(files, recipe)[0]

    assert image.shape == (3, 24, 32)
    assert image.dtype == torch.float32
    assert isinstance(mask, Tensor)
    assert set(mask.unique().tolist()) <= {*range(len(files.classes)), 255}


def test_data_without_files_has_no_plain_loop() -> None:
    """The message says how to leave it out."""
    from click.testing import CliRunner

    result = CliRunner().invoke(speed, ["streets-demo"])

    assert isinstance(result.exception, DataError)
    assert "--no-plain" in str(result.exception)
