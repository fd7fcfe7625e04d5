"""Experiment trackers: the metrics of each epoch go to TensorBoard, MLflow or Weights & Biases."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from segdeploy.cli.console import note
from segdeploy.errors import MissingExtraError
from segdeploy.system.files import write_text

from .distributed import Processes
from .history import Epoch
from .recipe import Recipe

PROJECT = "segdeploy"
"""Experiment of MLflow and project of Weights & Biases that runs are listed in."""


class Tracker(Protocol):
    """Where the metrics of a run go, beside `results.csv`."""

    def log(self, epoch: Epoch) -> None:
        """Add the metrics of an epoch."""
        ...

    def close(self) -> None:
        """Write what is left, when the run ends or is interrupted."""
        ...


class TensorBoard:
    """Events in the run's folder."""

    def __init__(self, folder: Path, _: Recipe) -> None:
        """Import the writer, so that a run fails before it trains."""
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder / "events"
        self._writer: Any = SummaryWriter

    def log(self, epoch: Epoch) -> None:
        """Write a file of this epoch's own, so that none stays open when a run is killed."""
        with self._writer(str(self._folder), filename_suffix=f".{epoch.epoch}") as writer:
            for name, value in metrics_of(epoch).items():
                writer.add_scalar(name, value, epoch.epoch)

    def close(self) -> None:
        """Do nothing: no file is open."""


class MLflow:
    """A run of MLflow, by default in the folder `mlruns` beside the run's."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """Start the run, or go on with the one that the folder names."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        self._metric: Any = Metric
        self._error = MlflowException
        local = (folder.parent / "mlruns").absolute().as_uri()
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or local)
        known = read_id(folder / "mlflow.id")
        if known and any(self._client.search_runs([self._experiment()], f"run_id = '{known}'")):
            self._run = known
            self._client.update_run(known, status="RUNNING")
            return
        self._run = self._client.create_run(self._experiment(), run_name=folder.name).info.run_id
        write_text(folder / "mlflow.id", self._run)
        values = [Param(key, str(value)) for key, value in recipe.to_dict().items()]
        self._client.log_batch(self._run, params=values)

    def _experiment(self) -> str:
        """Return the id of the experiment, which is created by the first run."""
        found = self._client.get_experiment_by_name(PROJECT)
        return str(found.experiment_id if found else self._client.create_experiment(PROJECT))

    def log(self, epoch: Epoch) -> None:
        """Send the metrics; a server that does not answer does not end a training."""
        now, values = int(1000 * time.time()), metrics_of(epoch)
        try:
            self._client.log_batch(
                self._run, [self._metric(key, values[key], now, epoch.epoch) for key in values]
            )
        except self._error as error:
            note(f"epoch {epoch.epoch} is not in MLflow: {' '.join(str(error).split())[:200]}")

    def close(self) -> None:
        """Mark the run as ended."""
        try:
            self._client.set_terminated(self._run)
        except self._error as error:
            note(f"the run is not closed in MLflow: {' '.join(str(error).split())[:200]}")


class WeightsAndBiases:
    """A run of Weights & Biases, offline unless WANDB_MODE says otherwise."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """Start the run, or go on with the one that the folder names."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        # One of its literals, which it checks.
        mode: Any = os.environ.get("WANDB_MODE") or "offline"
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=folder.name,
            dir=str(folder),
            id=read_id(folder / "wandb.id"),
            resume="allow",
            mode=mode,
            config=recipe.to_dict(),
            settings=wandb.Settings(console="off", disable_git=True, save_code=False),
        )
        write_text(folder / "wandb.id", self._run.id)

    def log(self, epoch: Epoch) -> None:
        """Add the metrics of an epoch."""
        self._run.log(metrics_of(epoch), step=epoch.epoch)

    def close(self) -> None:
        """Write the run's file, and end the process that writes it."""
        self._run.finish()


CLASSES: Mapping[str, tuple[str, str, Callable[[Path, Recipe], Tracker]]] = MappingProxyType(
    {
        "tensorboard": ("tensorboard", "train", TensorBoard),
        "mlflow": ("mlflow", "mlflow", MLflow),
        "wandb": ("wandb", "wandb", WeightsAndBiases),
    }
)
"""Library, extra and class of each tracker, by the name that a recipe has."""


def check_trackers(names: Sequence[str]) -> None:
    """Check that the libraries of trackers are there; a run calls this before it trains.

    Raises:
        MissingExtraError: One is not installed.
    """
    for name in names:
        library, extra, _ = CLASSES[name]
        if find_spec(library) is None:
            raise MissingExtraError(library, extra)


@contextmanager
def open_trackers(folder: Path, recipe: Recipe, processes: Processes) -> Iterator[list[Tracker]]:
    """Open the trackers of a run, and close them at its end; only the main process has any."""
    with ExitStack() as stack:
        trackers = []
        for name in recipe.trackers if processes.is_main else ():
            tracker = CLASSES[name][2](folder, recipe)
            stack.callback(tracker.close)
            trackers.append(tracker)
        yield trackers


def metrics_of(epoch: Epoch) -> dict[str, float]:
    """Return the metrics of an epoch by their names; scores only where it was validated."""
    metrics = {
        "loss/train": epoch.loss,
        "scores/miou": epoch.miou,
        "scores/pixel_accuracy": epoch.pixel_accuracy,
        "lr": epoch.lr,
        "speed/images_per_second": epoch.images_per_second,
    }
    return {name: value for name, value in metrics.items() if value is not None}


def read_id(path: Path) -> str | None:
    """Return the id of the tracker's run that a resumed run goes on with; None for a new one."""
    text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    return text if text.isalnum() else None
