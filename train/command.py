"""The command `segdeploy train`."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from segdeploy.cli.console import echo, next_step, note, show
from segdeploy.cli.options import (
    Command,
    ImageSize,
    option,
    options,
    plugin_option,
    same_plugins,
    section,
)
from segdeploy.errors import ConfigError, MissingExtraError, ModelError, OutputError
from segdeploy.system.locks import claimed_folder
from segdeploy.system.runs import RUNS, new_run

from .history import best_epoch
from .recipe import (
    CLASS_WEIGHTS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    Recipe,
)
from .recipe_data import check_data, find_dataset, with_fitting_crop
from .recipe_file import read_recipe, with_overrides
from .summary import class_table, epoch_line

NEWEST = "newest"

MOVABLE = ("data", "device", "threads", "workers")
"""Values that may differ when a run is resumed: where it trains, not what."""

NETWORK = {"model", "arguments", "weights"}
"""Values that name a network, or belong to one: without them one is chosen."""

RESULTS = ("last.pt", "results.csv", "curves.png", "classes.png", "confusion.png", "samples.png")

F = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `segdeploy train`.

    Attributes:
        recipe: TOML file or name of a bundled recipe; None for the defaults.
        name: Name of the run's folder; None for network and dataset.
        resume: File, folder or name of a run to resume, or `NEWEST`; None for a new run.
        overrides: Values of the recipe as "KEY=VALUE".
        arguments: Arguments of the network that have an option of their own.
        values: Values of the recipe that were given as options.
    """

    recipe: str | None
    name: str | None
    resume: str | None
    overrides: tuple[str, ...]
    arguments: Mapping[str, Any]
    values: Mapping[str, Any]


def read_options(
    *,
    recipe: str | None,
    name: str | None,
    resume: str | None,
    overrides: tuple[str, ...],
    backbone: str | None,
    output_stride: int | None,
    **values: Any,  # noqa: ANN401 - values of the recipe
) -> TrainOptions:
    """Return the options; values of the recipe that were not given are left out."""
    arguments = {"backbone": backbone, "output_stride": output_stride}
    return TrainOptions(
        recipe=recipe,
        name=name,
        resume=resume,
        overrides=overrides,
        arguments={key: value for key, value in arguments.items() if value is not None},
        values={key: value for key, value in values.items() if value is not None},
    )


def value_option(
    flag: str,
    kind: Any,  # noqa: ANN401 - click's types have no common one
    text: str,
) -> Callable[[F], F]:
    """Return an option that sets one value of the recipe; its help shows the recipe's default."""
    key = flag.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_")
    default = getattr(Recipe(), key)
    if isinstance(default, bool):
        default = "on" if default else "off"
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    show_default = False if default in {"", (0, 0)} else shown
    return option(flag, key, type=kind, default=None, show_default=show_default, help=text)


