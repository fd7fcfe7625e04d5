"""`segdeploy export`, from a checkpoint to proven files."""

import json
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from msgspec.structs import replace

from segdeploy.backends.loading import read_card
from segdeploy.cli.main import main
from segdeploy.errors import ConfigError
from segdeploy.export.command import (
    describe,
    name_suffix,
    name_targets,
    print_candidates,
    print_result,
)
from segdeploy.export.writer import Artifact, ExportResult
from tests.helpers.cards import make_card
from tests.helpers.int8 import make_candidate, make_parity

QUICK = ["--format", "torchscript", "--proof-images", "1"]

UNKNOWN_TRAINING = (
    "the card names no dataset that the network was trained on, so the proof is on synthetic"
    " streets; name images like those that it will see with --verify\n"
)
"""Note on a checkpoint of the tests, which nobody has trained."""


@pytest.fixture
def checkpoint(artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the checkpoint, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(artifacts / "best.pt", tmp_path / "best.pt"))


@pytest.mark.slow
def test_writes_several_formats_beside_the_checkpoint(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        [
            "export",
            str(checkpoint),
            "--format",
            "onnx,torchscript",
            "--proof-images",
            "2",
            "--json",
        ]
    )

    out, err = capsys.readouterr()
    results = json.loads(out)
    assert [Path(entry["path"]).name for entry in results] == ["best.onnx", "best.torchscript"]
    assert all(
        entry["parity"]["agreement"] >= 0.999 and entry["parity"]["pictures"] == 2
        for entry in results
    )
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == [
        "best.onnx",
        "best.pt",
        "best.torchscript",
    ]
    assert err == (
        f"{UNKNOWN_TRAINING}next: segdeploy run --model {checkpoint.with_suffix('.onnx')} IMAGE\n"
    )


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
from segdeploy.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="only here a file's size can be limited")
@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_full_disk_gets_one_sentence_from_openvino_too(checkpoint: Path) -> None:
    """Its writer reports only a stream error, and raises no OSError."""
    arguments = ["export", str(checkpoint), "--format", "openvino", "--proof-images", "1"]

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith(
        f"{UNKNOWN_TRAINING}segdeploy: cannot write {checkpoint.with_suffix('.xml')}: OpenVINO says"
        " only"
    )
    assert done.stderr.count("\n") == 2
    assert [path.name for path in checkpoint.parent.iterdir()] == ["best.pt"]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_proven_file_is_reported_if_the_next_format_fails(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    """The file exists, and its proof took time."""
    Path("best.triton").write_text("mine")

    with pytest.raises(SystemExit) as stop:
        main(
            [
                "export",
                str(checkpoint),
                "--format",
                "torchscript,triton",
                "--proof-images",
                "1",
                *more,
            ]
        )

    out, err = capsys.readouterr()
    assert (stop.value.code, "best.triton is a file" in err) == (1, True)
    assert "best.torchscript" in out
    assert Path("best.torchscript").is_file()
    assert not more or [Path(entry["path"]).name for entry in json.loads(out)] == [
        "best.torchscript"
    ]


def test_prints_how_the_file_was_proven(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", str(checkpoint), *QUICK, "-o", "small.torchscript", "--imgsz", "30,40"])

    assert "labels equal to PyTorch's: 100.0000%" in capsys.readouterr().out
    spec = read_card(Path("small.torchscript")).input
    assert (spec.height, spec.width, spec.dynamic) == (30, 40, False)


def test_takes_the_newest_run_where_no_checkpoint_is_named(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path("runs/train/first")
    run.mkdir(parents=True)
    shutil.move(checkpoint, run / "best.pt")

    main(["export", *QUICK])

    assert (run / "best.torchscript").is_file()
    assert "exporting runs/train/first/best.pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["none.pt"], 4, "there is no file none.pt"),
        ([], 4, "run 'segdeploy train' first"),
        (["best.pt", "--format", "tflite"], 2, "no format 'tflite'"),
        (["best.pt", "--format", "onnx,torchscript", "-o", "x.onnx"], 2, "name one format"),
        (["best.pt", "--imgsz", "big"], 2, "is not a size"),
        (["best.pt", "--imgsz", "1,2,3"], 2, "is not a size"),
        (["best.pt", "--imgsz", "0"], 2, "is not a size"),
        (["best.pt", "--opset", "7"], 2, "opset"),
        (
            ["best.pt", "--format", "torchscript", "--precision", "fp16"],
            2,
            "torchscript cannot be fp16; choose --precision fp32",
        ),
        (["best.pt", "--confidence"], 2, "add --output classes"),
        (["best.pt", "--dataset", "camvid", "--data", "nowhere"], 3, "nowhere"),
        (["best.pt", "--verify", "nowhere"], 3, "nowhere"),
    ],
)
def test_bad_input_gets_one_sentence(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", *arguments])

    assert stop.value.code == code
    assert text in capsys.readouterr().err
    assert [path.name for path in checkpoint.parent.iterdir()] == ["best.pt"]


def test_name_must_end_as_the_format_does() -> None:
    """The ending determines the runtime."""
    with pytest.raises(ConfigError, match=r"\.onnx"):
        name_targets(Path("a.pt"), formats=["onnx"], suffix="", output_file=Path("model.bin"))


def test_files_of_several_kinds_lie_beside_each_other() -> None:
    """An int8 file must not replace the one that it is compared with."""
    assert name_targets(
        Path("d/best.pt"), formats=["onnx"], suffix=name_suffix("int8", "classes"), output_file=None
    ) == {"onnx": Path("d/best-int8-classes.onnx")}
    assert name_suffix("fp32", "logits") == ""


@pytest.mark.slow
def test_killed_export_leaves_no_file_under_the_final_name(checkpoint: Path) -> None:
    """A file left by kill -9 must not have the name of a finished file."""
    part = checkpoint.with_name("best.torchscript.part")
    command = [
        sys.executable,
        "-m",
        "segdeploy",
        "export",
        "best.pt",
        "--format",
        "torchscript",
        "--proof-images",
        "60",
    ]
    with subprocess.Popen(
        command, cwd=checkpoint.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not part.exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()

    assert process.returncode == -9
    assert not checkpoint.with_suffix(".torchscript").exists()


def test_malicious_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pickle that would run code is never unpickled."""
    (tmp_path / "evil.pt").write_bytes(
        b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR."
    )

    with pytest.raises(SystemExit) as stop:
        main(["export", str(tmp_path / "evil.pt")])

    assert stop.value.code == 4
    assert not (tmp_path / "owned").exists()


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom segdeploy.cli.main import main\ntry:\n    main(['export',"
        " '--help'])\nfinally:\n    assert 'torch' not in sys.modules"
    )

    assert (
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        == 0
    )


@pytest.mark.slow
def test_camvid_checkpoint_is_proven_on_its_images(real: Path, checkpoint: Path) -> None:
    """Real images of 480x360: resized to the input, and the masks compared at their own size."""
    main(
        [
            "export",
            str(checkpoint),
            *QUICK[:2],
            "--dataset",
            "camvid",
            "--data",
            str(real / "data" / "camvid"),
            "--proof-images",
            "3",
        ]
    )

    parity = read_card(checkpoint.with_suffix(".torchscript")).parity
    assert parity is not None
    assert parity.source == "camvid val"
    assert parity.agreement >= 0.999
    assert parity.miou == pytest.approx(parity.reference_miou, abs=1e-3)


CARD = make_card(4, 4, classes=("a", "b"))


def test_table_shows_what_was_lost(capsys: pytest.CaptureFixture[str]) -> None:
    print_candidates(
        [
            make_candidate("minmax", parity=make_parity(miou=0.4951)),
            make_candidate("entropy", speed=0.5, parity=make_parity(miou=0.4)),
            make_candidate("x", parity=make_parity(miou=None)),
        ]
    )

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == [
        "minmax",
        "49.51%",
        "0.49",
        "99.00%",
        "10.0",
        "20.0",
        "2.00x",
        "0.0",
        "passes",
    ]
    assert lines[2] == [
        "entropy",
        "40.00%",
        "10.00",
        "99.00%",
        "10.0",
        "5.0",
        "0.50x",
        "0.0",
        "fails",
    ]
    assert lines[3] == ["x", "99.00%", "10.0", "20.0", "2.00x", "0.0", "passes"]


def test_table_of_an_error_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that reads stdout must not find a result."""
    print_candidates([make_candidate("minmax")], stderr=True)

    out, err = capsys.readouterr()
    assert (out, "minmax" in err) == ("", True)


def test_file_that_is_slower_than_float32_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """Int8 is for speed, and on some machines and networks it gains none."""
    slow, fast = make_candidate("entropy", speed=0.5), make_candidate("minmax", speed=2)

    for chosen in (slow, fast):
        card = replace(CARD, conversion=chosen.conversion)
        artifact = Artifact(
            path=Path("best-int8.onnx"), size=1, card=card, parity=make_parity(), device="cpu"
        )
        print_result(ExportResult(artifact=artifact, candidates=(slow, fast)))

    assert (
        capsys.readouterr().out.count(
            "int8 is slower than fp32 on this machine: 10.0 ms against 5.0 ms"
        )
        == 1
    )


@pytest.mark.parametrize(
    ("precision", "device", "count"),
    [
        ("bf16", "openvino CPU f32", 1),
        ("bf16", "openvino CPU bf16", 0),
        ("fp16", "openvino CPU f32", 1),
        ("fp16", "onnxruntime CPUExecutionProvider", 1),
        ("fp16", "onnxruntime CUDAExecutionProvider", 0),
        ("fp32", "openvino CPU f32", 0),
    ],
)
def test_output_says_where_half_precision_was_computed_in_float32(
    precision: str, device: str, count: int
) -> None:
    """Such a proof says nothing of the rounding that the file will have elsewhere."""
    artifact = Artifact(
        path=Path("a.xml"),
        size=1,
        card=replace(CARD, precision=precision),
        parity=make_parity(),
        device=device,
    )

    assert describe(artifact).count(f"this device computes {precision} files in float32") == count
