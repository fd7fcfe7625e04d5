"""A file is compared with its reference on images, and gets its name only if they agree."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from segdeploy.arrays import Batch, Image, Logits, Mask
from segdeploy.backends.loading import KINDS, read_card
from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.errors import OutputError, ProofError
from segdeploy.export.proof import MARK, prove, questions, sizes, write_worst
from segdeploy.export.torch_formats import TorchScriptCandidate
from segdeploy.export.torch_formats import to_torchscript as convert
from segdeploy.export.writer import Proving, make
from segdeploy.imaging.io import read_image
from segdeploy.inference.self_test import verify
from segdeploy.models.checkpoint import load_checkpoint

CLASSES = tuple(LabelClass(name=name, color=(0, 0, 0)) for name in ("dark", "bright"))
SPEC = InputSpec(height=4, width=10, mean=(0, 0, 0), std=(1, 1, 1))


class Threshold:
    """Says "bright" where red is above a value."""

    device = "torch cpu"

    def __init__(self, value: int, spec: InputSpec = SPEC) -> None:
        self.value = value
        self.card = ModelCard(architecture="threshold", classes=CLASSES, input=spec)
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: Batch) -> Logits:
        self.shapes.append(batch.shape)
        red = batch[..., 0].astype(np.float32)
        return np.stack([np.full_like(red, self.value), red], axis=1)


class Ramp:
    """One image of ten columns, 0, 10 ... 90, of which the upper half is labeled "bright" from
    50 on.
    """

    source = "a ramp"

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        image = np.broadcast_to(
            (np.arange(10, dtype=np.uint8) * 10)[None, :, None], (4, 10, 3)
        ).copy()
        truth = (image[..., 0] >= 50).astype(np.uint8)
        truth[2:] = 255
        return image, truth


def test_parity_is_counted_by_hand() -> None:
    """45 against 55: one of ten columns differs. The reference is all right.

    The file misses one of five bright columns.
    """
    steps: list[str] = []

    parity = prove(Threshold(55), Threshold(45), evidence=Ramp(), on_step=steps.append).parity

    assert parity.agreement == pytest.approx(0.9)
    assert parity.class_agreement == pytest.approx((1, 0.8))
    assert parity.reference_miou == 1
    # dark: 5 of 6, bright: 4 of 5
    assert parity.miou == pytest.approx((5 / 6 + 4 / 5) / 2)
    assert parity.largest_difference == 10
    assert (parity.images, parity.source, parity.gate) == (1, "a ramp", 0.999)
    assert steps == ["90.000%"]


def test_near_a_boundary_is_counted_apart() -> None:
    """Within 3 columns of the boundary lie 6 columns, and one of them differs."""
    parity = prove(Threshold(55), Threshold(45), evidence=Ramp(), on_step=lambda _: None).parity

    assert parity.boundary_agreement == pytest.approx(5 / 6)


def test_dynamic_file_is_asked_at_three_sizes() -> None:
    """The size that was traced, an odd one, and an upright one."""
    file = Threshold(45, replace(SPEC, height=64, width=96, dynamic=True))

    prove(file, Threshold(45), evidence=Ramp(), on_step=lambda _: None)

    assert [shape[1:3] for shape in file.shapes] == [(64, 96), (49, 49), (96, 33)]
    assert questions(file.card, 1) == 3


def test_sizes_are_multiples_of_the_stride() -> None:
    assert sizes(replace(SPEC, height=64, width=96, stride=32, dynamic=True)) == [
        (64, 96),
        (32, 32),
        (96, 32),
    ]


def test_fixed_file_is_asked_at_its_own_size() -> None:
    assert sizes(SPEC) == [(4, 10)]


class Ramps:
    """Seven images without truth.

    On image n, the labels of n of ten columns lie between two thresholds of 5 and 5 + 10 n.
    """

    source = "ramps"

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        columns = np.where(np.arange(10) < index, 50, 200).astype(np.uint8)
        return np.broadcast_to(columns[None, :, None], (4, 10, 3)).copy(), None


def test_five_worst_pictures_are_kept_the_worst_first() -> None:
    """A column of 50 is bright to a threshold of 45 and dark to one of 55.

    N columns differ on image n.
    """
    worst = prove(Threshold(55), Threshold(45), evidence=Ramps(), on_step=lambda _: None).worst

    assert [one.agreement for one in worst] == pytest.approx([0.4, 0.5, 0.6, 0.7, 0.8])
    assert worst[0].mask[0].tolist() == [0] * 6 + [1] * 4
    assert worst[0].expected[0].tolist() == [1] * 10
    assert worst[0].batch.shape == (1, 4, 10, 3)


def test_worst_pictures_are_drawn_with_what_differs_marked(tmp_path: Path) -> None:
    """The image, the reference's mask, the file's, and the difference, side by side."""
    worst = prove(Threshold(55), Threshold(45), evidence=Ramps(), on_step=lambda _: None).worst

    paths = write_worst(tmp_path / "report", worst[:2], CLASSES)

    drawn = read_image(paths[0])
    assert [path.name for path in paths] == ["worst-1.png", "worst-2.png"]
    assert drawn.shape == (4, 40, 3)
    assert (drawn[:, 30:36] == MARK).all()
    assert (drawn[:, 36:] == 80).all()


class OneStreet:
    """One drawn street without truth."""

    source = "one street"

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        return np.random.default_rng(index).integers(0, 256, (45, 60, 3), dtype=np.uint8), None


def test_proof_lies_in_the_file_and_the_file_verifies(artifacts: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(artifacts / "best.pt")
    network, card, kind = checkpoint.network(), checkpoint.card, KINDS[".torchscript"]
    path = tmp_path / "deep" / "best.torchscript"

    made = make(
        path,
        convert(network, card),
        kind=kind,
        network=network,
        card=card,
        proving=Proving(evidence=OneStreet()),
    )

    parity = read_card(path).parity
    assert parity == made.parity
    assert parity.miou is None
    assert parity.agreement == 1
    assert made.size == path.stat().st_size
    met = verify(path, kind, device="cpu").met
    assert met.difference is not None
    assert met.difference < 1e-4
    assert [entry.name for entry in path.parent.iterdir()] == ["best.torchscript"]


class Forgetful(TorchScriptCandidate):
    """Names a layer, as ONNX can."""

    def first_diverging(self, path: Path, batch: Batch) -> str:
        assert path.exists()
        assert batch.shape == (1, 45, 60, 3)
        return "network.head"


def test_failed_proof_leaves_nothing_and_names_the_layer(artifacts: Path, tmp_path: Path) -> None:
    """A file with the weights of another network must never get a name that somebody could run."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    other = checkpoint.network()
    other.network.head.bias.data[3] += 5
    spoiled = Forgetful(module=convert(other, checkpoint.card).module)

    with pytest.raises(
        ProofError,
        match=(
            r"was not written: on 1 images \(one street\) only .* diverges: network\.head; the"
            r" worst are drawn in"
        ),
    ):
        make(
            tmp_path / "best.torchscript",
            spoiled,
            kind=KINDS[".torchscript"],
            network=checkpoint.network(),
            card=checkpoint.card,
            proving=Proving(evidence=OneStreet(), report=lambda: tmp_path / "report"),
        )

    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "report",
        "report/worst-1.png",
    ]


class NoRoom(TorchScriptCandidate):
    """A candidate on a full disk."""

    def write(self, path: Path, texts: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")


def test_full_disk_keeps_the_old_file(artifacts: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(artifacts / "best.pt")
    path = tmp_path / "best.torchscript"
    path.write_bytes(b"old")
    network = checkpoint.network()

    with pytest.raises(OutputError, match="No space left"):
        make(
            path,
            NoRoom(module=convert(network, checkpoint.card).module),
            kind=KINDS[".torchscript"],
            network=network,
            card=checkpoint.card,
            proving=Proving(evidence=OneStreet()),
        )

    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["best.torchscript"]
