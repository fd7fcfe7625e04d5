"""The scores are those of Cityscapes' own evaluation and of torchmetrics, on the same files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import pytest

from segdeploy import datasets
from segdeploy.arrays import Mask
from segdeploy.datasets.formats import cityscapes
from segdeploy.datasets.formats.cityscapes import CLASSES, ORIGINAL, to_original_ids
from segdeploy.metrics.scores import Scores
from segdeploy.metrics.segmentation import ConfusionMatrix

pytestmark = pytest.mark.slow

CITYSCAPES = ("cityscapesscripts==2.3.0", "numpy<2.4", "pillow", "pyquaternion==0.9.9")
"""The scripts use functions that numpy 2.4 removed, so they get a numpy of their own."""
TORCHMETRICS = ("torchmetrics==1.8.2", "lightning-utilities==0.15.2")

CITYSCAPES_SCRIPT = """
import json, sys
from pathlib import Path
import cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling as evaluation
labels = sorted(map(str, Path(sys.argv[1]).rglob("*_labelIds.png")))
names = [Path(path).name.replace("_gtFine_labelIds", "") for path in labels]
masks = [str(Path(sys.argv[2]) / name) for name in names]
args = evaluation.args
args.evalInstLevelScore = args.evalPixelAccuracy = args.JSONOutput = False
args.quiet = True
result = evaluation.evaluateImgLists(masks, labels, args)
print(json.dumps({"mean": result["averageScoreClasses"], "classes": result["classScores"]}))
"""
TORCHMETRICS_SCRIPT = """
import json, sys
from pathlib import Path
import numpy, torch
from torchmetrics import classification as metrics
content = numpy.load(sys.argv[1])
masks, labels = (torch.from_numpy(content[name]).long() for name in ("masks", "labels"))
kinds = {
    "classes": (metrics.MulticlassJaccardIndex, "none"),
    "mean": (metrics.MulticlassJaccardIndex, "macro"),
    "dice": (metrics.MulticlassF1Score, "macro"),
    "accuracy": (metrics.MulticlassAccuracy, "micro"),
}
scores = {}
for name, (kind, average) in kinds.items():
    metric = kind(19, ignore_index=255, average=average)
    scores[name] = metric(masks, labels).tolist()
print(json.dumps(scores))
"""


def environment(name: str, requirements: tuple[str, ...]) -> Path:
    """Return a folder with installed libraries, created once for each Python and each list of
    them."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = (
        Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        / "segdeploy-tests"
        / f"{name}-python{version}"
    )
    if folder.is_dir() and (folder / "made.json").read_text() == json.dumps(requirements):
        return folder
    part = folder.with_name(f"{folder.name}-{uuid4().hex}")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries",
        "1",
        "--timeout",
        "20",
        "--no-deps",
        "--target",
        str(part),
        *requirements,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode:
        shutil.rmtree(part, ignore_errors=True)
        pytest.skip(
            f"pip could not install {', '.join(requirements)}:"
            f" {done.stderr.strip().splitlines()[-1:]}"
        )
    (part / "made.json").write_text(json.dumps(requirements))
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


@pytest.fixture(scope="module")
def cityscapes_environment() -> Path:
    """Cityscapes' scripts with a numpy that they can use."""
    return environment("cityscapesscripts-2.3.0", CITYSCAPES)


@pytest.fixture(scope="module")
def torchmetrics_environment() -> Path:
    """torchmetrics, which finds torch where the tests do."""
    pytest.importorskip("torch")
    return environment("torchmetrics-1.8.2", TORCHMETRICS)


def run_script(script: str, *arguments: Path, libraries: Path, alone: bool) -> dict[str, object]:
    """Run a script with other libraries and read the JSON that it prints.

    `alone` hides the libraries of the tests.
    """
    flags = ["-S"] if alone else []
    command = [sys.executable, *flags, "-c", script, *map(str, arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(libraries)},
    )
    assert not done.returncode, done.stderr
    values: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return values


