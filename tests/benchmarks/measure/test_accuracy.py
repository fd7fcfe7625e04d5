"""Networks with other classes are refused, and other names of classes are reported."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec import structs

from segdeploy.benchmarks.command import benchmark
from segdeploy.benchmarks.measure.accuracy import check_classes, other_names
from segdeploy.card import LabelClass
from segdeploy.errors import ModelError
from segdeploy.models.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def reversed_classes(artifacts: Path, tmp_path: Path) -> Path:
    """The checkpoint with its classes in the reverse order."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    path = tmp_path / "reversed_classes.pt"
    save_checkpoint(
        path,
        replace(
            checkpoint, card=structs.replace(checkpoint.card, classes=checkpoint.card.classes[::-1])
        ),
    )
    return path


def test_classes_other_than_the_references_are_refused(
    artifacts: Path, reversed_classes: Path, tmp_path: Path
) -> None:
    """As many classes in another order would look like a network with a bad score.

    A damaged file is a row that fails later.
    """
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf")
    files = [str(artifacts / "best.onnx"), str(reversed_classes), str(tmp_path / "broken.onnx")]

    result = CliRunner().invoke(
        benchmark, [*files, "--dataset", "streets", "--output", str(tmp_path / "out")]
    )

    assert isinstance(result.exception, ModelError)
    assert "best.onnx are Sky, " in str(result.exception)
    assert f"{reversed_classes} Bicyclist, " in str(result.exception)
    check_classes([artifacts / "best.onnx", reversed_classes], None)
    check_classes(
        [artifacts / "best.onnx", artifacts / "best.pt", tmp_path / "broken.onnx"],
        artifacts / "best.pt",
    )


def test_names_other_than_the_datasets_are_reported(
    artifacts: Path, reversed_classes: Path
) -> None:
    """An adopted network may spell its classes differently, so it is still measured."""
    classes = load_checkpoint(artifacts / "best.pt").card.classes
    spelled = (LabelClass(name="sky", color=(0, 0, 0)), *classes[1:])

    assert other_names([artifacts / "best.pt"], classes) == ()
    assert other_names([artifacts / "best.pt", artifacts / "best.onnx"], spelled) == (
        (
            "best.pt, best.onnx: the network's class 'Sky' is compared with 'sky' of the dataset;"
            " the scores are valid only if both mean the same."
        ),
    )
    assert (
        "'Bicyclist' is compared with 'Sky' of the dataset"
        in other_names([reversed_classes], classes)[0]
    )
