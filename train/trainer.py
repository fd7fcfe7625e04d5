"""A training run: `Trainer.fit` trains and validates epochs, saves checkpoints, and resumes."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote

import torch
from msgspec import structs

from segdeploy import models
from segdeploy.backends.pytorch import EagerBackend, choose_device, half_precision
from segdeploy.card import LabelClass
from segdeploy.cli.console import note, progress
from segdeploy.datasets.dataset import fingerprint
from segdeploy.errors import (
    ConfigError,
    DataError,
    InterruptedRun,
    ModelError,
    OutputError,
    SegdeployError,
    WorkerError,
)
from segdeploy.inference.evaluation import count_labels
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.scores import Scores
from segdeploy.metrics.segmentation import ConfusionMatrix
from segdeploy.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from segdeploy.system.files import write_text
from segdeploy.system.signals import stoppable

from .bands import resolve_bands
from .data import class_weights, open_run_splits, without_augmentation
from .distributed import SINGLE_PROCESS, Processes
from .history import Epoch, best_epoch, improves, write_history
from .loader import Batch, Loader
from .loop import Loop
from .monitor import StepMonitor, TrainingStopped
from .plots import draw_samples, draw_scores
from .precision import choose_precision, random_batch
from .pretrained import initial_network, load_teacher
from .recipe import Recipe
from .resume import UNRESTORABLE, check_epochs, read_counts
from .run_setup import build_card, describe, seed_everything
from .time_limit import TimeLimit, start_limit
from .trackers import Tracker, check_trackers, open_trackers

BEST = "best.pt"
LAST = "last.pt"

DRAW_EVERY = 60.0
"""Seconds from one drawing of samples to the next, while the weights get better."""


class Trainer:
    """One training run; its constructor checks that data, network and device exist and fit.

    Example:
        ```python
        trainer = Trainer(Recipe(dataset="streets", imgsz=(96, 128), epochs=10))
        trainer.fit(Path("runs/train/mine"), report=print)
        ```

    Attributes:
        recipe: Values of the run.
        history: Metrics of the epochs that are done.
        loader: Batches of the training split.
        loop: The training loop.
        device: Where it trains.
        best: Counts of the validation with the best mIoU; all 0 before the first.
        scores: Scores of the last validation in this process, or None.
    """

    def __init__(
        self,
        recipe: Recipe,
        last: Checkpoint | None = None,
        *,
        processes: Processes = SINGLE_PROCESS,
        started: float | None = None,
    ) -> None:
        """Open the data and build the network.

        Args:
            recipe: Values of the run.
            last: Content of `last.pt`, to resume from; None for a new run.
            processes: All that take part.
            started: `time.monotonic()` from which the recipe's minutes count; None for now.

        Raises:
            ConfigError: There is no such network or dataset, the size of the input does not fit the
                network, or the run is finished.
            DataError: The data cannot be used, or has other images than when the run started.
            DeviceError: There is no such device.
            ModelError: Weights to start or resume from do not fit.
        """
        self.recipe = recipe = resolve_bands(recipe)
        self._started = time.monotonic() if started is None else started
        self.history: list[Epoch] = []
        self._processes = processes
        self._splits = splits = open_run_splits(
            recipe, cache_bytes=recipe.memory * 2**30 / processes.size
        )
        self._train, self._val = splits.train, splits.val
        self.device = processes.device(choose_device(recipe.device))
        seed_everything(recipe, self.device, processes)
        network = initial_network(
            recipe, self._train, self.device, processes=processes, pretrained=last is None
        )
        self._card = build_card(recipe, network, self._train, self._val)
        cuda = self.device.type == "cuda"
        shown = without_augmentation(recipe) if recipe.overfit else recipe
        self.loader = Loader(self._train, shown, cuda=cuda, processes=processes)
        self._steps = math.ceil(len(self.loader) / recipe.accumulate)
        weights = class_weights(self._train, recipe.class_weights)
        self.loop = Loop(
            models.Deployed.of(network, self._card),
            recipe,
            self.device,
            steps=self._steps,
            precision=half_precision(self.device) if recipe.amp else None,
            weights=None if weights is None else torch.from_numpy(weights),
            coarse_classes=splits.coarse_classes,
            teacher=load_teacher(recipe, self._train.classes) if recipe.teacher else None,
            processes=processes,
        )
        # All processes start with the same weights; what each draws later, for dropout, differs.
        torch.manual_seed(recipe.seed + processes.rank)
        backend = EagerBackend(self.loop.evaluated, self._card, device=self.device)
        self._predictor = Predictor(backend)
        self.best = ConfusionMatrix(len(self._train.classes))
        self.scores: Scores | None = None
        self._drawn = -math.inf
        self._limit: TimeLimit | None = None
        check_trackers(recipe.trackers)
        self._trackers: list[Tracker] = []
        if last is not None:
            self._restore(last)

    def choose_precision(self) -> None:
        """Choose half precision or float32 on a processor, by steps that change nothing.

        The recipe, in the run's folder and in the card, then says what was chosen, so that a
        resumed run has the same.
        """
        if self.device.type != "cpu":
            return
        images = min(self.recipe.batch, len(self._train)) // self._processes.size
        batch = random_batch(self.recipe, images, classes=len(self._train.classes))
        choice = choose_precision(
            partial(self.loop.trial, batch), self.loop.precision, amp=self.recipe.amp
        )
        # Float32 where any process chose it.
        choices = self._processes.gather(choice)
        choice = next((other for other in choices if other.precision is None), choice)
        self.loop.precision = choice.precision
        if choice.reason and self._processes.is_main:
            note(choice.reason)
        if self.recipe.amp == "auto":
            self._change_recipe(amp=choice.precision is not None)

    def _change_recipe(self, **values: object) -> None:
        """Change values of the recipe, in the card too."""
        self.recipe = structs.replace(self.recipe, **values)
        assert self._card.training is not None
        training = structs.replace(self._card.training, recipe=self.recipe.to_dict())
        self._card = structs.replace(self._card, training=training)

    @property
    def names(self) -> Sequence[str]:
        """Name of each image of the training split."""
        return self._train.names

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes in the order of the masks' indices."""
        return self._train.classes

    @property
    def description(self) -> str:
        """Description of the number of images and the device of the run."""
        return describe(self._train, self._val, self.device, self.recipe, self._processes)

    def _restore(self, last: Checkpoint) -> None:
        """Restore what `last.pt` holds."""
        started = last.card.training
        if not last.state or started is None:
            msg = f"the checkpoint holds final weights and no training state; name the run's {LAST}"
            raise ModelError(msg)
        if started.data_hash != fingerprint(train=self._train, val=self._val):
            msg = (
                f"{self.recipe.dataset} has other images than when the run started; resume it with"
                " the same images"
            )
            raise DataError(msg)
        try:
            self.loop.restore(last.state["loop"], last.weights)
            self.history = [Epoch.from_dict(values) for values in last.state["history"]]
            check_epochs(self.history)
            self.best.counts = read_counts(last.state["best"], len(self._val.classes))
        except UNRESTORABLE as error:
            msg = (
                f"the checkpoint's state does not fit its recipe ({type(error).__name__}:"
                f" {str(error)[:200]}); train again"
            )
            raise ModelError(msg) from error
        if self._finished():
            msg = f"the run ended after {started.epochs} epochs; there is nothing left to train"
            raise ConfigError(msg)

    def fit(self, folder: Path, *, report: Callable[[Epoch], None]) -> None:
        """Train until the last epoch or the end of the patience, and write all results.

        Args:
            folder: Where checkpoints, metrics and plots are written; it exists.
            report: Called with the metrics of each epoch, once its checkpoints are written.

        Raises:
            InterruptedRun: Ctrl-C or SIGTERM; the run can be resumed from `last.pt`.
            OutputError: A file cannot be written; the run can be resumed.
            WorkerError: A process that reads images is gone; the run can be resumed.
            ModelError: The best weights of a resumed run are not in the folder.
        """
        has_best = best_epoch(self.history) is not None
        if has_best and self._processes.is_main and not (folder / BEST).is_file():
            msg = f"there is no {folder / BEST}, the best weights so far; copy it beside {LAST}"
            raise ModelError(msg)
        self.choose_precision()
        if self._processes.is_main:
            write_text(folder / "recipe.toml", self.recipe.to_toml())
        if not self.history and not self.loop.done:
            # So that a run that is killed at any moment can be resumed.
            self._save(folder)
        try:
            self._train_epochs(folder, report)
        except SegdeployError:
            # What ended the run is reported, not that it cannot be drawn either.
            with suppress(OutputError):
                self._plot(folder)
            raise
        self._plot(folder)
        if self._processes.is_main:
            best = load_checkpoint(folder / BEST)
            backend = EagerBackend(best.network(), best.card, device=self.device)
            draw_samples(folder / "samples.png", Predictor(backend), self._val)

    def _train_epochs(self, folder: Path, report: Callable[[Epoch], None]) -> None:
        """Train until the run is finished; the errors are those of `fit`."""
        resume = f"segdeploy train --resume {quote(str(folder / LAST))}"
        if self.recipe.minutes:
            used = sum(epoch.seconds for epoch in self.history) + time.monotonic() - self._started
            self._limit = start_limit(
                self.recipe, self.loop, self._splits, used=used, processes=self._processes
            )
            self._plan_steps()
        steps = self.loop.left + (self.recipe.epochs - len(self.history)) * len(self._val)
        try:
            with (
                open_trackers(folder, self.recipe, self._processes) as self._trackers,
                stoppable() as stop,
                progress("training", steps) as show,
            ):
                save = partial(self._save, folder)
                monitor = StepMonitor(stop, save, self._processes, show=show)
                while not self._finished():
                    self._plan_steps()
                    report(self._epoch(folder, monitor))
        except TrainingStopped:
            done = f"{len(self.history)} epochs and {self.loop.done} steps"
            msg = f"interrupted after {done}; resume with: {resume}"
            raise InterruptedRun(msg) from None
        except KeyboardInterrupt:
            msg = f"interrupted at once; resume from the last checkpoint with: {resume}"
            raise InterruptedRun(msg) from None
        except (OutputError, WorkerError) as error:
            msg = f"{error}; the run can then be resumed from its last checkpoint with: {resume}"
            raise type(error)(msg) from error

    def _plan_steps(self) -> None:
        """Let the rest of a run with a time limit have the steps that fit into its time."""
        if self._limit is not None:
            self._change_recipe(epochs=self._limit.plan(self.loop, self.recipe))

    def _plot(self, folder: Path) -> None:
        """Draw the metrics so far, in the main process."""
        if self._processes.is_main:
            draw_scores(folder, self.history, self.best, self._val.classes)

    def _draw_samples(self, folder: Path) -> None:
        """Draw what the present weights predict, at most once in `DRAW_EVERY` seconds."""
        if time.monotonic() - self._drawn >= DRAW_EVERY:
            draw_samples(folder / "samples.png", self._predictor, self._val)
            self._drawn = time.monotonic()

    def _finished(self) -> bool:
        """Return whether all epochs are done, or the patience is exhausted."""
        if len(self.history) >= self.recipe.epochs or self.loop.finished:
            return True
        best = best_epoch(self.history)
        if not self.recipe.patience or best is None or self.history[-1].miou is None:
            return False
        return len(self.history) - best.epoch >= self.recipe.patience

    def _epoch(self, folder: Path, monitor: StepMonitor) -> Epoch:
        """Train, validate and save one epoch, or the rest of it."""
        number, accumulate = len(self.history), self.recipe.accumulate
        start, first = time.perf_counter(), self.loop.done * accumulate
        batches: Iterable[Batch] = self.loader.epoch(number, first=first)
        if self._limit is not None:
            batches = self._limit.in_time(batches, self.loop.left * accumulate)
        loss = self.loop.epoch(number, batches, names=self.names, on_step=monitor)
        trained = time.perf_counter()
        done = min(self.loop.done * accumulate, len(self.loader)) - first
        if self._limit is not None and self._limit.over:
            self.loop.total = self.loop.step
            self._change_recipe(epochs=number + 1)
        is_last = not self.loop.left
        counts = None
        if is_last or (number + 1) % self.recipe.val_every == 0:
            # Only a process alone can stop while it validates: others have parts of other sizes.
            counts = self._validate(monitor if self._processes.size == 1 else monitor.show)
        if self._limit is not None:
            validation = time.perf_counter() - trained if counts else None
            self._limit.measure(batch=(trained - start) / max(1, done), validation=validation)
        scores = counts.scores() if counts else None
        epoch = Epoch(
            epoch=number + 1,
            loss=self._processes.mean(loss),
            pixel_accuracy=scores.pixel_accuracy if scores else None,
            miou=scores.miou if scores else None,
            images_per_second=done * self.recipe.batch / (trained - start),
            lr=self.loop.rate,
            seconds=time.perf_counter() - start,
        )
        self._finish_epoch(folder, epoch, counts)
        return epoch

    def _validate(self, on_step: Callable[[str], None]) -> ConfusionMatrix:
        """Return the confusion matrix of the validation split; each process counts a part of it."""
        self.loop.evaluated.eval()
        part = range(self._processes.rank, len(self._val), self._processes.size)
        # Whole images may be many times as large as the crops of which a batch fits into memory.
        (rows, columns), (height, width) = self.recipe.train_size, self.recipe.imgsz
        pixels = self.recipe.batch * rows * columns
        batch = max(1, pixels // (height * width * self._processes.size))
        counts = ConfusionMatrix(len(self._val.classes))
        if part:
            counts = count_labels(
                self._predictor,
                self._val,
                part,
                batch=batch,
                on_step=lambda name: on_step(f"validating {name}"),
            )
        counts.counts = self._processes.sum(counts.counts)
        return counts

    def _finish_epoch(self, folder: Path, epoch: Epoch, counts: ConfusionMatrix | None) -> None:
        """Write the results of an epoch; `last.pt` is last, so that what it refers to exists."""
        scores = counts.scores() if counts else None
        is_best = scores is not None and improves(scores.miou, self.history)
        self.history.append(epoch)
        self.loop.close_epoch()
        if is_best and counts:
            self.best = counts
        if scores is not None:
            self.scores = scores
        if self._processes.is_main:
            if is_best:
                save_checkpoint(folder / BEST, self._checkpoint(scores))
                self._draw_samples(folder)
            write_history(folder / "results.csv", self.history)
            for tracker in self._trackers:
                tracker.log(epoch)
        self._save(folder, scores)

    def _save(self, folder: Path, scores: Scores | None = None) -> None:
        """Write `last.pt` with all that the rest of the run depends on, in the main process."""
        self.loop.check_losses(self.names)
        history = [dataclasses.asdict(epoch) for epoch in self.history]
        state = {"loop": self.loop.state(), "history": history, "best": self.best.counts.tolist()}
        if self._processes.is_main:
            checkpoint = dataclasses.replace(self._checkpoint(scores), state=state)
            save_checkpoint(folder / LAST, checkpoint)

    def _checkpoint(self, scores: Scores | None) -> Checkpoint:
        """Return the present weights with their card."""
        assert self._card.training is not None
        training = structs.replace(self._card.training, epochs=len(self.history))
        weights = self.loop.evaluated.network.state_dict()
        return Checkpoint(
            card=structs.replace(self._card, training=training, scores=scores),
            weights={key: value.detach().cpu() for key, value in weights.items()},
            state={},
        )
