"""The learning rate, step by step."""

POWER = 0.9
"""Exponent of the fall, as in DeepLab (Chen et al., 2017, section 4.1)."""


def rate_at(step: int, *, steps: int, rate: float, warmup: float) -> float:
    """Give the learning rate of a step: a straight rise, then a polynomial fall to nearly 0.

    Args:
        step: Number of the step, from 0.
        steps: How many steps the whole run has.
        rate: Learning rate at the top.
        warmup: Share of the steps in which it rises, in [0, 1).
    """
    rising = round(steps * warmup)
    if step < rising:
        return rate * (step + 1) / (rising + 1)
    return float(rate * (1 - (step - rising) / (steps - rising)) ** POWER)
