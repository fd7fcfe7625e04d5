"""A run: epochs, validation, checkpoints, resume."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from shlex import quote

import numpy as np
import torch
from msgspec import structs

from segdeploy import models
from segdeploy.backends.pytorch import EagerBackend, choose_device, device_name
from segdeploy.cli.console import note, progress
from segdeploy.datasets.dataset import fingerprint
from segdeploy.errors import ConfigError, DataError, InterruptedRun, ModelError
from segdeploy.inference.evaluation import count
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.segmentation import ConfusionMatrix, Scores
from segdeploy.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from segdeploy.models.encoders.encoder import load_backbone
from segdeploy.system.files import write_text
from segdeploy.system.signals import Halt, StopRequest, stoppable

from .data import open_both, unchanged
from .distributed import ALONE, Processes
from .history import Epoch, best_epoch, improves, write_history
from .loader import Loader
from .loop import Loop
from .objective import class_weights
from .plots import draw_classes, draw_confusion, draw_curves, draw_samples
from .pretrained import borrow, other_colors, teacher_of
from .recipe import Recipe
from .run_setup import check_batch, make_card, settle

KEPT_EVERY = 600.0
"""Seconds after which a run is kept within an epoch, so that a long one is not lost."""

ASKED_EVERY = 10
"""Steps after which several processes agree on what to do, since asking makes them wait for each
other."""


class Watch:
    """Keeps a run from time to time, and ends it when somebody asked."""

    def __init__(
        self,
        stop: StopRequest,
        keep: Callable[[], None],
        processes: Processes,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count the time.

        Args:
            stop: Whether the end was asked for.
            keep: Writes the run as it is.
            processes: Who must agree.
            clock: Gives seconds.
        """
        self._stop = stop
        self._keep = keep
        self._processes = processes
        self._clock = clock
        self._kept = clock()
        self._steps = 0

    def look(self) -> None:
        """Look once, when nothing is half done, in all processes.

        Raises:
            Halt: The run was kept and shall end.
        """
        self._steps += 1
        if self._processes.size > 1 and self._steps % ASKED_EVERY:
            return
        asked, due = self._processes.any(self._stop.asked, self._clock() - self._kept >= KEPT_EVERY)
        if asked or due:
            self._keep()
            self._kept = self._clock()
        if asked:
            raise Halt


BEST = "best.pt"
LAST = "last.pt"


