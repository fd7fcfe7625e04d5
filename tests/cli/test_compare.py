"""`segdeploy compare` reports where two models differ, and fails above a limit."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace

from segdeploy.backends.loading import read_card
from segdeploy.card import LabelClass
from segdeploy.cli.compare import check_classes
from segdeploy.cli.main import main
from segdeploy.errors import ConfigError
from segdeploy.imaging.io import write_image


def test_two_formats_of_one_network_agree(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report lies beside its page."""
    arguments = [
        "--dataset",
        "streets",
        "--images",
        "2",
        "--output",
        str(tmp_path / "out"),
        "--max-disagreement",
        "0.1",
        "--json",
    ]

    main(["compare", str(artifacts / "best.onnx"), str(artifacts / "best.torchscript"), *arguments])

    assert json.loads(capsys.readouterr().out)["differing"] < 0.001
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.html",
        "report.json",
    ]


def test_gate_fails_above_the_given_share(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is still written: it shows why."""
    model = onnx.load(artifacts / "best.onnx")
    weight = next(
        tensor for tensor in model.graph.initializer if tensor.name == "network.head.weight"
    )
    values = onnx.numpy_helper.to_array(weight).copy()
    values[3] += 9
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    write_image(
        tmp_path / "street.png",
        np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8),
    )
    files = [
        str(artifacts / "best.onnx"),
        str(tmp_path / "other.onnx"),
        "--image",
        str(tmp_path / "street.png"),
    ]

    with pytest.raises(SystemExit) as stop:
        main(["compare", *files, "--output", str(tmp_path / "out"), "--max-disagreement", "1"])

    out, err = capsys.readouterr()
    assert stop.value.code == 6
    assert "more than the 1% that --max-disagreement allows" in err
    assert "most in an image" in out
    assert (tmp_path / "out" / "report.html").is_file()


def test_networks_of_other_classes_are_not_compared(artifacts: Path) -> None:
    """Label 3 could be road in one and sky in the other."""
    card = read_card(artifacts / "best.onnx")
    other = replace(
        card,
        classes=(*card.classes[:2], LabelClass(name="Cellar", color=(0, 0, 0)), *card.classes[3:]),
    )

    with pytest.raises(ConfigError, match="'Pole' and 'Cellar' at the same index"):
        check_classes(card, other)
    with pytest.raises(ConfigError, match="'Bicyclist' and 'none'"):
        check_classes(card, replace(card, classes=card.classes[:-1]))
