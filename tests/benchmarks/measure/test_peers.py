"""The loops of other libraries.

The same network's masks are ours, and every mask has its image's size.
"""

from pathlib import Path

import numpy as np
import pytest

from segdeploy import datasets
from segdeploy.benchmarks.measure.peer_loops import to_network_batch
from segdeploy.benchmarks.measure.peers import PEERS, available_peers, load_peer
from segdeploy.benchmarks.measure.worker import load_system
from segdeploy.benchmarks.plan import Plan, variants_of
from segdeploy.benchmarks.results.variant import Variant
from segdeploy.benchmarks.run import peers_for
from segdeploy.errors import MissingExtraError
from segdeploy.imaging.preprocess import resize

SAME_NETWORK = ("torch loop", "torch.compile", "onnxruntime loop", "openvino loop")


def variant_of(name: str, artifacts: Path) -> Variant:
    """The loop on the first kind of artifact that it takes; skips where its library is missing."""
    if name not in available_peers(set(PEERS[name].suffixes))[0]:
        pytest.skip(f"{PEERS[name].library} is not installed")
    return Variant(artifact=str(artifacts / f"best{PEERS[name].suffixes[0]}"), threads=1, peer=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in PEERS if name != "torch.compile"])
def test_masks_have_the_images_size(artifacts: Path, name: str) -> None:
    """The work is the same from image to mask; the same network's labels are ours."""
    sample = datasets.load("streets", None, "val")[0]
    variant = variant_of(name, artifacts)

    system = load_system(variant)
    (mask,) = system.masks([sample.image])
    # Of the network's own size, so that the method of resizing does not matter.
    image = resize(sample.image, 45, width=60)

    assert (mask.shape, mask.dtype) == (sample.mask.shape, np.uint8)
    assert system.setting.threads == 1
    assert (system.card is not None) == (name in SAME_NETWORK)
    if name in SAME_NETWORK:
        (ours,) = load_system(Variant(artifact=variant.artifact, threads=1)).masks([image])
        assert (system.masks([image])[0] == ours).mean() > 0.99


def test_peers_are_measured_on_the_first_file_that_fits(tmp_path: Path) -> None:
    """Each is one row, named as the library is."""
    for name in ("a.onnx", "b.onnx", "c.pt"):
        (tmp_path / name).write_bytes(b"x")
    plan = Plan(
        artifacts=(tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "c.pt"),
        threads=(2,),
        peers=("torch loop", "onnxruntime loop"),
        dataset="streets",
        data=None,
        split="val",
        images=1,
        runs=1,
        warm_up=0,
        rounds=1,
    )

    variants = variants_of(plan)

    assert list(variants) == ["a.onnx", "b.onnx", "c.pt", "torch loop", "onnxruntime loop"]
    assert variants["torch loop"] == Variant(
        artifact=str(tmp_path / "c.pt"), threads=2, peer="torch loop"
    )
    assert variants["onnxruntime loop"].artifact == str(tmp_path / "a.onnx")


def test_library_that_is_not_installed_is_left_out_and_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A failing row for it would fail the benchmark of every user without it."""
    here, missing = available_peers({".onnx"})

    assert "onnxruntime loop" in here
    assert "torch loop" not in here + missing
    assert peers_for([Path("a.onnx")]) == tuple(here)
    printed = capsys.readouterr().err
    assert all(name in printed for name in missing)
    for name in missing:
        with pytest.raises(MissingExtraError, match=r"\[peers\]"):
            load_peer(Variant(artifact="a.onnx", peer=name))


def test_image_is_resized_and_converted_to_rgb() -> None:
    """A pure blue image in OpenCV's order has its blue last."""
    image = np.zeros((4, 8, 3), np.uint8)
    image[..., 0] = 200

    assert to_network_batch(image, 2, 4).tolist() == [[[[0, 0, 200]] * 4] * 2]
