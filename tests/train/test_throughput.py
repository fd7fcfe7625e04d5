"""The whole loop compared with its upper bound and with a plain loop."""

import operator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segdeploy.datasets.registry import layout
from segdeploy.errors import DataError
from segdeploy.train.recipe import Recipe
from segdeploy.train.throughput import BOUND, OURS, PLAIN, Throughput, measure, ratios, speed
from segdeploy.train.throughput_loops import PlainDataset, bare_steps, plain_loop, whole_loop


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


def test_ratios_are_those_of_the_medians() -> None:
    """9 of 10, and 3 times 3."""
    throughputs = {
        name: Throughput(rate=rate, rounds=(rate,))
        for name, rate in ((BOUND, 10.0), (OURS, 9.0), (PLAIN, 3.0))
    }

    assert ratios(throughputs) == {BOUND: 0.9, PLAIN: 3.0}


@pytest.mark.slow
def test_all_three_learn(recipe: Recipe) -> None:
    """Each gives a rate, over the end of an epoch of three steps and with accumulated gradients."""
    files = layout("camvid").index(Path(recipe.data), "train").dataset()

    assert bare_steps(recipe, 2) > 0
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
