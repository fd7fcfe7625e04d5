"""A run with a time limit has the steps that fit, and ends an epoch that does not."""

from pathlib import Path

import pytest
import torch

from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.train.loader import Batch
from segdeploy.train.recipe import Recipe
from segdeploy.train.time_limit import CAUTION, RESERVE, TimeLimit
from segdeploy.train.trainer import Trainer


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def limit(
    clock: Clock, seconds: float, *, batch: float = 1.0, validation: float = 20.0
) -> TimeLimit:
    return TimeLimit(seconds, batch=batch, validation=validation, steps=10, epochs=50, clock=clock)


@pytest.mark.parametrize(
    ("seconds", "accumulate", "val_every", "steps"),
    [
        # A step of one second, and a tenth of a second of a validation with each.
        (242, 1, 20, int((242 * CAUTION - 20) / 1.1)),
        (242, 2, 20, int((242 * CAUTION - 20) / 2.1)),
        (5, 1, 20, 1),
        (-5, 1, 20, 1),
    ],
)
def test_steps_fit_beside_the_validations(
    seconds: float, accumulate: int, val_every: int, steps: int
) -> None:
    """At least one, so that a run always has weights."""
    assert limit(Clock(), seconds).fitting(accumulate=accumulate, val_every=val_every) == steps


def test_measured_durations_correct_the_plan() -> None:
    clock = Clock()
    time = limit(clock, 110)

    time.measure(batch=2.0, validation=30.0)
    clock.now += 10

    assert time.fitting(accumulate=1, val_every=20) == int((100 * CAUTION - 30) / 1.65)


def test_epoch_ends_where_the_time_for_its_validation_begins() -> None:
    """Also where one epoch takes longer than all of the time."""
    clock = Clock()
    time = limit(clock, 25)
    batches = [Batch(torch.tensor([number]), *[torch.empty(0)] * 3) for number in range(100)]

    taken = []
    for batch in time.in_time(batches, 50):
        taken.append(int(batch.images))
        clock.now += 1.0

    assert taken == [0, 1, 2, 3, 4, 5]
    assert time.over


def test_plan_of_an_epoch_ends_it_without_haste() -> None:
    time = limit(Clock(), 1000)
    batches = [Batch(*[torch.empty(0)] * 4)] * 9

    assert len(list(time.in_time(batches, 4))) == 4
    assert not time.over


def test_run_ends_in_time_with_validated_weights(
    tiny_camvid: Path, one_thread: None, tmp_path: Path
) -> None:
    """Of a million epochs those are trained that fit; the card says how many, and is resumable."""
    recipe = Recipe(
        arguments={"width": 2, "depth": 1},
        dataset="camvid",
        data=str(tiny_camvid),
        epochs=1_000_000,
        minutes=(RESERVE + 1.0) / 60,
        imgsz=(24, 32),
        batch=4,
        amp=False,
        device="cpu",
        threads=1,
        workers=0,
    )
    run = Trainer(recipe)

    run.fit(tmp_path, report=lambda _: None)

    last = load_checkpoint(tmp_path / "last.pt").card.training
    assert last is not None
    assert 1 <= len(run.history) == last.epochs < 1000
    assert run.history[-1].miou is not None
    assert sum(epoch.seconds for epoch in run.history) < RESERVE + 5.0
    assert last.recipe["epochs"] == last.epochs
