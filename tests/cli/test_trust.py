"""`--trust`: every command that loads an artifact refuses an unknown part of it without."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import segdeploy
from segdeploy.backends.loading import KINDS
from segdeploy.card import CHECKSUM_KEY
from segdeploy.errors import UntrustedError
from tests.helpers.archives import changed
from tests.helpers.cli import run_cli

ENDINGS = (".torchscript", ".pt2")


@pytest.fixture(params=ENDINGS)
def unknown(request: pytest.FixtureRequest, artifacts: Path, tmp_path: Path) -> Path:
    """A file with an unknown entry and a checksum that is right."""
    suffix: str = request.param
    path, key = tmp_path / f"unknown{suffix}", f"extra/{CHECKSUM_KEY}"
    changed(
        artifacts / f"best{suffix}",
        path,
        lambda entries: entries.update({"data/notes.txt": b"unknown", key: b""}),
    )
    checksum = KINDS[suffix].checksum(path).encode()
    return changed(path, path, lambda entries: entries.update({key: checksum}))


COMMANDS = {
    "run": ["--model", "{file}", "--image", "{image}", "--output", "{folder}", "--save", "mask"],
    "eval": ["{file}", "--dataset", "streets"],
    "compare": ["{file}", "{good}", "--image", "{image}", "--output", "{folder}"],
    "verify": ["{file}"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_refuses_a_file_without_the_option_only(
    artifacts: Path,
    unknown: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """The message names the part and the option; the checksum of the file does not help it."""
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((45, 60, 3), np.uint8))
    names = {
        "file": unknown,
        "good": artifacts / "best.onnx",
        "image": tmp_path / "image.png",
        "folder": tmp_path / "results",
    }
    arguments = [argument.format(**names) for argument in COMMANDS[command]]

    assert run_cli(command, *arguments) == 4
    err = capsys.readouterr().err
    assert "an entry 'data/notes.txt'" in err
    assert "--trust" in err
    if command != "eval":
        assert run_cli(command, *arguments, "--trust") == 0


@pytest.mark.slow
def test_benchmark_gives_the_option_to_the_processes_that_measure(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each variant is loaded in a process of its own."""
    path = changed(
        artifacts / "best.torchscript",
        tmp_path / "unknown.torchscript",
        lambda entries: entries.update({"data/notes.txt": b"unknown"}),
    )
    arguments = [
        *(path, "--dataset", "streets", "--images", "1", "--runs", "1", "--rounds", "1"),
        *("--warm-up", "0", "--output", tmp_path / "report"),
    ]

    run_cli("benchmark", *arguments)
    refused = "".join(capsys.readouterr())
    run_cli("benchmark", *arguments, "--trust")
    loaded = "".join(capsys.readouterr())

    assert "an entry 'data/notes.txt'" in refused
    assert "an entry" not in loaded


def test_python_takes_the_option(unknown: Path) -> None:
    with pytest.raises(UntrustedError):
        segdeploy.load(unknown, device="cpu")

    assert segdeploy.load(unknown, device="cpu", trust=True).card.architecture == "unet"
