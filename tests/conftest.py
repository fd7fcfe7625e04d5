"""What tests of several files share."""

import os
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
    from segdeploy.export.evidence import Split
    from segdeploy.export.making import convert, make

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
        make(folder / f"best.{name}", candidate, kind=kind, network=deployed, card=card, evidence=evidence, on_step=lambda _: None)
    return folder
