"""What tests of several files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder with real pictures and clips (data/camvid, video/dashcam.mp4 ...); skips where there is none."""
    folder = Path(os.environ.get("SEGDEPLOY_DATA", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real pictures at {folder}; set SEGDEPLOY_DATA")
    return folder


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with best.pt, best.onnx and best.torchscript: a narrow U-Net of Streets' classes at 45x60, never trained but settled."""
    import torch

    from segdeploy import datasets, models
    from segdeploy.card import InputSpec, ModelCard
    from segdeploy.checkpoint import Checkpoint, save_checkpoint
    from segdeploy.export.converting import convert
    from segdeploy.export.evidence import Split
    from segdeploy.export.making import Proving, make

    folder = tmp_path_factory.mktemp("artifacts")
    torch.manual_seed(0)
    streets = datasets.load("streets", None, "val")
    network = models.build("unet", len(streets.classes), width=4, depth=2)
    # Batch norms that never saw a picture would let the logits grow until rounding decides the labels.
    network.train()(torch.randn(8, 3, 45, 60))
    spec = InputSpec(height=45, width=60, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    card = ModelCard(architecture="unet", arguments={"width": 4, "depth": 2}, classes=streets.classes, input=spec)
    checkpoint = Checkpoint(card=card, weights=network.state_dict(), state={})
    save_checkpoint(folder / "best.pt", checkpoint)
    evidence = Split(source="streets val", dataset=streets, indices=[0, 30], with_truth=True)
    for name in ("onnx", "torchscript"):
        deployed = checkpoint.network()
        candidate, kind = convert(name, deployed, card=card, opset=21)
        make(folder / f"best.{name}", candidate, kind=kind, network=deployed, card=card, proving=Proving(evidence=evidence))
    return folder


@pytest.fixture(scope="session")
def tiny_camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in CamVid's layout: 12 pictures to train and 3 to validate, 24x32, of sky over road with one car."""
    import cv2
    import numpy as np

    folder = tmp_path_factory.mktemp("camvid")
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 3)):
        (folder / split).mkdir()
        (folder / f"{split}annot").mkdir()
        for number in range(count):
            mask = np.zeros((24, 32), np.uint8)
            mask[random.integers(8, 14) :] = 3
            row, column = random.integers(12, 18), random.integers(0, 24)
            mask[row : row + 6, column : column + 8] = 8
            mask[-1] = 11
            colors = np.zeros((12, 3), np.uint8)
            colors[[0, 3, 8, 11]] = (230, 180, 120), (90, 90, 90), (30, 30, 200), (0, 0, 0)
            cv2.imwrite(str(folder / split / f"{number}.png"), colors[mask])
            cv2.imwrite(str(folder / f"{split}annot" / f"{number}.png"), mask)
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: on tiny tensors, threads that wait for each other cost more than they bring."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
