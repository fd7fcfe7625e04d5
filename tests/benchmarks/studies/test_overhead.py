"""Both implementations from an image to its mask do the same work."""

from pathlib import Path

import pytest

from segdeploy.benchmarks.measure.subcommands import call
from segdeploy.benchmarks.studies.overhead import compare, prepare, sentence


def test_ratio_is_that_of_rounds_side_by_side() -> None:
    """By hand: 60/10, 90/30 and 80/20 are 6, 3 and 4 times as fast, 4 in the middle."""
    spans = {"torch": [60.0, 90.0, 80.0], "onnx": [10.0, 30.0, 20.0]}

    said = sentence(spans, 2, (10, 20))

    assert (
        said
        == "10x20: PyTorch 80.0 ms, ONNX and Predictor 20.0 ms: 4.00 times as fast; 2 of 200 labels"
        " differ"
    )


@pytest.mark.slow
def test_masks_are_the_same(artifacts: Path, tmp_path: Path) -> None:
    """A faster implementation with another mask would prove nothing."""
    order = prepare(artifacts / "best.pt", tmp_path, (32, 64), call)

    spans, differing = compare(order, rounds=1)

    assert differing <= 2
    assert all(len(found) == 1 and found[0] > 0 for found in spans.values())
