"""The learning rate rises, then falls."""

import pytest

from segdeploy.train.schedule import rate_at


def test_rises_straight_then_falls_to_nearly_nothing() -> None:
    """10 steps, 2 of them rising: 1/3, 2/3, then (1 - n/8) to the power of 0.9."""
    rates = [rate_at(step, steps=10, rate=3.0, warmup=0.2) for step in range(10)]

    assert rates[:3] == pytest.approx([1.0, 2.0, 3.0])
    assert rates[6] == pytest.approx(3 * 0.5**0.9)
    assert rates[9] == pytest.approx(3 * 0.125**0.9)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_without_warm_up_it_starts_at_the_top() -> None:
    """A single step is the whole schedule."""
    assert rate_at(0, steps=1, rate=0.5, warmup=0.0) == 0.5