def scenes(count: int) -> list[tuple[Mask, Mask]]:
    """Draw labels with regions of all original ids except those of the last two classes, and masks
    that are wrong here and there.
    """
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(count):
        labels = cv2.resize(
            random.integers(0, 32, (8, 16), dtype=np.uint8),
            (256, 128),
            interpolation=cv2.INTER_NEAREST,
        )
        right = np.array([cityscapes.LABEL_IDS.table[identity] for identity in range(32)])[labels]
        # Motorcycle occurs in masks alone, bicycle nowhere.
        guess = cv2.resize(
            random.integers(0, 18, (16, 32), dtype=np.uint8),
            (256, 128),
            interpolation=cv2.INTER_NEAREST,
        )
        mask = np.where((random.random((128, 256)) < 0.7) & (right != 255), right, guess).astype(
            np.uint8
        )
        drawn.append((labels, mask))
    return drawn


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Mask]]:
    """A dataset in the official folders, the folder of the masks as original ids, and the masks."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out")
    (data / "gtFine/val/ulm").mkdir(parents=True)
    (data / "leftImg8bit/val/ulm").mkdir(parents=True)
    masks = []
    for number, (labels, mask) in enumerate(scenes(4)):
        name = f"ulm_000000_{number:06d}"
        cv2.imwrite(str(data / f"gtFine/val/ulm/{name}_gtFine_labelIds.png"), labels)
        cv2.imwrite(
            str(data / f"leftImg8bit/val/ulm/{name}_leftImg8bit.png"),
            np.zeros((128, 256, 3), np.uint8),
        )
        cv2.imwrite(str(out / f"{name}.png"), to_original_ids(mask))
        masks.append(mask)
    return data, out, masks


@pytest.fixture(scope="module")
def ours(files: tuple[Path, Path, list[Mask]]) -> Scores:
    """Our scores of the same files."""
    data, _, masks = files
    dataset = datasets.load("cityscapes", data, "val")
    counts = ConfusionMatrix(len(CLASSES))
    for index, mask in enumerate(masks):
        counts.add(mask, dataset[index].mask)
    return counts.scores()


def test_cityscapes_own_evaluation_agrees(
    files: tuple[Path, Path, list[Mask]], ours: Scores, cityscapes_environment: Path
) -> None:
    """A class that never occurs counts for neither."""
    data, out, _ = files

    theirs = run_script(CITYSCAPES_SCRIPT, data, out, libraries=cityscapes_environment, alone=True)

    classes = theirs["classes"]
    assert isinstance(classes, dict)
    assert ours.iou[17] == 0
    assert ours.iou[18] is None
    for entry, value in zip(CLASSES, ours.iou, strict=True):
        assert classes[entry.name] == pytest.approx(
            np.nan if value is None else value, abs=1e-6, nan_ok=True
        ), entry.name
    assert theirs["mean"] == pytest.approx(ours.miou, abs=1e-6)


def test_torchmetrics_agrees(
    files: tuple[Path, Path, list[Mask]],
    ours: Scores,
    torchmetrics_environment: Path,
    tmp_path: Path,
) -> None:
    """IoU of each class and their mean, Dice and pixel accuracy.

    torchmetrics returns 0 for a class that does not occur.
    """
    data, _, masks = files
    dataset = datasets.load("cityscapes", data, "val")
    np.savez(
        tmp_path / "masks.npz",
        masks=np.stack(masks),
        labels=np.stack([dataset[index].mask for index in range(len(masks))]),
    )

    theirs = run_script(
        TORCHMETRICS_SCRIPT, tmp_path / "masks.npz", libraries=torchmetrics_environment, alone=False
    )

    assert theirs["classes"] == pytest.approx([value or 0.0 for value in ours.iou], abs=1e-6)
    assert theirs["mean"] == pytest.approx(ours.miou, abs=1e-6)
    assert theirs["dice"] == pytest.approx(ours.dice, abs=1e-6)
    assert theirs["accuracy"] == pytest.approx(ours.pixel_accuracy, abs=1e-6)


def test_original_ids_come_back_as_classes(files: tuple[Path, Path, list[Mask]]) -> None:
    """The evaluation server gets the classes that were predicted."""
    _, out, masks = files

    sent = cv2.imread(str(out / "ulm_000000_000000.png"), cv2.IMREAD_UNCHANGED)

    assert set(np.unique(sent)) <= set(ORIGINAL)
    np.testing.assert_array_equal(np.array(cityscapes.LABEL_IDS.table)[sent], masks[0])
