"""`segdeploy verify` finds what was changed after the export."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from msgspec.structs import replace

from segdeploy.backends.loading import KINDS, read_card
from segdeploy.card import CARD_KEY, CHECKSUM_KEY, SELF_TEST_KEY, LabelClass
from segdeploy.cli.main import main


def add_to_weight(path: Path, target: Path, *, amount: float, honest: bool) -> None:
    """Change one weight; with `honest`, write the checksum that fits."""
    model = onnx.load(path)
    tensor = next(
        tensor for tensor in model.graph.initializer if tensor.name == "network.stem.0.0.weight"
    )
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] += amount
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    target.write_bytes(model.SerializeToString())
    if honest:
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
    main(["verify", str(artifacts / f"best{suffix}"), "--device", "cpu", "--json"])

    assert json.loads(capsys.readouterr().out)["difference"] < 1e-4


def test_tells_what_was_checked(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", str(artifacts / "best.onnx"), "--device", "cpu"])

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "checksum",
        "card",
        "answer",
    ]


def test_smallest_change_of_a_weight_is_found(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too small to change one label, and still not what was proven."""
    add_to_weight(artifacts / "best.onnx", tmp_path / "changed.onnx", amount=1e-6, honest=False)

    code, message = refusal(tmp_path / "changed.onnx", capsys)

    assert code == 6
    assert "its checksum is another" in message


def test_answer_is_checked_beside_the_checksum(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checksum that fits says nothing about what the runtime makes of the file."""
    add_to_weight(artifacts / "best.onnx", tmp_path / "changed.onnx", amount=5, honest=True)

    code, message = refusal(tmp_path / "changed.onnx", capsys)

    assert code == 6
    assert "answers the built-in image otherwise" in message


def test_changed_card_is_found(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Swapped names of classes are as wrong as swapped weights."""
    model = onnx.load(artifacts / "best.onnx")
    card = read_card(artifacts / "best.onnx")
    renamed = replace(card, classes=(LabelClass(name="Cellar", color=(0, 0, 0)), *card.classes[1:]))
    texts = {entry.key: entry.value for entry in model.metadata_props} | {
        CARD_KEY: renamed.to_json()
    }
    onnx.helper.set_model_props(model, texts)
    (tmp_path / "changed.onnx").write_bytes(model.SerializeToString())

    assert refusal(tmp_path / "changed.onnx", capsys)[0] == 6


def test_file_without_an_answer_is_refused(
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
    assert "carries no answer" in message


def test_checkpoint_is_not_verified(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was never proven against anything: it is the reference."""
    code, message = refusal(artifacts / "best.pt", capsys)

    assert code == 4
    assert "segdeploy eval" in message


def test_onnx_is_verified_without_torch_and_data(artifacts: Path, tmp_path: Path) -> None:
    """A camera in the field has neither."""
    shutil.copy(artifacts / "best.onnx", tmp_path / "best.onnx")
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(['torch', 'onnx']))\nfrom segdeploy.cli.main"
        " import main\nmain(['verify', 'best.onnx'])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
