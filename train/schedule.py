"""The learning rate, step by step."""

import math

SCHEDULES = ("poly", "cosine", "one-cycle")

POWER = 0.9
"""Exponent of the polynomial fall, as in DeepLab (Chen et al., 2017, section 4.1)."""

START = 1 / 25
END = 1 / 250_000
"""Shares of the top at which one-cycle starts and ends, as PyTorch's `OneCycleLR` has them."""


def rate_at(step: int, *, steps: int, rate: float, warmup: float, schedule: str = "poly") -> float:
    """Give the learning rate of a step: a rise, then a fall to nearly 0.

    "poly" and "cosine" (Loshchilov and Hutter, SGDR, ICLR 2017, equation 5, without restarts) rise in a straight line. "one-cycle"
    rises and falls by half cosines (Smith and Topin, Super-Convergence, 2018, in the two phases of `OneCycleLR`).

    Args:
        step: Number of the step, from 0.
        steps: How many steps the whole run has.
        rate: Learning rate at the top.
        warmup: Share of the steps in which it rises, in [0, 1).
        schedule: Its form, one of `SCHEDULES`.
    """
    rising = round(steps * warmup)
    if schedule == "one-cycle":
        if step < rising:
            return rate * _between(START, 1, step / rising)
        return rate * _between(1, END, (step - rising) / max(1, steps - 1 - rising))
    if step < rising:
        return rate * (step + 1) / (rising + 1)
    done = (step - rising) / (steps - rising)
    return rate * (_between(1, 0, done) if schedule == "cosine" else (1 - done) ** POWER)


def _between(start: float, end: float, done: float) -> float:
    """Go from one value to another along half a cosine; `done` is in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