class Run:
    """One training run; when it exists, its data, network and device are there and fit each other.

    Attributes:
        recipe: What it does.
        history: Figures of the epochs that are done.
        loader: Gives the batches.
        loop: Learns from them.
        device: Where.
    """

    def __init__(
        self, recipe: Recipe, last: Checkpoint | None = None, *, processes: Processes = ALONE
    ) -> None:
        """Open the data and build the network.

        Args:
            recipe: What to do.
            last: What `last.pt` holds, to go on from; None to begin.
            processes: Who takes part.

        Raises:
            ConfigError: There is no such network or dataset, the input's size does not fit the
                network, or the run is finished.
            DataError: The data cannot be used, or has other images than when the run began.
            DeviceError: The device is not there.
            ModelError: Weights to begin with or to go on from do not fit.
        """
        self.recipe = recipe
        self.history: list[Epoch] = []
        self._processes = processes
        splits = open_both(recipe, room=recipe.memory * 2**30 / processes.size)
        self._train, self._val = splits.train, splits.val
        self.device = processes.device(choose_device(recipe.device))
        settle(recipe, self.device, processes)
        network = models.build(recipe.model, len(self._train.classes), **recipe.arguments)
        # On CUDA devices the loop makes the norms take their means over all processes.
        shared = self.device.type == "cuda"
        check_batch(
            recipe, network, images=len(self._train), processes=processes.size, shared=shared
        )
        if last is None:
            self._begin(network)
        deployed = models.Deployed(network, recipe.mean, recipe.std)
        self._card = make_card(recipe, network, self._train, self._val)
        shown = unchanged(recipe) if recipe.overfit else recipe
        self.loader = Loader(
            self._train, shown, cuda=self.device.type == "cuda", processes=processes
        )
        self._steps = math.ceil(len(self.loader) / recipe.accumulate)
        weights = class_weights(self._train, recipe.class_weights)
        teacher = teacher_of(recipe, self._train.classes) if recipe.teacher else None
        self.loop = Loop(
            deployed,
            recipe,
            self.device,
            steps=self._steps,
            weights=weights,
            unions=splits.unions,
            teacher=teacher,
            processes=processes,
        )
        # Networks begin alike in all processes; what each draws after that, for dropout, is its
        # own.
        torch.manual_seed(recipe.seed + processes.rank)
        self._predictor = Predictor(
            EagerBackend(self.loop.answering, self._card, device=self.device)
        )
        self._best = ConfusionMatrix(len(self._train.classes))
        self._record = recorder() if recipe.tensorboard else None
        if last is not None:
            self._restore(last)

    @property
    def names(self) -> Sequence[str]:
        """Name of each image to learn from."""
        return self._train.names

    @property
    def setting(self) -> str:
        """Where it is trained and on how much, in words."""
        chosen = " (chosen, since --device is auto)" if self.recipe.device == "auto" else ""
        threads = f" with {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        others = f" and {self._processes.size - 1} more" if self._processes.size > 1 else ""
        return (
            f"{len(self._train)} images, {len(self._val)} to validate, on"
            f" {device_name(self.device)}{others}{threads}{chosen}"
        )

    def _begin(self, network: torch.nn.Module) -> None:
        """Return a network the weights that the recipe names."""
        if self.recipe.weights_backbone:
            load_backbone(network, self.recipe.weights_backbone)
            if self._processes.leads and (strange := other_colors(network, self.recipe)):
                note(strange)
        if self.recipe.weights:
            fresh = borrow(network, self.recipe, classes=self._train.classes)
            if self._processes.leads:
                note(
                    f"began with {self.recipe.weights}"
                    + (f"; fresh, for other classes: {', '.join(fresh)}" if fresh else "")
                )

    def _restore(self, last: Checkpoint) -> None:
        """Go on from what `last.pt` holds."""
        began = last.card.training
        if not last.state or began is None:
            msg = (
                "the checkpoint holds finished weights and no state to go on from; name the run's"
                f" {LAST}"
            )
            raise ModelError(msg)
        if began.data_hash != fingerprint(train=self._train, val=self._val):
            msg = (
                f"{self.recipe.dataset} has other images than when the run began; a run goes on"
                " only with the same"
            )
            raise DataError(msg)
        try:
            self.loop.restore(last.state["loop"], last.weights)
            self.history = [Epoch(**values) for values in last.state["history"]]
            self._best.counts = np.array(last.state["best"], np.int64)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            msg = (
                f"the checkpoint's state does not fit its recipe ({type(error).__name__}:"
                f" {str(error)[:200]}); train again"
            )
            raise ModelError(msg) from error
        if self._ended():
            msg = f"the run ended after {began.epochs} epochs; nothing is left to go on with"
            raise ConfigError(msg)

    def fit(self, folder: Path, *, report: Callable[[Epoch], None]) -> None:
        """Train until the recipe's last epoch, or until its patience ends, and leave checkpoints, figures and images in a folder.

        Args:
            folder: Where everything is written; it exists.
            report: Called with the figures of each epoch, once its checkpoints are written.

        Raises:
            InterruptedRun: Ctrl-C or SIGTERM; `last.pt` remains, from which the run goes on where
                it was left.
        """
        if self._processes.leads:
            write_text(folder / "recipe.toml", self.recipe.to_toml())
        # From the first moment on there is what a killed run goes on from.
        if not self.history and not self.loop.done:
            self._keep(folder)
        left = (self.recipe.epochs - len(self.history)) * (
            self._steps + len(self._val)
        ) - self.loop.done
        try:
            with stoppable() as stop, progress("training", left) as on_step:
                watch = Watch(stop, partial(self._keep, folder), self._processes)
                while not self._ended():
                    report(self._epoch(folder, watch, on_step))
        except Halt:
            raise InterruptedRun(farewell(folder, len(self.history), self.loop.done)) from None
        except KeyboardInterrupt:
            msg = (
                "interrupted at once; what was kept before remains: segdeploy train --resume"
                f" {quote(str(folder / LAST))}"
            )
            raise InterruptedRun(msg) from None
        finally:
            if self._processes.leads:
                self._draw(folder)
        if self._processes.leads:
            best = load_checkpoint(folder / BEST)
            draw_samples(
                folder / "samples.png",
                Predictor(EagerBackend(best.network(), best.card, device=self.device)),
                self._val,
            )

    def _draw(self, folder: Path) -> None:
        """Draw what was measured until now."""
        if self.history:
            draw_curves(folder / "curves.png", self.history)
        if self._best.counts.any():
            draw_confusion(folder / "confusion.png", self._best, self._val.classes)
            draw_classes(folder / "classes.png", self._best, self._val.classes)

    def _ended(self) -> bool:
        """Return whether all epochs are done, or so many without a better score that the patience ends."""
        if len(self.history) >= self.recipe.epochs:
            return True
        best = best_epoch(self.history)
        if not self.recipe.patience or best is None or self.history[-1].miou is None:
            return False
        return len(self.history) - best.epoch >= self.recipe.patience

    def _epoch(self, folder: Path, watch: Watch, on_step: Callable[[str], None]) -> Epoch:
        """Learn, score and keep one epoch, or what is left of it."""
        start, before = time.perf_counter(), self.loop.done
        number = len(self.history)

        def look(words: str) -> None:
            on_step(words)
            watch.look()

        batches = self.loader.epoch(number, first=before * self.recipe.accumulate)
        loss = self.loop.epoch(number, batches, names=self.names, on_step=look)
        learned = time.perf_counter()
        batches_done = (
            min(self.loop.done * self.recipe.accumulate, len(self.loader))
            - before * self.recipe.accumulate
        )
        validated = (number + 1) % self.recipe.val_every == 0 or number + 1 == self.recipe.epochs
        counts = (
            self._validate(look if self._processes.size == 1 else on_step) if validated else None
        )
        scores = counts.scores() if counts else None
        epoch = Epoch(
            epoch=number + 1,
            loss=loss,
            pixel_accuracy=scores.pixel_accuracy if scores else None,
            miou=scores.miou if scores else None,
            images_per_second=batches_done * self.recipe.batch / (learned - start),
            lr=self.loop.rate,
            seconds=time.perf_counter() - start,
        )
        self._close(folder, epoch, counts)
        return epoch

    def _validate(self, on_step: Callable[[str], None]) -> ConfusionMatrix:
        """Count the validation split, each process its part of it."""
        self.loop.answering.eval()
        part = range(self._processes.rank, len(self._val), self._processes.size)
        # Whole images may be many times as large as the crops of which a batch fitted into the
        # memory.
        (rows, columns), (height, width) = self.recipe.seen, self.recipe.imgsz
        batch = max(
            1, self.recipe.batch * rows * columns // (height * width * self._processes.size)
        )
        counts = ConfusionMatrix(len(self._val.classes))
        if part:
            counts = count(
                self._predictor,
                self._val,
                part,
                batch=batch,
                on_step=lambda name: on_step(f"scoring {name}"),
            )
        counts.counts = self._processes.total(counts.counts)
        return counts

    def _close(self, folder: Path, epoch: Epoch, counts: ConfusionMatrix | None) -> None:
        """Write what the epoch gave.

        `last.pt` comes last, so that whatever it promises is there.
        """
        scores = counts.scores() if counts else None
        best = scores is not None and improves(scores.miou, self.history)
        self.history.append(epoch)
        self.loop.close_epoch()
        if best and counts:
            self._best = counts
            if self._processes.leads:
                save_checkpoint(folder / BEST, self._checkpoint(scores))
        if self._processes.leads:
            write_history(folder / "results.csv", self.history)
            if self._record:
                self._record(folder / "events", epoch)
        self._keep(folder, scores)

    def _keep(self, folder: Path, scores: Scores | None = None) -> None:
        """Write `last.pt`: all that the rest of the run depends on. All processes take part, the first one writes."""
        self.loop.check(self.names)
        history = [asdict(entry) for entry in self.history]
        state = {"loop": self.loop.state(), "history": history, "best": self._best.counts.tolist()}
        if self._processes.leads:
            save_checkpoint(folder / LAST, replace(self._checkpoint(scores), state=state))

    def _checkpoint(self, scores: Scores | None) -> Checkpoint:
        """Return the weights as they are, with their card."""
        assert self._card.training is not None
        training = structs.replace(self._card.training, epochs=len(self.history))
        weights = {
            key: value.detach().cpu()
            for key, value in self.loop.answering.network.state_dict().items()
        }
        return Checkpoint(
            card=structs.replace(self._card, training=training, scores=scores),
            weights=weights,
            state={},
        )


def recorder() -> Callable[[Path, Epoch], None]:
    """Return what writes events; raises MissingExtraError where TensorBoard is not installed."""
    from .history import write_events

    return write_events


def farewell(folder: Path, epochs: int, steps: int) -> str:
    """Say what an interrupted run leaves."""
    return (
        f"interrupted after {epochs} epochs and {steps} steps; go on with: segdeploy train --resume"
        f" {quote(str(folder / LAST))}"
    )
