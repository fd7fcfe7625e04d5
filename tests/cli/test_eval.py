"""`segdeploy eval` on every kind of artifact."""

import json
from pathlib import Path

import numpy as np
import pytest

from segdeploy import datasets
from segdeploy.backends.loading import KINDS, load_backend
from segdeploy.cli.main import main
from segdeploy.imaging.io import write_image
from segdeploy.inference.evaluation import evaluate
from segdeploy.inference.predictor import Predictor
from tests.helpers.backends import artifact_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small images in CamVid's layout, of which a Sky and a Car are known."""
    folder = tmp_path_factory.mktemp("camvid")
    random = np.random.default_rng(0)
    for name in "abc":
        ids = np.full((30, 40), 11, np.uint8)
        ids[:15], ids[20:, :10] = 0, 8
        write_image(
            folder / "val" / f"{name}.png", random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        )
        write_image(folder / "valannot" / f"{name}.png", ids)
    return folder


@pytest.mark.parametrize("suffix", sorted(KINDS))
def test_scores_are_those_of_the_evaluation(
    artifacts: Path, folder: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    """The command changes no number, and all artifacts of a network have the same scores."""
    images = datasets.load("camvid", folder, "val")
    expected = evaluate(
        Predictor(load_backend(artifacts / "best.pt", device="cpu")),
        images,
        on_step=lambda _: None,
    )

    main(
        [
            "eval",
            str(artifact_of(artifacts, suffix)),
            "--dataset",
            "camvid",
            "--data",
            str(folder),
            "--device",
            "cpu",
            "--batch",
            "2",
            "--json",
        ]
    )

    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["miou"] == pytest.approx(expected.miou, abs=1e-3)
    assert found["scores"]["pixels"] == 3 * (15 * 40 + 10 * 10)
    assert list(found["classes"]) == [label.name for label in images.classes]
    assert (found["dataset"], found["split"], found["pictures"]) == ("camvid", "val", 3)


def test_prints_a_line_for_each_class(
    artifacts: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        [
            "eval",
            str(artifacts / "best.onnx"),
            "--dataset",
            "camvid",
            "--data",
            str(folder),
            "--device",
            "cpu",
        ]
    )

    out, err = capsys.readouterr()
    names = [label.name for label in datasets.load("camvid", folder, "val").classes]
    assert [line.split()[0] for line in out.splitlines()[1:12]] == names
    assert [line.rsplit(maxsplit=1)[0].strip() for line in out.splitlines()[12:]] == [
        "mIoU",
        "pixel accuracy",
        "Dice",
    ]
    assert "onnxruntime CPUExecutionProvider, 3 images of camvid val" in err
    assert f"next: segdeploy run --model {artifacts / 'best.onnx'}" in err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["none.onnx"], 4, "there is no file none.onnx"),
        (["{artifacts}/best.onnx"], 2, "--dataset"),
        (["{artifacts}/best.onnx", "--dataset", "nothing"], 2, "nothing"),
        (["{artifacts}/best.onnx", "--dataset", "streets", "--split", "test"], 2, "test"),
        (["{artifacts}/best.onnx", "--dataset", "camvid", "--data", "/no/such"], 3, "/no/such"),
        (
            ["{artifacts}/best.onnx", "--dataset", "streets", "--backend", "torch"],
            2,
            "run by onnxruntime",
        ),
        (["{artifacts}/best.onnx", "--dataset", "streets", "--device", "cuda:99"], 1, "cuda:99"),
    ],
)
def test_bad_input_gets_one_sentence(
    artifacts: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["eval", *(argument.format(artifacts=artifacts) for argument in arguments)])

    assert stop.value.code == code
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err
    assert err.count("\n") == 1


def test_refuses_to_score_without_labels(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zeros in a table would look like a bad network."""
    write_image(tmp_path / "val" / "a.png", np.zeros((30, 40, 3), np.uint8))
    write_image(tmp_path / "valannot" / "a.png", np.full((30, 40), 11, np.uint8))

    with pytest.raises(SystemExit) as stop:
        main(["eval", str(artifacts / "best.onnx"), "--dataset", "camvid", "--data", str(tmp_path)])

    assert stop.value.code == 3
    assert "camvid val has no labeled pixel" in capsys.readouterr().err


def test_network_is_scored_on_other_classes(
    artifacts: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that a network calls something else than sky or car counts as wrong."""
    (tmp_path / "classes.toml").write_text('[[classes]]\nname = "sky"\n[[classes]]\nname = "car"\n')
    for name in "abc":
        ids = np.full((30, 40), 255, np.uint8)
        ids[:15], ids[20:, :10] = 0, 1
        write_image(tmp_path / "val" / "masks" / f"{name}.png", ids)
        image = (folder / "val" / f"{name}.png").read_bytes()
        (tmp_path / "val" / "images").mkdir(exist_ok=True)
        (tmp_path / "val" / "images" / f"{name}.png").write_bytes(image)
    command = ["eval", str(artifacts / "best.onnx"), "--device", "cpu", "--json"]

    main([*command, "--dataset", "camvid", "--data", str(folder)])
    same = json.loads(capsys.readouterr().out)
    main([*command, "--dataset", "folder", "--data", str(tmp_path), "--map", "names"])
    mapped = json.loads(capsys.readouterr().out)

    assert mapped["classes"] == {
        "sky": same["classes"]["Sky"],
        "car": same["classes"]["Car"],
    }
    assert mapped["scores"]["pixels"] == same["scores"]["pixels"]


def test_masks_for_a_server_are_not_written_of_other_classes(
    artifacts: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(
            [
                *("eval", str(artifacts / "best.onnx"), "--dataset", "camvid"),
                *("--data", str(folder), "--map", "names", "--save-ids", str(tmp_path)),
            ]
        )

    assert stop.value.code == 2
    assert "--save-ids writes the network's own classes" in capsys.readouterr().err


def test_all_splits_are_scored_together(
    artifacts: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are there."""
    main(
        [
            *("eval", str(artifacts / "best.onnx"), "--dataset", "camvid"),
            *("--data", str(folder), "--split", "all", "--json"),
        ]
    )

    found = json.loads(capsys.readouterr().out)
    assert (found["split"], found["pictures"]) == ("all", 3)


def test_a_size_is_for_files_of_any_size(
    artifacts: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others say how they are exported for any."""
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(artifacts / "best.onnx"), "--data", str(folder), "--imgsz", "64"])

    assert ended.value.code == 2
    assert "export it with --dynamic, or leave out --imgsz" in capsys.readouterr().err
