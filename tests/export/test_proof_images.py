"""Which images a file is proven on."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from segdeploy import datasets
from segdeploy.card import InputSpec, LabelClass, ModelCard, Training
from segdeploy.errors import ConfigError, DataError
from segdeploy.export.proof import gather
from segdeploy.imaging.io import write_image

CARD = ModelCard(
    architecture="any",
    classes=datasets.load("streets", None, "val").classes,
    input=InputSpec(height=4, width=4, mean=(0, 0, 0), std=(1, 1, 1)),
)


def trained(dataset: str, data: str) -> ModelCard:
    return replace(
        CARD,
        training=Training(
            dataset=dataset, data_hash="", recipe={"data": data}, versions={}, seed=0, epochs=1
        ),
    )


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Three images of 6x4 pixels in CamVid's layout."""
    for split in ("train", "val"):
        for name in "abc":
            write_image(tmp_path / split / f"{name}.png", np.zeros((4, 6, 3), np.uint8))
            write_image(tmp_path / f"{split}annot" / f"{name}.png", np.full((4, 6), 3, np.uint8))
    return tmp_path


def test_split_of_the_training_is_taken_where_it_still_is(camvid: Path) -> None:
    evidence = gather(trained("camvid", str(camvid)), dataset=None, data=None, files=[], most=20)

    assert evidence.source == "camvid val"
    assert len(evidence) == 3
    image, truth = evidence[0]
    assert image.shape == (4, 6, 3)
    assert truth is not None
    assert truth.tolist() == [[3] * 6] * 4


@pytest.mark.parametrize(
    "card", [CARD, trained("camvid", "/no/such/folder"), trained("of a plugin", "")]
)
def test_streets_are_always_there(card: ModelCard) -> None:
    """A checkpoint from another machine can be proven too."""
    evidence = gather(card, dataset=None, data=None, files=[], most=2)

    assert evidence.source == "streets val"
    assert len(evidence) == 2
    assert evidence[0][1] is not None


def test_truth_of_other_classes_is_not_counted() -> None:
    """A network for two other classes is proven on streets without being scored on them."""
    card = replace(
        CARD,
        classes=(LabelClass(name="car", color=(0, 0, 0)), LabelClass(name="rest", color=(1, 1, 1))),
    )

    assert gather(card, dataset=None, data=None, files=[], most=1)[0][1] is None


def test_named_pictures_are_taken(camvid: Path) -> None:
    evidence = gather(
        trained("camvid", str(camvid)), dataset=None, data=None, files=[camvid / "val"], most=2
    )

    assert len(evidence) == 2
    assert evidence.source == str(camvid / "val")
    assert evidence[1][1] is None


def test_named_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """What somebody asked for is never replaced in silence."""
    with pytest.raises(DataError):
        gather(trained("camvid", ""), dataset=None, data=tmp_path / "none", files=[], most=2)


def test_folder_of_an_unknown_set_is_an_error(camvid: Path) -> None:
    with pytest.raises(ConfigError, match="--dataset"):
        gather(CARD, dataset=None, data=camvid, files=[], most=2)


def test_pictures_and_a_set_at_once_are_an_error(camvid: Path) -> None:
    with pytest.raises(ConfigError, match="--verify"):
        gather(CARD, dataset="camvid", data=camvid, files=[camvid / "val"], most=2)
