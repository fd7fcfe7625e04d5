"""A whole run: the files that it writes, and that it resumes exactly."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from msgspec.structs import replace

from segdeploy import datasets
from segdeploy.backends.loading import load_backend
from segdeploy.errors import ConfigError, DataError, DeviceError, InterruptedRun, ModelError
from segdeploy.inference.evaluation import evaluate
from segdeploy.inference.predictor import Predictor
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.train.history import Epoch
from segdeploy.train.recipe import Recipe
from segdeploy.train.recipe_file import load_recipe
from segdeploy.train.trainer import Trainer


def make_recipe(data: Path) -> Recipe:
    """Return a recipe of four short epochs."""
    return Recipe(
        arguments={"width": 4, "depth": 2},
        dataset="camvid",
        data=str(data),
        epochs=4,
        imgsz=(24, 32),
        batch=4,
        lr=0.01,
        amp=False,
        device="cpu",
        threads=1,
        workers=0,
    )


@pytest.fixture
def recipe(tiny_camvid: Path, one_thread: None) -> Recipe:
    """Four short epochs."""
    return make_recipe(tiny_camvid)


def ignore(_: Epoch) -> None:
    """No line."""


def stop_after(epochs: int) -> Callable[[Epoch], None]:
    """Request a stop as a scheduler does, once so many epochs were reported.

    The run finishes one step of the next epoch.
    """
    return lambda epoch: os.kill(os.getpid(), signal.SIGTERM) if epoch.epoch == epochs else None


@pytest.fixture(scope="module")
def finished(
    tiny_camvid: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Epoch]]:
    """The folder and the epochs of a whole run, which tests only read."""
    folder = tmp_path_factory.mktemp("finished")
    epochs: list[Epoch] = []
    Trainer(make_recipe(tiny_camvid)).fit(folder, report=epochs.append)
    return folder, epochs


def test_writes_checkpoints_metrics_and_plots(finished: tuple[Path, list[Epoch]]) -> None:
    """Every file is complete, and no temporary one is left."""
    folder, epochs = finished

    assert sorted(path.name for path in folder.iterdir()) == [
        "best.pt",
        "classes.png",
        "confusion.png",
        "curves.png",
        "last.pt",
        "recipe.toml",
        "results.csv",
        "samples.png",
    ]
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4]
    for name in ("classes", "confusion", "curves", "samples"):
        assert cv2.imread(str(folder / f"{name}.png")).shape[2] == 3
    rows = (folder / "results.csv").read_text().splitlines()
    assert rows[0] == "epoch,loss,pixel_accuracy,miou,images_per_second,lr,seconds"
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3", "4"]


def test_card_holds_the_training(finished: tuple[Path, list[Epoch]], recipe: Recipe) -> None:
    """The file can be trained again from its card."""
    folder, epochs = finished

    best, last = load_checkpoint(folder / "best.pt"), load_checkpoint(folder / "last.pt")
    winner = max(epochs, key=lambda epoch: epoch.miou or 0)
    assert best.card.scores is not None
    assert best.card.training is not None
    assert last.card.training is not None
    assert best.card.scores.miou == winner.miou
    assert (best.card.training.epochs, last.card.training.epochs) == (winner.epoch, 4)
    assert Recipe.from_dict(best.card.training.recipe, source="card") == recipe
    assert best.card.training.versions["torch"] == torch.__version__.partition("+")[0]
    assert len(best.card.training.data_hash) == 64
    assert not best.state
    assert last.state


def test_chosen_precision_is_stored_with_the_run(recipe: Recipe, tmp_path: Path) -> None:
    """A resumed run, and one that starts from the folder's recipe, does not measure again: noise
    could decide otherwise, and the weights would have other bits.
    """
    Trainer(replace(recipe, amp="auto", epochs=1)).fit(tmp_path, report=ignore)

    stored = load_recipe(tmp_path / "recipe.toml")
    training = load_checkpoint(tmp_path / "last.pt").card.training
    assert training is not None
    assert isinstance(stored.amp, bool)
    assert training.recipe["amp"] is stored.amp


@pytest.mark.slow
def test_score_in_the_card_is_what_the_file_scores(recipe: Recipe, tmp_path: Path) -> None:
    """Validation uses the same code as `eval`."""
    Trainer(recipe).fit(tmp_path, report=ignore)

    backend = load_backend(tmp_path / "best.pt", device="cpu")
    scores = evaluate(
        Predictor(backend),
        datasets.load("camvid", Path(recipe.data), "val"),
        on_step=lambda _: None,
    )

    assert backend.card.scores is not None
    assert scores.miou == pytest.approx(backend.card.scores.miou, abs=1e-6)
    assert scores.pixels == backend.card.scores.pixels


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": 0.9, "schedule": "cosine", "accumulate": 2, "batch": 3, "amp": True},
        {"optimizer": "sgd", "loss": "0.5*ohem+lovasz", "val_every": 3},
    ],
)
def test_resumed_run_ends_with_the_same_weights(
    recipe: Recipe, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Two epochs and one step, an interruption, and the rest are bit for bit four epochs."""
    recipe = replace(recipe, **changes)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()

    Trainer(recipe).fit(whole, report=ignore)
    with pytest.raises(
        InterruptedRun,
        match=r"after 2 epochs and 1 steps; resume with: segdeploy train --resume .*last\.pt",
    ):
        Trainer(recipe).fit(parts, report=stop_after(2))
    torch.manual_seed(123)
    Trainer(recipe, load_checkpoint(parts / "last.pt")).fit(parts, report=ignore)

    for name in ("last.pt", "best.pt"):
        one, other = load_checkpoint(whole / name), load_checkpoint(parts / name)
        assert all(torch.equal(one.weights[key], other.weights[key]) for key in one.weights)
        assert one.card.scores == other.card.scores
    rows = [
        [line.split(",")[1:4] for line in (folder / "results.csv").read_text().splitlines()]
        for folder in (whole, parts)
    ]
    assert len(rows[0]) == 5
    assert rows[0] == rows[1]


