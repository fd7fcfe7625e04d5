"""Which images a file is proven on, and how it is compared with its reference."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from segdeploy import datasets
from segdeploy.arrays import Batch, Image, Logits, Mask
from segdeploy.card import InputSpec, ModelCard, Training
from segdeploy.errors import ConfigError, DataError
from segdeploy.export.proof import (
    DIFFERENCE_COLOR,
    count_comparisons,
    input_sizes,
    open_proof_images,
    prove,
    write_worst,
)
from segdeploy.imaging.io import read_image, write_image
from tests.helpers.cards import make_card, make_classes

STREETS_CARD = make_card(4, 4, classes=datasets.load("streets", None, "val").classes)


def trained(dataset: str, data: str) -> ModelCard:
    training = Training(
        dataset=dataset, data_hash="", recipe={"data": data}, versions={}, seed=0, epochs=1
    )
    return replace(STREETS_CARD, training=training)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Three images of 6x4 pixels in CamVid's layout."""
    for split in ("train", "val"):
        for name in "abc":
            write_image(tmp_path / split / f"{name}.png", np.zeros((4, 6, 3), np.uint8))
            write_image(tmp_path / f"{split}annot" / f"{name}.png", np.full((4, 6), 3, np.uint8))
    return tmp_path


def test_split_of_the_training_is_taken_where_it_still_is(camvid: Path) -> None:
    images = open_proof_images(
        trained("camvid", str(camvid)), dataset=None, data=None, files=[], most=20
    )

    assert images.source == "camvid val"
    assert len(images) == 3
    image, labels = images[0]
    assert image.shape == (4, 6, 3)
    assert labels is not None
    assert labels.tolist() == [[3] * 6] * 4


@pytest.mark.parametrize(
    "card",
    [trained("camvid", "/no/such/folder"), trained("carvana", ""), trained("a plugin's", "")],
)
def test_images_of_the_training_that_are_gone_are_asked_for(card: ModelCard) -> None:
    """A network for cars is never silently proven on synthetic streets."""
    with pytest.raises(DataError, match=r"are not found .*--verify.*--dataset and --data"):
        open_proof_images(card, dataset=None, data=None, files=[], most=2)


def test_network_of_unknown_training_is_proven_on_streets() -> None:
    images = open_proof_images(STREETS_CARD, dataset=None, data=None, files=[], most=2)

    assert images.source == "streets val"
    assert len(images) == 2
    assert images[0][1] is not None


def test_masks_of_other_classes_are_not_counted() -> None:
    """A network for two other classes is proven on streets without being scored on them."""
    card = replace(STREETS_CARD, classes=make_classes("car", "rest"))

    images = open_proof_images(card, dataset=None, data=None, files=[], most=1)

    assert images[0][1] is None


def test_named_images_are_taken(camvid: Path) -> None:
    images = open_proof_images(
        trained("camvid", str(camvid)), dataset=None, data=None, files=[camvid / "val"], most=2
    )

    assert len(images) == 2
    assert images.source == str(camvid / "val")
    assert images[1][1] is None


def test_missing_named_folder_is_an_error(tmp_path: Path) -> None:
    """A named folder is never silently replaced by synthetic streets."""
    with pytest.raises(DataError):
        open_proof_images(
            trained("camvid", ""), dataset=None, data=tmp_path / "none", files=[], most=2
        )


def test_folder_of_an_unknown_dataset_is_an_error(camvid: Path) -> None:
    with pytest.raises(ConfigError, match="--dataset"):
        open_proof_images(STREETS_CARD, dataset=None, data=camvid, files=[], most=2)


def test_images_and_a_dataset_are_an_error(camvid: Path) -> None:
    with pytest.raises(ConfigError, match="--verify"):
        open_proof_images(
            STREETS_CARD, dataset="camvid", data=camvid, files=[camvid / "val"], most=2
        )


CLASSES = make_classes("dark", "bright")
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
        labels = (image[..., 0] >= 50).astype(np.uint8)
        labels[2:] = 255
        return image, labels


def test_parity_is_counted_by_hand() -> None:
    """45 against 55: one of ten columns differs. The reference is always correct.

    The file misses one of five bright columns.
    """
    steps: list[str] = []

    parity = prove(Threshold(55), Threshold(45), images=Ramp(), on_step=steps.append).parity

    assert parity.agreement == pytest.approx(0.9)
    assert parity.class_agreement == pytest.approx((1, 0.8))
    assert parity.reference_miou == 1
    # dark: 5 of 6, bright: 4 of 5
    assert parity.miou == pytest.approx((5 / 6 + 4 / 5) / 2)
    assert parity.largest_difference == 10
    assert (parity.images, parity.source, parity.gate) == (1, "a ramp", 0.999)
    assert steps == ["90.000%"]


def test_near_a_boundary_is_counted_separately() -> None:
    """Within 3 columns of the boundary lie 6 columns, and one of them differs."""
    parity = prove(Threshold(55), Threshold(45), images=Ramp(), on_step=lambda _: None).parity

    assert parity.boundary_agreement == pytest.approx(5 / 6)


def test_dynamic_file_runs_at_three_input_sizes() -> None:
    """The size that was traced, an odd one, and an upright one."""
    file = Threshold(45, replace(SPEC, height=64, width=96, dynamic=True))

    prove(file, Threshold(45), images=Ramp(), on_step=lambda _: None)

    assert [shape[1:3] for shape in file.shapes] == [(64, 96), (49, 49), (96, 33)]
    assert count_comparisons(file.card, 1) == 3


def test_sizes_are_multiples_of_the_stride() -> None:
    assert input_sizes(replace(SPEC, height=64, width=96, stride=32, dynamic=True)) == [
        (64, 96),
        (32, 32),
        (96, 32),
    ]


def test_fixed_file_runs_at_its_own_size() -> None:
    assert input_sizes(SPEC) == [(4, 10)]


class Ramps:
    """Seven images without labels.

    On image n, the labels of n of ten columns lie between two thresholds of 5 and 5 + 10 n.
    """

    source = "ramps"

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        columns = np.where(np.arange(10) < index, 50, 200).astype(np.uint8)
        return np.broadcast_to(columns[None, :, None], (4, 10, 3)).copy(), None


def test_five_worst_images_are_kept_the_worst_first() -> None:
    """A column of 50 is bright to a threshold of 45 and dark to one of 55.

    N columns differ on image n.
    """
    worst = prove(Threshold(55), Threshold(45), images=Ramps(), on_step=lambda _: None).worst

    assert [one.agreement for one in worst] == pytest.approx([0.4, 0.5, 0.6, 0.7, 0.8])
    assert worst[0].mask[0].tolist() == [0] * 6 + [1] * 4
    assert worst[0].expected[0].tolist() == [1] * 10
    assert worst[0].batch.shape == (1, 4, 10, 3)


def test_worst_images_are_drawn_with_what_differs_marked(tmp_path: Path) -> None:
    """The image, the reference's mask, the file's, and the difference, side by side."""
    worst = prove(Threshold(55), Threshold(45), images=Ramps(), on_step=lambda _: None).worst

    paths = write_worst(tmp_path / "report", worst[:2], CLASSES)

    drawn = read_image(paths[0])
    assert [path.name for path in paths] == ["worst-1.png", "worst-2.png"]
    assert drawn.shape == (4, 40, 3)
    assert (drawn[:, 30:36] == DIFFERENCE_COLOR).all()
    assert (drawn[:, 36:] == 80).all()
