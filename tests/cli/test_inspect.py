"""`segdeploy inspect` shows what a file says about itself."""

import json
from pathlib import Path

import pytest

from segdeploy.backends.loading import KINDS, read_card
from segdeploy.card import InputSpec, LabelClass, ModelCard, Training
from segdeploy.cli.inspect import describe
from segdeploy.cli.main import main
from segdeploy.metrics.segmentation import Scores


@pytest.mark.parametrize("suffix", sorted(KINDS))
def test_json_holds_the_whole_card(
    artifacts: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    path = artifacts / f"best{suffix}"

    main(["inspect", str(path), "--json"])

    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == path.stat().st_size
    assert found["backend"] == KINDS[suffix].name
    assert ModelCard.from_json(json.dumps(found["card"]), source="x") == read_card(path)


def test_tells_of_network_and_proof(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", str(artifacts / "best.onnx")])

    out, err = capsys.readouterr()
    assert "unet (depth 2, width 4)" in out
    assert "45x60 (height x width)" in out
    assert "100.0000% of the labels equal to torch" in out
    assert "answered by" in out
    assert err == f"next: segdeploy verify {artifacts / 'best.onnx'}\n"


def test_card_is_put_into_words() -> None:
    """A card of every part, by hand."""
    card = ModelCard(
        architecture="net",
        classes=(LabelClass(name="car", color=(9, 8, 7)), LabelClass(name="rest", color=(0, 0, 0))),
        input=InputSpec(
            height=32, width=64, mean=(0, 0, 0), std=(1, 1, 1), fit="pad", stride=32, dynamic=True
        ),
        training=Training(
            dataset="mine",
            data_hash="",
            recipe={},
            versions={"torch": "2.9.0", "segdeploy": "0.1.0"},
            seed=7,
            epochs=3,
        ),
        scores=Scores(miou=0.5, pixel_accuracy=0.75, dice=0.625, iou=(0.5, 0.5), pixels=4),
    )

    words = {name: text.plain for name, text in describe(card)}

    assert words == {
        "network": "net",
        "input": "any multiple of 32, usually 32x64 (height x width), images are padded to it",
        "output": "logits, fp32",
        "classes": "■ car, ■ rest",
        "training": "3 epochs on mine, seed 7, torch 2.9.0, segdeploy 0.1.0",
        "scores": "mIoU 50.00%, pixel accuracy 75.00%, Dice 62.50%",
    }


def test_file_that_is_no_artifact_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.onnx").write_text("hello")

    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(tmp_path / "x.onnx")])

    assert stop.value.code == 4
    assert "x.onnx is no ONNX file or a damaged one" in capsys.readouterr().err