def test_a_second_signal_ends_a_run_at_once(recipe: Recipe, tmp_path: Path) -> None:
    """A user who presses Ctrl-C twice does not wait for the end of a step.

    The last checkpoint is complete.
    """

    def interrupt_twice(_: Epoch) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRun, match=r"interrupted at once; .* --resume .*last\.pt"):
        Trainer(recipe).fit(tmp_path, report=interrupt_twice)

    assert load_checkpoint(tmp_path / "last.pt").state["loop"]["done"] == 0


def test_sigterm_ends_a_run_as_ctrl_c_does(recipe: Recipe, tmp_path: Path) -> None:
    """A scheduler's signal must not lose a step.

    Afterwards the caller's handler is installed again.
    """
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(InterruptedRun, match="after 1 epochs and 1 steps"):
        Trainer(recipe).fit(tmp_path, report=stop_after(1))

    last = load_checkpoint(tmp_path / "last.pt")
    assert last.state["history"][-1]["epoch"] == 1
    assert last.state["loop"]["step"] == 4
    assert (tmp_path / "curves.png").is_file()
    assert signal.getsignal(signal.SIGTERM) is before


def without(state: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != key}


def with_averages(loop: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    optimizer = loop["optimizer"]
    return {**loop, "optimizer": {**optimizer, "state": {**optimizer["state"], 0: values}}}


@pytest.mark.parametrize(
    "change",
    [
        lambda state: without(state, "history"),
        lambda state: {**state, "history": [{**state["history"][0], "miou": "all"}]},
        lambda state: {**state, "history": state["history"][1:]},
        lambda state: {**state, "history": 3},
        lambda state: {**state, "best": [[1]]},
        lambda state: {**state, "best": [[10**30]]},
        lambda state: {**state, "loop": {**state["loop"], "step": -1}},
        lambda state: {**state, "loop": {**state["loop"], "step": "x"}},
        lambda state: {**state, "loop": {**state["loop"], "step": 10**9}},
        lambda state: {**state, "loop": {**state["loop"], "done": 2}},
        lambda state: {**state, "loop": {**state["loop"], "losses": [1.0]}},
        lambda state: {**state, "loop": {**state["loop"], "optimizer": {}}},
        lambda state: {**state, "loop": {**state["loop"], "random": None}},
        lambda state: {**state, "loop": with_averages(state["loop"], {"step": 1})},
        lambda state: {**state, "loop": with_averages(state["loop"], {"exp_avg": torch.ones(3)})},
        lambda state: {**state, "loop": with_averages(state["loop"], {"more": None})},
    ],
)
def test_state_that_is_not_of_this_run_is_refused(
    change: Callable[[dict[str, Any]], dict[str, Any]],
    finished: tuple[Path, list[Epoch]],
    recipe: Recipe,
) -> None:
    """A `last.pt` may be somebody else's, or of another version."""
    last = load_checkpoint(finished[0] / "last.pt")
    longer = replace(recipe, epochs=9)

    with pytest.raises(ModelError, match="the checkpoint's state does not fit its recipe"):
        Trainer(longer, replace_fields(last, state=change(dict(last.state))))
    assert len(Trainer(longer, last).history) == 4


def test_settings_of_the_optimizer_are_those_of_the_recipe(
    finished: tuple[Path, list[Epoch]], recipe: Recipe, tmp_path: Path
) -> None:
    """A file that sets others must not end the run in its first step."""
    last = load_checkpoint(finished[0] / "last.pt")
    for group in last.state["loop"]["optimizer"]["param_groups"]:
        group.update(betas="x", eps=None, weight_decay=-1)
    shutil.copy(finished[0] / "best.pt", tmp_path)

    Trainer(replace(recipe, epochs=5), last).fit(tmp_path, report=ignore)

    assert len(load_checkpoint(tmp_path / "last.pt").state["history"]) == 5


def test_best_weights_belong_to_a_resumed_run(
    finished: tuple[Path, list[Epoch]], recipe: Recipe, tmp_path: Path
) -> None:
    """Otherwise the run ends, hours later, with a file that is not there."""
    last = load_checkpoint(finished[0] / "last.pt")

    with pytest.raises(ModelError, match=r"there is no .*best\.pt, the best weights so far"):
        Trainer(replace(recipe, epochs=5), last).fit(tmp_path, report=ignore)


@pytest.mark.slow
def test_run_that_cannot_be_resumed_is_an_error(recipe: Recipe, tmp_path: Path) -> None:
    """A finished file, a finished run, and other images."""
    Trainer(recipe).fit(tmp_path, report=ignore)
    last = load_checkpoint(tmp_path / "last.pt")
    training = last.card.training
    assert training is not None

    with pytest.raises(ModelError, match=r"name the run's last\.pt"):
        Trainer(recipe, load_checkpoint(tmp_path / "best.pt"))
    with pytest.raises(ConfigError, match="ended after 4 epochs"):
        Trainer(recipe, last)
    with pytest.raises(DataError, match="other images"):
        Trainer(
            recipe,
            replace_fields(
                last,
                card=replace(last.card, training=replace(training, data_hash="0")),
            ),
        )
    with pytest.raises(ModelError, match="state does not fit"):
        Trainer(recipe, replace_fields(last, state={"loop": {}}))


def test_run_that_cannot_start_is_an_error(recipe: Recipe) -> None:
    """Before a folder is made or an image read."""
    with pytest.raises(ConfigError, match="no network"):
        Trainer(replace(recipe, model="vnet"))
    with pytest.raises(ConfigError, match="no dataset"):
        Trainer(replace(recipe, dataset="moon"))
    with pytest.raises(DataError):
        Trainer(replace(recipe, data="/nowhere"))
    with pytest.raises(ConfigError, match="imgsz"):
        Trainer(replace(recipe, imgsz=(24, 20000)))
    with pytest.raises(DeviceError, match="'cuda:99'"):
        Trainer(replace(recipe, device="cuda:99"))


@pytest.mark.slow
def test_learns_what_can_be_learned(recipe: Recipe, tmp_path: Path) -> None:
    """Sky, road and car have colors of their own.

    A network that does not find them has a mistake in it.
    """
    run = Trainer(replace(recipe, epochs=30, color=0.1))

    run.fit(tmp_path, report=ignore)

    assert max(epoch.miou or 0 for epoch in run.history) > 0.9
