"""The table of the real-time networks: its rows and their order."""

from pathlib import Path

import pytest
import torch

from segdeploy import models
from segdeploy.benchmarks.results.latency import Latency
from segdeploy.benchmarks.studies.networks import (
    CANDIDATES,
    Candidate,
    respond,
    time_networks,
    to_markdown,
)
from segdeploy.errors import SegdeployError
from segdeploy.models.complexity import Complexity


def test_rows_are_named_by_what_differs() -> None:
    """Two of one network must not overwrite each other."""
    names = [candidate.name for candidate in CANDIDATES]

    assert len(set(names)) == len(names)
    assert Candidate("lightfpn", {"finest": 4}).name == "lightfpn finest=4"


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
def test_candidates_take_camvids_size(candidate: Candidate) -> None:
    """360x480, which is not a multiple of 16, is what they are compared at."""
    with torch.device("meta"):
        network = models.build(candidate.network, 11, **candidate.arguments)

    assert 360 % network.stride == 480 % network.stride == 0


def test_fastest_comes_first() -> None:
    """A reader looks for the fastest that is good enough."""
    cost = Complexity(parameters=1_140_000, gflops=1.06, height=360, width=480, stride=8)
    latencies = {
        "slow": Latency(rounds=((30.0, 40.0, 50.0),)),
        "fast": Latency(rounds=((3.0, 4.0, 5.0),)),
    }

    lines = to_markdown({"slow": cost, "fast": cost}, latencies).splitlines()

    assert lines[2:] == [
        "| fast | 1.14 M | 1.1 | 4.0 | 4.9 |",
        "| slow | 1.14 M | 1.1 | 40.0 | 49.0 |",
    ]


def test_row_times_a_network(artifacts: Path) -> None:
    """As many runs as asked for, in milliseconds."""
    found = respond(
        {"artifact": str(artifacts / "best.onnx"), "threads": 1, "runs": 3, "warm_up": 1}
    )

    assert [len(round_) for round_ in found["rounds"]] == [3]
    assert all(0 < run < 10_000 for run in found["rounds"][0])


@pytest.mark.slow
def test_rounds_take_turns_in_processes_of_their_own(artifacts: Path, tmp_path: Path) -> None:
    """Two rounds of one file are two processes.

    A file that cannot be measured ends the table with its reason.
    """
    found = time_networks({"narrow U-Net": artifacts / "best.onnx"}, rounds=2, runs=2, threads=1)

    assert [len(round_) for round_ in found["narrow U-Net"].rounds] == [2, 2]
    with pytest.raises(SegdeployError, match="nowhere cannot be measured: there is no file"):
        time_networks({"nowhere": tmp_path / "no.onnx"}, rounds=1, runs=1, threads=1)
