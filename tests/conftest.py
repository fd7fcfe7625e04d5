"""Fixtures that several test files share."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from segdeploy.system.machine import CPU_FEATURES
from segdeploy.system.plugins import LOADED

PROCESSORS = {
    "none": {CPU_FEATURES: "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "all": {CPU_FEATURES: "avx2,avx512f,avx_vnni,avx512_vnni,avx512_bf16"},
}
"""Processor features that SEGDEPLOY_TEST_CPU sets for a whole run and its child processes.

`none` has nothing but AVX2, and PyTorch's kernels keep to it; `all` says that it has everything.
"""

# PyTorch reads its part when it is imported, so it is set before any test is. Its cache of compiled
# networks does not know the limit, and a kernel for another processor ends the process.
if processor := os.environ.get("SEGDEPLOY_TEST_CPU"):
    os.environ.update(PROCESSORS[processor])
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{tempfile.gettempdir()}/torchinductor-{processor}"

# Hypothesis draws the same cases each time, so that a change is never blamed for an older fault;
# `make fuzz` searches for new ones with the profile "search". A case that it finds becomes an
# @example.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("same")

if TYPE_CHECKING:
    from segdeploy.export.writer import Candidate


@pytest.fixture(autouse=True)
def own_plugins() -> Iterator[None]:
    """Forget the plugins that a test loaded: commands of later tests would load them too."""
    yield
    LOADED.clear()


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder with real images and clips (data/camvid, video/dashcam.mp4 ...).

    Skips where there is none.
    """
    folder = Path(os.environ.get("SEGDEPLOY_DATA", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real images at {folder}; set SEGDEPLOY_DATA")
    return folder


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with best.pt: a narrow U-Net at 45x60 of random weights and trained norms."""
    import torch

    from segdeploy import datasets, models
    from segdeploy.card import InputSpec, ModelCard
    from segdeploy.models.checkpoint import Checkpoint, save_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    classes = datasets.load("streets", None, "val").classes
    network = models.build("unet", len(classes), width=4, depth=2)
    # Batch norms that never saw an image would let the logits grow until rounding decides the
    # labels.
    network.train()(torch.randn(8, 3, 45, 60))
    spec = InputSpec(height=45, width=60, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    card = ModelCard(
        architecture="unet", arguments={"width": 4, "depth": 2}, classes=classes, input=spec
    )
    save_checkpoint(
        folder / "best.pt", Checkpoint(card=card, weights=network.state_dict(), state={})
    )
    return folder


@pytest.fixture(scope="session")
def candidates(checkpoint_folder: Path) -> Mapping[str, "Candidate"]:
    """best.pt converted once to every format whose runtime is installed, by the format's name."""
    from segdeploy.export import onnx_format, torch_formats
    from segdeploy.models.checkpoint import load_checkpoint
    from tests.helpers.plans import make_plan

    checkpoint = load_checkpoint(checkpoint_folder / "best.pt")
    plan = make_plan(checkpoint.network(), checkpoint.card)
    onnx = onnx_format.convert(plan)
    converted: dict[str, Candidate] = {
        "onnx": onnx,
        "torchscript": torch_formats.to_torchscript(plan),
        "pt2": torch_formats.to_pt2(plan),
    }
    if find_spec("openvino"):
        from segdeploy.export import openvino_format

        converted["openvino"] = openvino_format.from_onnx(onnx, precision="fp32")
    if find_spec("MNN"):
        from segdeploy.export import mnn_format

        converted["mnn"] = mnn_format.from_onnx(onnx, checkpoint.card, options=())
    if find_spec("pnnx") and find_spec("ncnn"):
        from segdeploy.export import ncnn_format

        converted["ncnn"] = ncnn_format.convert(plan)
    return converted


@pytest.fixture(scope="session")
def artifacts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of best.pt, with a proven file of every format.

    The processes of pytest-xdist share it, because converting and proving takes seconds.
    """
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(shared / "artifacts.lock"):
        folder = shared / "artifacts"
        if not folder.exists():
            part = shared / "artifacts.part"
            shutil.copytree(request.getfixturevalue("checkpoint_folder"), part, dirs_exist_ok=True)
            write_artifacts(part, request.getfixturevalue("candidates"))
            part.rename(folder)
    return folder


def write_artifacts(folder: Path, candidates: Mapping[str, "Candidate"]) -> None:
    """Write a proven file of every candidate beside best.pt."""
    from segdeploy import datasets
    from segdeploy.export.plan import FORMATS
    from segdeploy.export.proof import DatasetSplit
    from segdeploy.export.writer import SingleCandidate, write_proven
    from segdeploy.models.checkpoint import load_checkpoint
    from tests.helpers.plans import make_plan

    checkpoint = load_checkpoint(folder / "best.pt")
    streets = datasets.load("streets", None, "val")
    images = DatasetSplit(source="streets val", dataset=streets, indices=[0, 30], labeled=True)
    plan = make_plan(checkpoint.network(), checkpoint.card, images=images)
    for name, candidate in candidates.items():
        path = folder / f"best{FORMATS[name].ending}"
        single = SingleCandidate(candidate=candidate)
        write_proven(path, single, plan, file_format=FORMATS[name])


@pytest.fixture(scope="session")
def tiny_camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in CamVid's layout.

    12 images to train and 3 to validate, 24x32, of sky over road with one car.
    """
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
    """Keep PyTorch to one thread.

    On tiny tensors, threads that wait for each other cost more than they gain.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
