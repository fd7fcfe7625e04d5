"""`segdeploy inspect` shows the card of a file, `segdeploy verify` finds what changed in it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from msgspec.structs import replace

from segdeploy.backends.loading import KINDS, read_card
from segdeploy.card import (
    CARD_KEY,
    CHECKSUM_KEY,
    SELF_TEST_KEY,
    InputSpec,
    LabelClass,
    ModelCard,
    Training,
)
from segdeploy.cli.inspect import data_terms, describe, license_of
from segdeploy.cli.main import main
from segdeploy.metrics.scores import Scores
from tests.helpers.backends import artifact_of


@pytest.mark.parametrize("suffix", sorted(KINDS))
def test_json_holds_the_whole_card(
    artifacts: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    path = artifact_of(artifacts, suffix)

    main(["inspect", str(path), "--json"])

    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == path.stat().st_size
    assert found["backend"] == KINDS[suffix].name
    assert ModelCard.from_json(json.dumps(found["card"]), source="x") == read_card(path)


def test_shows_network_and_proof(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", str(artifacts / "best.onnx")])

    out, err = capsys.readouterr()
    assert "unet (depth 2, width 4)" in out
    assert "45x60 (height x width)" in out
    assert "100.0000% of the labels equal to torch" in out
    assert "run by onnxruntime" in out
    assert err == f"next: segdeploy verify {artifacts / 'best.onnx'}\n"


def test_describes_every_part_of_a_card() -> None:
    """A card with every part, written here."""
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

    lines = {name: text.plain for name, text in describe(card)}

    assert lines == {
        "network": "net",
        "input": "any multiple of 32, usually 32x64 (height x width), images are padded to it",
        "output": "logits, fp32",
        "classes": "■ car, ■ rest",
        "training": "3 epochs on mine, seed 7, torch 2.9.0, segdeploy 0.1.0",
        "scores": "mIoU 50.00%, pixel accuracy 75.00%, Dice 62.50%",
    }


def test_license_and_terms_of_the_data_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever ships a network must know what it was trained on."""
    main(["inspect", "street", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert "not for commercial use; see " in found["license"]
    assert list(found["data_terms"]) == ["camvid", "idd_lite"]
    assert "not for commercial use" in found["data_terms"]["camvid"]


def test_terms_of_other_files(artifacts: Path) -> None:
    """What is not known is said; a card without a training names no data."""
    card = read_card(artifacts / "best.onnx")
    training = Training(
        dataset="mine", data_hash="", recipe={"helper": "coco"}, versions={}, seed=0, epochs=1
    )

    assert data_terms(replace(card, training=training)) == {
        "mine": "not known here; ask who made it",
        "coco": "those of its images and annotations",
    }
    assert data_terms(card) == {}
    assert license_of(artifacts / "best.onnx") is None


def test_file_that_is_no_artifact_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.onnx").write_text("hello")

    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(tmp_path / "x.onnx")])

    assert stop.value.code == 4
    assert "x.onnx is not an ONNX file, or is damaged" in capsys.readouterr().err


def add_to_weight(path: Path, target: Path, *, amount: float, with_checksum: bool) -> None:
    """Change one weight; with `with_checksum`, update the checksum too."""
    model = onnx.load(path)
    tensor = next(
        tensor for tensor in model.graph.initializer if tensor.name == "network.stem.0.0.weight"
    )
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] += amount
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    target.write_bytes(model.SerializeToString())
    if with_checksum:
        texts = {entry.key: entry.value for entry in model.metadata_props} | {
            CHECKSUM_KEY: KINDS[".onnx"].checksum(target)
        }
        onnx.helper.set_model_props(model, texts)
        target.write_bytes(model.SerializeToString())


def refusal(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(path), "--device", "cpu"])
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".onnx", ".torchscript", ".pt2"])
def test_what_was_exported_passes(
    artifacts: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    main(["verify", str(artifact_of(artifacts, suffix)), "--device", "cpu", "--json"])

    assert json.loads(capsys.readouterr().out)["difference"] < 1e-4


def test_shows_what_was_verified(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", str(artifacts / "best.onnx"), "--device", "cpu"])

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "checksum",
        "card",
        "output",
    ]


def test_smallest_change_of_a_weight_is_found(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too small to change a label, and still not the file that was proven."""
    changed = tmp_path / "changed.onnx"
    add_to_weight(artifacts / "best.onnx", changed, amount=1e-6, with_checksum=False)

    code, message = refusal(changed, capsys)

    assert code == 6
    assert "its checksum differs" in message


def test_output_is_compared_beside_the_checksum(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A matching checksum says nothing about what the runtime computes."""
    add_to_weight(artifacts / "best.onnx", tmp_path / "changed.onnx", amount=5, with_checksum=True)

    code, message = refusal(tmp_path / "changed.onnx", capsys)

    assert code == 6
    assert "does not return the output for the built-in image" in message


def test_changed_card_is_found(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Swapped class names are as wrong as swapped weights."""
    model = onnx.load(artifacts / "best.onnx")
    card = read_card(artifacts / "best.onnx")
    renamed = replace(card, classes=(LabelClass(name="Cellar", color=(0, 0, 0)), *card.classes[1:]))
    texts = {entry.key: entry.value for entry in model.metadata_props} | {
        CARD_KEY: renamed.to_json()
    }
    onnx.helper.set_model_props(model, texts)
    (tmp_path / "changed.onnx").write_bytes(model.SerializeToString())

    assert refusal(tmp_path / "changed.onnx", capsys)[0] == 6


def test_file_without_a_self_test_is_refused(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(artifacts / "best.onnx")
    onnx.helper.set_model_props(
        model,
        {entry.key: entry.value for entry in model.metadata_props if entry.key != SELF_TEST_KEY},
    )
    (tmp_path / "mute.onnx").write_bytes(model.SerializeToString())

    code, message = refusal(tmp_path / "mute.onnx", capsys)

    assert code == 4
    assert "has no expected output" in message


def test_checkpoint_is_not_verified(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint is the reference that others are compared with."""
    code, message = refusal(artifacts / "best.pt", capsys)

    assert code == 4
    assert "segdeploy eval" in message


def test_onnx_is_verified_without_torch_and_data(artifacts: Path, tmp_path: Path) -> None:
    """An embedded device has neither."""
    shutil.copy(artifacts / "best.onnx", tmp_path / "best.onnx")
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(['torch', 'onnx']))\nfrom segdeploy.cli.main"
        " import main\nmain(['verify', 'best.onnx'])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
