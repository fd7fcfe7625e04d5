"""The learning rate rises, then falls."""

import pytest
import torch

from segdeploy.train.optimization import rate_at
from segdeploy.train.recipe import SCHEDULES

pytestmark = pytest.mark.usefixtures("one_thread")


def rates(schedule: str, *, steps: int = 10, warmup: float = 0.2) -> list[float]:
    return [
        rate_at(step, steps=steps, rate=3.0, warmup=warmup, schedule=schedule)
        for step in range(steps)
    ]


def test_rises_straight_then_falls_to_nearly_nothing() -> None:
    """10 steps, 2 of them rising: 1/3, 2/3, then (1 - n/8) to the power of 0.9."""
    found = rates("poly")

    assert found[:3] == pytest.approx([1.0, 2.0, 3.0])
    assert found[6] == pytest.approx(3 * 0.5**0.9)
    assert found[9] == pytest.approx(3 * 0.125**0.9)
    assert found[2:] == sorted(found[2:], reverse=True)


def test_cosine_is_half_way_in_the_middle() -> None:
    """After the same rise: the top, 3/4 of the half wave's way at 1/3, a half at 1/2."""
    found = rates("cosine", steps=14, warmup=1 / 7)

    assert found[:3] == pytest.approx([1.0, 2.0, 3.0])
    assert found[6] == pytest.approx(3 * 0.75)
    assert found[8] == pytest.approx(1.5)
    assert 0 < found[13] < 0.06


def test_one_cycle_is_pytorchs() -> None:
    """20 steps of which 6 rise; PyTorch counts its share so that the top is the step before."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    library = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3.0, total_steps=20, pct_start=0.35, cycle_momentum=False
    )
    expected = []
    for _ in range(20):
        expected.append(library.get_last_lr()[0])
        optimizer.step()
        if len(expected) < 20:
            library.step()

    assert rates("one-cycle", steps=20, warmup=0.3) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_warm_up_it_starts_at_the_top(schedule: str) -> None:
    """A single step is the whole schedule."""
    assert rate_at(0, steps=1, rate=0.5, warmup=0.0, schedule=schedule) == 0.5
    assert rate_at(0, steps=5, rate=0.5, warmup=0.0, schedule=schedule) == 0.5
