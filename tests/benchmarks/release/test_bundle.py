"""The bundled models: no data of the training machine, no large files, no partial result."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec import structs

from segdeploy.arrays import Batch, Logits
from segdeploy.backends.loading import read_card
from segdeploy.benchmarks.plan import Plan
from segdeploy.benchmarks.release.bundle import (
    DRAWN,
    ROOT,
    Sources,
    Targets,
    anonymized,
    build_bundle,
    check_sizes,
    read_history,
    reference_card,
)
from segdeploy.benchmarks.release.model_card import REPOSITORY, score_weather
from segdeploy.card import CARD_KEY, InputSpec, ModelCard, Training
from segdeploy.datasets.formats.camvid import CLASSES
from segdeploy.datasets.synthetic.dataset import Streets
from segdeploy.errors import ConfigError, DataError, GateError, ModelError, SegdeployError
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.scores import Scores
from segdeploy.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

TRAINING = Training(
    dataset="camvid",
    data_hash="abc",
    recipe={
        "data": "/home/somebody/camvid",
        "weights_backbone": "imagenet",
        "lr": 0.1,
        "arguments": {"width": 4},
    },
    versions={"torch": "2.9.0"},
    seed=7,
    epochs=2,
)
RESULTS = "epoch,loss,pixel_accuracy,miou,lr\n1,2.5,,,0.1\n2,1.25,0.75,0.5,0.01\n"


class Ground:
    """A backend that predicts sky in the upper half and road in the lower."""

    device = "fake cpu"
    card = ModelCard(
        architecture="fake",
        classes=CLASSES,
        input=InputSpec(height=8, width=8, mean=(0, 0, 0), std=(1, 1, 1)),
    )

    def run(self, batch: Batch) -> Logits:
        logits = np.zeros((len(batch), 11, 8, 8), np.float32)
        logits[:, 0, :4] = logits[:, 3, 4:] = 1
        return logits


@pytest.fixture
def trained(checkpoint_folder: Path, tmp_path: Path) -> Path:
    """Folder of a training that lasted two epochs."""
    loaded = load_checkpoint(checkpoint_folder / "best.pt")
    card = structs.replace(loaded.card, training=TRAINING)
    save_checkpoint(tmp_path / "best.pt", Checkpoint(card=card, weights=loaded.weights, state={}))
    (tmp_path / "results.csv").write_text(RESULTS)
    return tmp_path


def test_folders_of_the_training_machine_are_removed(trained: Path) -> None:
    """A path of that machine is private, and useless elsewhere."""
    cleaned = anonymized(load_checkpoint(trained / "best.pt"), "c0ffee").card.training

    assert cleaned == structs.replace(
        TRAINING,
        commit="c0ffee",
        recipe={"data": "", "weights_backbone": "imagenet", "lr": 0.1, "arguments": {"width": 4}},
    )


def test_a_commit_that_is_known_stays(trained: Path) -> None:
    """What the training recorded is more reliable than an option."""
    loaded = load_checkpoint(trained / "best.pt")
    known = replace(
        loaded, card=structs.replace(loaded.card, training=structs.replace(TRAINING, commit="beef"))
    )

    assert anonymized(known, "c0ffee").card.training == structs.replace(
        anonymized(loaded, "").card.training, commit="beef"
    )


def test_weights_of_unknown_origin_are_refused(checkpoint_folder: Path) -> None:
    """The card could not say whose data they were trained on."""
    with pytest.raises(ModelError, match="has no training"):
        anonymized(load_checkpoint(checkpoint_folder / "best.pt"), "")


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        (
            {"street": 9_000_000, "street-int8": 5_400_000},
            "street-int8 has 5.1 MiB and may have 5;",
        ),
        (
            {"street": 13_000_000, "street-int8": 4_000_000},
            "the bundle has 16.2 MiB and may have 16;",
        ),
    ],
)
def test_a_large_bundle_is_refused(sizes: dict[str, int], sentence: str) -> None:
    """It would make every installation larger."""
    with pytest.raises(GateError, match=sentence):
        check_sizes(sizes)


def test_curve_has_only_scored_epochs(trained: Path) -> None:
    """The others have a loss alone."""
    assert [row["epoch"] for row in read_history(trained / "results.csv")] == ["2"]
    with pytest.raises(DataError, match="name the run's folder with --run"):
        read_history(trained / "nowhere.csv")


def test_the_worst_scene_is_shown() -> None:
    """By the first network; scores are of all scenes, and drawings have three parts beside each
    other.
    """
    scenes = Streets(split="val", count=3, height=48, width=64, weather="fog")
    network = Predictor(Ground())

    found = score_weather([network, network], scenes, lambda _: None)

    rights = [
        float((network.mask(scenes[index].image) == scenes[index].mask).mean())
        for index in range(3)
    ]
    assert found.scores[0] == found.scores[1]
    assert found.scores[0].pixel_accuracy == pytest.approx(sum(rights) / 3)
    assert found.worst.name in scenes.names
    assert found.draw().shape == (180, 3 * 240, 3)


def test_weights_that_saw_the_validation_split_need_a_reference(trained: Path) -> None:
    """After `train --final` the files' own scores are misleading."""
    card = load_checkpoint(trained / "best.pt").card
    final = structs.replace(
        card, training=structs.replace(TRAINING, recipe={**TRAINING.recipe, "final": True})
    )
    scores = Scores(miou=0.5, pixel_accuracy=0.5, dice=0.5, iou=(0.5,) * 11, pixels=9)
    save_checkpoint(
        trained / "reference.pt",
        Checkpoint(card=structs.replace(card, scores=scores), weights={}, state={}),
    )

    assert reference_card(card, None) is None
    assert reference_card(final, trained / "reference.pt").scores == scores
    with pytest.raises(ConfigError, match="leave out --reference"):
        reference_card(card, trained / "reference.pt")
    for path in (None, trained / "best.pt"):
        with pytest.raises(ConfigError, match="name the same network's checkpoint that did not"):
            reference_card(final, path)


