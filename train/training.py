"""A run: epoch after epoch, scored, kept, and able to go on where it was left."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch

from segdeploy import models
from segdeploy.atomic import write_text
from segdeploy.backends.eager import EagerBackend, choose_device, device_name
from segdeploy.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from segdeploy.console import progress
from segdeploy.datasets import Dataset, fingerprint, load
from segdeploy.datasets.cache import Cached
from segdeploy.errors import ConfigError, DataError, InterruptedRun, ModelError
from segdeploy.evaluation import evaluate
from segdeploy.machine import cores
from segdeploy.predictor import Predictor
from segdeploy.scores import Scores

from .balance import class_weights
from .birth import make_card
from .history import Epoch, write_history
from .interruption import terminable
from .loader import Loader
from .loop import Loop
from .plots import draw_curves, draw_samples
from .recipe import Recipe

BEST = "best.pt"
LAST = "last.pt"


class Run:
    """One training run; when it exists, its data, network and device are there and fit each other."""

    def __init__(self, recipe: Recipe) -> None:
        """Open the data and build the network.

        Args:
            recipe: What to do.

        Raises:
            ConfigError: There is no such network or data set, or the input's size does not fit the network.
            DataError: The data cannot be used.
            DeviceError: The device is not there.
        """
        self.recipe = recipe
        self._train, self._val = remembered(open_split(recipe, "train"), open_split(recipe, "val"), room=recipe.memory * 2**30)
        self._device = choose_device(recipe.device)
        if self._device.type == "cpu":
            torch.set_num_threads(recipe.threads if recipe.threads > 0 else cores())
        torch.manual_seed(recipe.seed)
        network = models.build(recipe.model, len(self._train.classes), **recipe.arguments)
        self._deployed = models.Deployed(network, recipe.mean, recipe.std)
        self._card = make_card(recipe, network, self._train, self._val)
        self._loader = Loader(self._train, recipe, pinned=self._device.type == "cuda")
        weights = class_weights(self._train) if recipe.class_weights == "inverse-log" else None
        self._loop = Loop(self._deployed, recipe, self._device, steps=recipe.epochs * len(self._loader), weights=weights)
        self._predictor = Predictor(EagerBackend(self._deployed, self._card, device=self._device))
        self.history: list[Epoch] = []

    @property
    def setting(self) -> str:
        """Where it is trained and on how much, in words."""
        chosen = " (chosen, since --device is auto)" if self.recipe.device == "auto" else ""
        threads = f" with {torch.get_num_threads()} threads" if self._device.type == "cpu" else ""
        return f"{len(self._train)} pictures, {len(self._val)} to validate, on {device_name(self._device)}{threads}{chosen}"

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from what `last.pt` holds.

        Raises:
            ModelError: The checkpoint holds no state to go on from, or one that does not fit.
            DataError: The data set has other pictures than when the run began.
            ConfigError: The run is finished.
        """
        began = checkpoint.card.training
        if not checkpoint.state or began is None:
            msg = f"the checkpoint holds finished weights and no state to go on from; name the run's {LAST}"
            raise ModelError(msg)
        if began.data_hash != fingerprint(train=self._train, val=self._val):
            msg = f"{self.recipe.dataset} has other pictures than when the run began; a run goes on only with the same"
            raise DataError(msg)
        if began.epochs >= self.recipe.epochs:
            msg = f"the run has done all its {began.epochs} epochs; nothing is left to go on with"
            raise ConfigError(msg)
        try:
            self._deployed.network.load_state_dict(dict(checkpoint.weights))
            self._loop.restore(checkpoint.state["loop"])
            self.history = [Epoch(**values) for values in checkpoint.state["history"]]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            msg = f"the checkpoint's state does not fit its recipe ({type(error).__name__}: {str(error)[:200]}); train again"
            raise ModelError(msg) from error

    def fit(self, folder: Path, *, report: Callable[[Epoch], None]) -> None:
        """Train until the recipe's last epoch and leave checkpoints, figures and pictures in a folder.

        Args:
            folder: Where everything is written; it exists.
            report: Called with the figures of each epoch, once its checkpoints are written.

        Raises:
            InterruptedRun: Ctrl-C or SIGTERM; `last.pt` of the last whole epoch remains.
        """
        write_text(folder / "recipe.toml", self.recipe.to_toml())
        left = self.recipe.epochs - len(self.history)
        try:
            with terminable(), progress("training", left * (len(self._loader) + len(self._val))) as on_step:
                for _ in range(left):
                    report(self._epoch(folder, on_step))
        except KeyboardInterrupt:
            raise InterruptedRun(farewell(folder, len(self.history))) from None
        finally:
            if self.history:
                draw_curves(folder / "curves.png", self.history)
        best = load_checkpoint(folder / BEST)
        draw_samples(folder / "samples.png", Predictor(EagerBackend(best.network(), best.card, device=self._device)), self._val)

    def _epoch(self, folder: Path, on_step: Callable[[str], None]) -> Epoch:
        """Learn, score and keep one epoch."""
        start = time.perf_counter()
        loss = self._loop.epoch(self._loader.epoch(len(self.history)), on_step=on_step)
        learned = time.perf_counter()
        self._deployed.eval()
        scores = evaluate(self._predictor, self._val, batch=self.recipe.batch, on_step=lambda name: on_step(f"scoring {name}"))
        epoch = Epoch(
            epoch=len(self.history) + 1,
            loss=loss,
            pixel_accuracy=scores.pixel_accuracy,
            miou=scores.miou,
            pictures_per_second=len(self._loader) * self.recipe.batch / (learned - start),
            lr=self._loop.rate,
            seconds=time.perf_counter() - start,
        )
        self._keep(folder, epoch, scores)
        return epoch

    def _keep(self, folder: Path, epoch: Epoch, scores: Scores) -> None:
        """Write what the epoch gave; `last.pt` comes last, so that whatever it promises is there."""
        best = epoch.miou > max((before.miou for before in self.history), default=-1.0)
        self.history.append(epoch)
        assert self._card.training is not None
        training = replace(self._card.training, epochs=epoch.epoch)
        weights = {key: value.detach().cpu() for key, value in self._deployed.network.state_dict().items()}
        whole = Checkpoint(card=replace(self._card, training=training, scores=scores), weights=weights, state={})
        if best:
            save_checkpoint(folder / BEST, whole)
        write_history(folder / "results.csv", self.history)
        state = {"loop": self._loop.state(), "history": [asdict(entry) for entry in self.history]}
        save_checkpoint(folder / LAST, replace(whole, state=state))


def open_split(recipe: Recipe, split: str) -> Dataset:
    """Open one split of the recipe's data set; an empty one is a DataError."""
    samples = load(recipe.dataset, Path(recipe.data) if recipe.data else None, split)
    if not len(samples):
        msg = f"the split {split} of {recipe.dataset} holds no picture; check {recipe.data or 'the data set'}"
        raise DataError(msg)
    return samples


def remembered(*splits: Dataset, room: float) -> list[Cached]:
    """Keep what is read of each split, in as much of the room, in bytes, as it has samples."""
    total = sum(map(len, splits))
    return [Cached(samples, room * len(samples) / total) for samples in splits]


def farewell(folder: Path, epochs: int) -> str:
    """Say what an interrupted run leaves."""
    if not epochs:
        return "interrupted before the first epoch was done; there is nothing to go on from"
    return f"interrupted after {epochs} epochs; go on with: segdeploy train --resume {folder / LAST}"
