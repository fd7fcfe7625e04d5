"""Metrics reach each tracker once, also over an interruption; nothing leaves the machine."""

from pathlib import Path

import pytest

from segdeploy.errors import ConfigError, MissingExtraError
from segdeploy.train import trackers
from segdeploy.train.distributed import SINGLE_PROCESS, Processes
from segdeploy.train.history import Epoch
from segdeploy.train.recipe import Recipe

FIRST = Epoch(
    epoch=1, loss=0.5, pixel_accuracy=None, miou=None, images_per_second=8.0, lr=0.25, seconds=2.0
)
SECOND = Epoch(
    epoch=2, loss=0.5, pixel_accuracy=0.75, miou=0.5, images_per_second=8.0, lr=0.25, seconds=2.0
)


def test_trackers_of_a_recipe_are_named_once() -> None:
    """`--tensorboard` is short for one of them, and older recipes have it."""
    assert Recipe().trackers == ()
    assert Recipe(tensorboard=True).trackers == ("tensorboard",)
    both = Recipe(tracker="mlflow,tensorboard", tensorboard=True)
    assert both.trackers == ("tensorboard", "mlflow")


def test_unknown_tracker_is_refused() -> None:
    """The message names those that there are."""
    with pytest.raises(ConfigError, match="tracker is 'neptune'; it must be none, or any of"):
        Recipe(tracker="neptune")


def test_missing_library_is_reported_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour of training it would be too late."""
    known = {"nothing": ("no_such_library", "train", trackers.TensorBoard)}
    monkeypatch.setattr(trackers, "CLASSES", known)

    with pytest.raises(MissingExtraError, match="no_such_library is not installed"):
        trackers.check_trackers(["nothing"])


def test_only_the_main_process_tracks(tmp_path: Path) -> None:
    """Many processes train one network; its metrics are written once."""
    recipe = Recipe(tracker="tensorboard,mlflow,wandb")
    others = Processes(rank=1, size=2)

    with trackers.open_trackers(tmp_path, recipe, others) as found:
        assert found == []


def log(folder: Path, name: str, *epochs: Epoch) -> None:
    """Log epochs as a run, or as the rest of one, does."""
    with trackers.open_trackers(folder, Recipe(tracker=name), SINGLE_PROCESS) as found:
        for epoch in epochs:
            found[0].log(epoch)


@pytest.mark.slow
def test_tensorboard_reads_the_metrics(tmp_path: Path) -> None:
    """An epoch that was not validated has no scores; none of the numbers is written twice."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    log(tmp_path, "tensorboard", FIRST)
    log(tmp_path, "tensorboard", SECOND)

    events = reading.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/train")] == [
        (1, 0.5),
        (2, 0.5),
    ]
    assert [(event.step, event.value) for event in events.Scalars("scores/miou")] == [(2, 0.5)]
    assert [(event.step, event.value) for event in events.Scalars("lr")] == [(1, 0.25), (2, 0.25)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_has_one_run_of_an_interrupted_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run goes on in the run that it began."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "train" / "small"
    folder.mkdir(parents=True)

    log(folder, "mlflow", FIRST)
    log(folder, "mlflow", SECOND)

    client = mlflow.MlflowClient((tmp_path / "train" / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("segdeploy")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "small"
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "unet"
    history = client.get_metric_history(run.info.run_id, "loss/train")
    assert [(entry.step, entry.value) for entry in history] == [(1, 0.5), (2, 0.5)]
    history = client.get_metric_history(run.info.run_id, "scores/miou")
    assert [(entry.step, entry.value) for entry in history] == [(2, 0.5)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # wandb's own
def test_wandb_writes_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without WANDB_MODE nothing is sent; both parts of an interrupted run have one id."""
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    folder = tmp_path / "small"
    folder.mkdir()

    log(folder, "wandb", FIRST)
    log(folder, "wandb", SECOND)

    identity = (folder / "wandb.id").read_text()
    runs = list((folder / "wandb").glob(f"offline-run-*-{identity}"))
    assert runs
    assert all(list(run.glob("*.wandb")) for run in runs)
