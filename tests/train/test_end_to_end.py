"""End to end: from images to a proven file, and through a killed process."""

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segdeploy.cli.main import main

SMALL = [
    "--imgsz",
    "24,32",
    "--workers",
    "0",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--set",
    "arguments.width=4",
    "--set",
    "arguments.depth=2",
]


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    """Carvana's layout: ten cars, one class beside the background, white in the masks."""
    random = np.random.default_rng(0)
    folder = tmp_path / "cars"
    for name in ("train", "train_masks"):
        (folder / name).mkdir(parents=True)
    for number in range(10):
        mask = np.zeros((24, 32), np.uint8)
        row, column = random.integers(2, 10), random.integers(2, 14)
        mask[row : row + 12, column : column + 16] = 255
        image = np.where(mask[..., None] > 0, (30, 30, 200), (200, 180, 160)).astype(np.uint8)
        cv2.imwrite(str(folder / "train" / f"{number:02}_01.png"), image)
        cv2.imwrite(str(folder / "train_masks" / f"{number:02}_01_mask.png"), mask)
    return folder


@pytest.mark.slow
def test_one_class_and_background_are_learned_and_exported(
    cars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two channels, losses of any kind, and an ONNX file that scores in its proof what the training
    printed.
    """
    monkeypatch.chdir(tmp_path)

    options = "--epochs 30 --batch 2 --lr 0.02 --loss ohem+dice+0.5*lovasz --val-every 10"
    weights = ["--class-weights", "median-frequency", "--name", "cars"]
    main(["train", "--dataset", "carvana", "--data", str(cars), *options.split(), *SMALL, *weights])
    main(["export", "runs/train/cars/best.pt", "--format", "onnx"])

    card = json.loads(torch.load("runs/train/cars/best.pt", weights_only=True)["segdeploy.card"])
    assert [entry["name"] for entry in card["classes"]] == ["background", "car"]
    assert card["scores"]["dice"] > 0.9
    assert Path("runs/train/cars/best.onnx").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("least", [0, 1], ids=["before the first step", "later"])
def test_killed_run_ends_with_the_same_weights(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    """SIGKILL at any moment leaves a whole last.pt, from which the run is resumed, with the same
    bits as an uninterrupted one.
    """
    monkeypatch.chdir(tmp_path)
    order = [
        "train",
        "--dataset",
        "camvid",
        "--data",
        str(tiny_camvid),
        "--epochs",
        "40",
        "--batch",
        "4",
        "--ema",
        "0.9",
        *SMALL,
    ]
    last = Path("runs/train/killed/last.pt")

    process = subprocess.Popen(
        [sys.executable, "-m", "segdeploy", *order, "--name", "killed"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while (
        not last.is_file() or torch.load(last, weights_only=True)["state"]["loop"]["step"] < least
    ):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = torch.load(last, weights_only=True)["state"]["loop"]["step"]
    main(["train", "--resume", "killed"])
    main([*order, "--name", "whole"])

    assert least <= done < 120
    killed, whole = (
        torch.load(f"runs/train/{name}/last.pt", weights_only=True) for name in ("killed", "whole")
    )
    assert all(
        torch.equal(killed["weights"][key], value) for key, value in whole["weights"].items()
    )
    assert killed["state"]["loop"]["step"] == whole["state"]["loop"]["step"] == 120
