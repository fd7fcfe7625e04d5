"""How int8 candidates are measured and ranked."""

import numpy as np
import pytest

from segdeploy.export.int8_candidates import (
    RUNS,
    CachedBackend,
    measure_alternating,
    rank_passed,
)
from tests.helpers.backends import ZeroBackend
from tests.helpers.cards import make_card
from tests.helpers.int8 import make_candidate, make_parity

IMAGES = [
    np.random.default_rng(seed).integers(0, 256, (1, 4, 4, 3), dtype=np.uint8) for seed in range(3)
]


def test_fastest_that_passes_comes_first_and_equal_ones_by_score() -> None:
    """Speeds within 5% are noise; what loses too much is never chosen."""
    good, better = (
        make_candidate("good", speed=2, parity=make_parity(miou=0.5)),
        make_candidate("better", speed=1.95, parity=make_parity(miou=0.51)),
    )
    slow, inaccurate = (
        make_candidate("slow", speed=1, parity=make_parity(miou=0.6)),
        make_candidate("inaccurate", speed=9, parity=make_parity(miou=0.4)),
    )

    assert rank_passed([slow, good, inaccurate, better]) == [better, good, slow]


def test_two_files_are_measured_in_alternation() -> None:
    """By hand: the clock gives 1 ms to the first and 3 ms to the second each time, whatever the
    machine does between.
    """
    times = iter(
        time for turn in range(RUNS + 1) for time in (turn, turn + 0.001, turn + 0.5, turn + 0.503)
    )
    first, second = ZeroBackend(make_card(4, 4)), ZeroBackend(make_card(4, 4))

    latencies = measure_alternating(first, second, IMAGES, clock=lambda: next(times))

    assert latencies == (pytest.approx(1), pytest.approx(3))
    assert first.calls == second.calls == RUNS + 1


def test_cached_backend_runs_each_batch_once() -> None:
    """Six candidates are compared with the same outputs."""
    inner = ZeroBackend(make_card(4, 4))
    cached = CachedBackend(inner)

    for batch in (*IMAGES, *IMAGES):
        cached.run(batch)

    assert inner.calls == len(IMAGES)
    assert (cached.card, cached.device) == (inner.card, inner.device)
