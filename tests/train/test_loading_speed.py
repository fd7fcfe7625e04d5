"""Measurement of how fast samples are read."""

import json
import operator
from functools import partial

import pytest

from segdeploy.cli.main import main
from segdeploy.train.loading_speed import BARE, measure

quick = operator.neg
slow = partial(sum, range(20_000))


@pytest.mark.slow
def test_methods_are_compared_with_bare_decoding():
    """All samples in all rounds but the first, which fills caches."""
    seen = []

    speeds = measure({BARE: quick, "slow": slow}, 10, processes=2, rounds=2, on_step=seen.append)

    assert seen == [BARE, "slow"] * 3
    assert speeds[BARE].ratio == 1
    assert speeds["slow"].ratio > 10
    assert 0 < speeds["slow"].median <= speeds["slow"].p95
    assert speeds["slow"].rate < speeds[BARE].rate


@pytest.mark.slow
def test_the_command_measures_a_folder(tiny_camvid, capsys):
    """As JSON, with the machine."""
    main(["data", "speed", str(tiny_camvid), "--rounds", "1", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == 12
    assert found["ways"][BARE]["ratio"] == 1
    assert found["machine"]["cores"] >= 1