@click.command(cls=Command)
@click.argument("recipe", required=False)
@section(
    "Dataset",
    value_option("--data", click.Path(), "Folder of the dataset."),
    value_option("--dataset", str, "Name of the dataset; `streets` needs no folder."),
    value_option(
        "--overfit",
        int,
        "Train and validate on the first N images, without augmentation: a check that learning"
        " works.",
    ),
    value_option(
        "--final/--no-final",
        bool,
        "Also train on the validation split: for the final weights, after all choices.",
    ),
)
@section(
    "Network",
    value_option("--model", str, "Name of the network; `segdeploy models` lists them."),
    option("--backbone", help="Backbone of the network, as --set arguments.backbone=NAME."),
    option(
        "--output-stride",
        type=int,
        help="Stride of the coarsest features, as --set arguments.output_stride=N.",
    ),
    value_option(
        "--weights",
        click.Path(),
        "Checkpoint to start from, also with other classes; `street` is the bundled one.",
    ),
    value_option(
        "--weights-backbone", str, "Pretrained weights of the backbone: imagenet, or a file."
    ),
    value_option("--freeze", int, "First epochs in which the encoder is frozen; -1 for all."),
)
@section(
    "Training",
    value_option("--epochs", int, "Passes over the training split."),
    value_option(
        "--minutes",
        float,
        "Minutes after which the run ends with the best that fits; epochs become fewer.",
    ),
    value_option("--batch", int, "Images per batch, on all devices together."),
    value_option(
        "--imgsz", ImageSize(), "Size of the network's input in pixels, or one number for a square."
    ),
    value_option("--crop", ImageSize(), "Size of the crop of the input that is trained on."),
    value_option("--lr", float, "Learning rate after the warm-up."),
    value_option("--schedule", click.Choice(SCHEDULES), "Decay of the learning rate."),
    value_option("--optimizer", click.Choice(OPTIMIZERS), "Optimizer."),
    value_option("--weight-decay", float, "Weight decay."),
    value_option("--accumulate", int, "Batches whose gradients are accumulated into one step."),
    value_option(
        "--loss", str, f"Sum of {', '.join(LOSSES)}, for example ce+dice or 0.5*ohem+lovasz."
    ),
    value_option("--class-weights", click.Choice(CLASS_WEIGHTS), "Weights of the classes."),
    value_option("--ema", float, "Decay of the moving average of the weights; 0 for none."),
    value_option("--val-every", int, "Epochs from one validation to the next."),
    value_option(
        "--patience", int, "Epochs without a better mIoU after which the run ends; 0 for never."
    ),
)
@section(
    "Device",
    value_option("--device", str, "Device to train on: auto, cpu, cuda or cuda:N."),
    value_option(
        "--amp/--no-amp", bool, "Mixed precision; auto uses it where it makes a step faster."
    ),
    value_option("--compile/--no-compile", bool, "Compile the network with PyTorch."),
    value_option(
        "--workers", int, "Processes that read images; -1 chooses by the number of cores."
    ),
    value_option("--threads", int, "Threads of one operation on a CPU; -1 for one per core."),
    value_option("--seed", int, "Seed of all random numbers."),
    value_option(
        "--deterministic/--no-deterministic", bool, "Same bits in every run on a CUDA device too."
    ),
)
@section(
    "Run",
    option("--name", show_default="MODEL-DATASET", help="Name of the run's folder."),
    option(
        "--resume",
        is_flag=False,
        flag_value=NEWEST,
        metavar="[PATH]",
        help="Resume from a last.pt, a run's folder or name, or the newest run.",
    ),
    option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Any value of the recipe, for example arguments.width=16; may be repeated.",
    ),
    value_option(
        "--tracker", str, "Also log metrics to any of tensorboard, mlflow, wandb (with commas)."
    ),
    value_option("--tensorboard/--no-tensorboard", bool, "Short for --tracker tensorboard."),
)
@plugin_option
@options(read_options)
def train(options: TrainOptions) -> None:
    """Train a network on labeled images.

    RECIPE is a TOML file, or the name of a bundled one, for example streets-demo; options override
    its values. Without a recipe and a network, --data alone chooses both, by the data and by the
    speed of this machine. Checkpoints, metrics and plots are written to runs/train/NAME.
    """
    run_training(options)


def run_training(options: TrainOptions) -> tuple[Any, Path]:
    """Train, or go on training, as the options say; return the `Trainer` and its folder."""
    if options.resume is None:
        return start_run(options)
    given = options.recipe or options.name or options.arguments or options.overrides
    if given or not options.values.keys() <= set(MOVABLE):
        msg = (
            "a resumed run keeps its recipe and name; beside --resume only"
            f" {', '.join(f'--{key}' for key in MOVABLE)} may be given"
        )
        raise ConfigError(msg)
    return resume_run(find_last(options.resume), options.values)


def start_run(options: TrainOptions) -> tuple[Any, Path]:
    """Train in a new folder, and return it with the `Trainer`."""
    started = time.monotonic()
    values = collect_values(options)
    recipe = Recipe.from_dict(values, source=options.recipe or "the command line")
    check_data(recipe)
    trainer, distributed = import_training()
    if recipe.weights:
        recipe = with_values_of_weights(recipe, values)
    recipe = trainer.resolve_bands(recipe)
    values |= recipe.band_values()
    with distributed.process_group() as processes:
        if options.recipe is None and recipe.data and not values.keys() & NETWORK:
            from .automatic import choose_values

            values = choose_values(values, partial(trainer.Trainer, processes=processes))
            # All processes take what the first one measured.
            values = processes.gather(values)[0]
            recipe = Recipe.from_dict(values, source="the chosen values")
        run = trainer.Trainer(recipe, processes=processes, started=started)
        name = options.name or f"{recipe.model}-{recipe.dataset}"
        folder = new_run("train", name) if processes.is_main else Path()
        fit(run, folder, is_main=processes.is_main)
        return run, folder