@pytest.mark.slow
def test_bundle_is_built(trained: Path, artifacts: Path, tiny_camvid: Path) -> None:
    """From a checkpoint to files, card and drawings.

    `segdeploy export` is called for both files.
    """
    asked: list[Sequence[str]] = []

    def export(arguments: Sequence[str]) -> str:
        asked.append(arguments)
        model = onnx.load(artifacts / "best.onnx")
        card = structs.replace(
            read_card(artifacts / "best.onnx"),
            training=load_checkpoint(Path(arguments[2])).card.training,
        )
        onnx.helper.set_model_props(model, {CARD_KEY: card.to_json()})
        onnx.save(model, arguments[arguments.index("--output-file") + 1])
        return ""

    plan = Plan(
        artifacts=(),
        dataset="camvid",
        data=tiny_camvid,
        split="val",
        images=None,
        runs=1,
        warm_up=0,
        rounds=1,
    )
    assets, images = trained / "assets", trained / "drawn"

    sources = Sources(
        checkpoint=trained / "best.pt",
        results=trained / "results.csv",
        commit="c0ffee",
        scenes=1,
    )

    build_bundle(sources, plan, Targets(assets=assets, images=images), run=export)

    assert [arguments[arguments.index("--precision") + 1] for arguments in asked] == [
        "fp32",
        "int8",
    ]
    assert sorted(path.name for path in assets.iterdir()) == [
        "MODEL_CARD.md",
        "street-int8.onnx",
        "street.onnx",
    ]
    assert sorted(path.stem for path in images.iterdir()) == sorted(["street", *DRAWN])
    page = (assets / "MODEL_CARD.md").read_text()
    assert "| 2 | 1.250 | 75.00% | 50.00% |" in page
    assert "seed 7" in page
    assert "`c0ffee`" in page
    assert "| Bicyclist |" in page
    assert "| night |" in page
    assert str(trained) not in page
    assert "/home" not in page


@pytest.mark.slow
def test_a_failure_leaves_the_old_bundle(trained: Path, tiny_camvid: Path) -> None:
    """The previous proven files are better than part of the new ones."""
    (trained / "assets").mkdir()
    (trained / "assets" / "street.onnx").write_text("old")

    def refuse(_: Sequence[str]) -> str:
        msg = "int8 spoils this network"
        raise SegdeployError(msg)

    plan = Plan(
        artifacts=(),
        dataset="camvid",
        data=tiny_camvid,
        split="val",
        images=None,
        runs=1,
        warm_up=0,
        rounds=1,
    )
    sources = Sources(checkpoint=trained / "best.pt", results=trained / "results.csv", scenes=1)
    targets = Targets(assets=trained / "assets", images=trained / "drawn")
    with pytest.raises(SegdeployError, match="int8 spoils"):
        build_bundle(sources, plan, targets, run=refuse)

    assert [path.read_text() for path in (trained / "assets").iterdir()] == ["old"]
    assert not (trained / "drawn").exists()


def test_drawings_belong_to_the_repository() -> None:
    """A wrong folder would leave the old drawings beside new weights."""
    assert (ROOT / "setup.cfg").is_file()
    assert (ROOT / REPOSITORY).is_dir()