def collect_values(options: TrainOptions) -> dict[str, Any]:
    """Return the keys and values of the recipe: its file, then options, then `--set`."""
    values = read_recipe(options.recipe) if options.recipe else {}
    if options.values.get("model", values.get("model")) != values.get("model"):
        # They belong to another network.
        values.pop("arguments", None)
    arguments = [f"arguments.{key}={value}" for key, value in options.arguments.items()]
    given = with_overrides(options.values, [*arguments, *options.overrides])
    values = with_overrides(values | dict(options.values), [*arguments, *options.overrides])
    if (
        values.get("data")
        and "dataset" not in given
        and ("data" in given or "dataset" not in values)
    ):
        values["dataset"] = find_dataset(Path(values["data"]), values.get("dataset"))
    if "imgsz" in given and "crop" not in given:
        values = with_fitting_crop(values)
    return values


def with_values_of_weights(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    """Return the recipe with network, arguments, mean and std of its `weights`.

    Args:
        recipe: Names the checkpoint.
        given: Values that the user gave; they are kept.
    """
    from .pretrained import recipe_values

    values = recipe_values(recipe.weights)
    if recipe.model != values["model"] and "model" in given:
        return recipe
    values = {key: value for key, value in values.items() if key not in given} | {
        "arguments": {**values["arguments"], **given.get("arguments", {})}
    }
    return replace(recipe, **values)


def resume_run(last: Path, changed: Mapping[str, Any]) -> tuple[Any, Path]:
    """Resume a run in its folder, and return it with the `Trainer`.

    Args:
        last: Its `last.pt`.
        changed: Values of the recipe that differ now.
    """
    trainer, distributed = import_training()
    from segdeploy.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(last)
    training = checkpoint.card.training
    values = {**(training.recipe if training else {}), **changed}
    recipe = Recipe.from_dict(values, source=str(last))
    with distributed.process_group() as processes:
        run = trainer.Trainer(recipe, checkpoint, processes=processes)
        if processes.is_main:
            note(f"resuming after epoch {len(run.history)} of {last}")
        fit(run, last.parent, is_main=processes.is_main)
        return run, last.parent


def fit(
    run: Any,  # noqa: ANN401 - a Trainer, whose import needs PyTorch
    folder: Path,
    *,
    is_main: bool,
) -> None:
    """Train; the main process prints a line per epoch and the files that were written."""
    if not is_main:
        run.fit(folder, report=lambda _: None)
        return
    note(f"training {run.recipe.model} on {run.recipe.dataset}: {run.description}")
    with claimed_folder(folder):
        run.fit(folder, report=lambda _: report_epoch(run))
    best = best_epoch(run.history)
    assert best is not None
    show(class_table(run.best, run.classes))
    echo(f"best mIoU {best.miou:.4f} in epoch {best.epoch}: {folder / 'best.pt'}")
    for name in RESULTS:
        echo(f"  {folder / name}")
    command: list[str | Path] = ["segdeploy", "export", folder / "best.pt", *same_plugins()]
    next_step(*command, "--format", "onnx", extra="export")


def report_epoch(
    run: Any,  # noqa: ANN401 - a Trainer, whose import needs PyTorch
) -> None:
    """Print the metrics of the last epoch, and how long the rest of the run will take.

    A run does not end because its log is gone or full; the last line of all says so.
    """
    line = epoch_line(
        run.history,
        epochs=run.recipe.epochs,
        val_every=run.recipe.val_every,
        scores=run.scores,
        classes=run.classes,
    )
    with suppress(OutputError, BrokenPipeError):
        echo(line)


def find_last(resume: str) -> Path:
    """Return the checkpoint to resume from.

    Args:
        resume: A file, a run's folder, a run's name, or `NEWEST`.

    Raises:
        ModelError: There is none.
    """
    if resume == NEWEST:
        found = sorted((RUNS / "train").glob("*/last.pt"), key=lambda path: path.stat().st_mtime_ns)
    else:
        paths = (Path(resume), Path(resume) / "last.pt", RUNS / "train" / resume / "last.pt")
        found = [path for path in paths if path.is_file()][:1]
    if not found:
        msg = (
            f"there is no last.pt of {'any run' if resume == NEWEST else resume}; start one with:"
            " segdeploy train --name NAME"
        )
        raise ModelError(msg)
    return found[-1]


def import_training() -> tuple[Any, Any]:
    """Return the modules `trainer` and `distributed`, which need PyTorch.

    Raises:
        MissingExtraError: A library that they need is not installed.
    """
    try:
        from . import distributed, trainer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    return trainer, distributed
