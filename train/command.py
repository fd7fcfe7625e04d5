"""The command `segdeploy train`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import join
from typing import Any

import click

from segdeploy.cli.console import next_step, note
from segdeploy.cli.options import ImageSize, plugin_option, same_plugins
from segdeploy.errors import ConfigError, DataError, MissingExtraError, ModelError
from segdeploy.system.runs import RUNS, new_run

from .history import best_epoch
from .recipe import (
    CLASS_WEIGHTS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    Recipe,
    read_recipe,
    with_overrides,
)

NEWEST = "newest"
MOVABLE = {"data", "device", "threads", "workers"}
"""What may differ when a run goes on: where it happens, not what happens."""

F = Callable[..., Any]


def override(flag: str, kind: Any, text: str) -> Callable[[F], F]:  # noqa: ANN401 - click's types have no common one
    """Make an option that changes one value of the recipe."""
    key = flag.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_")
    default = getattr(Recipe(), key)
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    suffix = "" if default in {"", (0, 0)} else f"  [default: {shown}]"
    return click.option(flag, key, type=kind, default=None, help=f"{text}{suffix}")


@click.command()
@click.argument("recipe", required=False)
@override("--model", str, "Network; `segdeploy models` lists them.")
@click.option("--backbone", help="Backbone of the network, as --set arguments.backbone=NAME.")
@click.option(
    "--output-stride",
    type=int,
    help="Size of an image by that of its coarsest features, as --set arguments.output_stride=N.",
)
@override("--weights", click.Path(), "Checkpoint to begin with, also one of other classes.")
@override("--weights-backbone", str, "What the backbone begins with: imagenet, or a file.")
@override("--freeze", int, "First epochs in which the encoder keeps still; -1 for all.")
@override("--dataset", str, "Dataset; `streets` needs no folder.")
@override("--data", click.Path(), "Folder of the dataset.")
@override(
    "--overfit",
    int,
    "Train and validate on the first N images, unchanged: a check that learning works.",
)
@override(
    "--final/--no-final",
    bool,
    "Learn from the validation split too: for the last weights, after every choice.",
)
@override("--epochs", int, "How often every image is seen.")
@override("--patience", int, "Epochs without a better mIoU after which the run ends; 0 for never.")
@override("--val-every", int, "Epochs from one validation to the next.")
@override(
    "--imgsz", ImageSize(), "Height,width of the network's input, or one number for a square."
)
@override(
    "--crop", ImageSize(), "Height,width of the part of it that is trained on; all where left out."
)
@override("--batch", int, "Images at once, on all devices together.")
@override("--accumulate", int, "Batches whose gradients make one step.")
@override("--loss", str, f"Sum of {', '.join(LOSSES)}, for example ce+dice or 0.5*ohem+lovasz.")
@override("--class-weights", click.Choice(CLASS_WEIGHTS), "What a class weighs in the loss.")
@override("--optimizer", click.Choice(OPTIMIZERS), "What turns gradients into steps.")
@override("--lr", float, "Learning rate after the warm-up.")
@override("--schedule", click.Choice(SCHEDULES), "How the learning rate falls.")
@override(
    "--ema",
    float,
    "Share that the moving average of the weights keeps in a step; 0 for no average.",
)
@override("--weight-decay", float, "Decay of the weights.")
@override("--seed", int, "Seed of all random numbers.")
@override(
    "--deterministic/--no-deterministic", bool, "The same bits in every run on a CUDA device too."
)
@override("--device", str, "auto, cpu, cuda or cuda:n.")
@override("--amp/--no-amp", bool, "Half precision on a device that is fast with it.")
@override("--compile/--no-compile", bool, "Let PyTorch compile the network.")
@override("--workers", int, "Processes that read images; -1 fits the machine.")
@override(
    "--threads", int, "Threads of one operation on a processor; -1 for one a core that may be used."
)
@override("--tensorboard/--no-tensorboard", bool, "Write events for TensorBoard too.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any value of the recipe, for example arguments.width=16.",
)
@plugin_option
@click.option("--name", help="Name of the run's folder.  [default: MODEL-DATASET]")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[PATH]",
    help="Go on from a last.pt, a run's folder or name, or the newest run.",
)
def train(
    *,
    recipe: str | None,
    name: str | None,
    resume: str | None,
    overrides: Sequence[str],
    **options: Any,  # noqa: ANN401 - values of the recipe
) -> None:
    """Train a network on images with truth.

    RECIPE is a TOML file, or the name of one in the box, for example streets-demo; options beat it.
    The checkpoints, figures and images land in runs/train/NAME.
    """
    chosen = {key: value for key, value in options.items() if value is not None}
    arguments = {key: chosen.pop(key) for key in ("backbone", "output_stride") if key in chosen}
    if resume is None:
        values = read_recipe(recipe) if recipe else {}
        if chosen.get("model", values.get("model")) != values.get("model"):
            # They are another network's.
            values.pop("arguments", None)
        values |= chosen
        short = [f"arguments.{key}={value}" for key, value in arguments.items()]
        start(
            with_overrides(values, [*short, *overrides]),
            source=recipe or "the command line",
            name=name,
        )
        return
    if recipe or name or arguments or overrides or not chosen.keys() <= MOVABLE:
        msg = (
            "a resumed run keeps its recipe and name; beside --resume only"
            f" {', '.join(f'--{key}' for key in sorted(MOVABLE))} may be given"
        )
        raise ConfigError(msg)
    go_on(find_last(resume), chosen)


def start(values: Mapping[str, Any], *, source: str, name: str | None) -> None:
    """Train from fresh or borrowed weights in a new folder.

    Args:
        values: Keys and values of the recipe.
        source: Where they come from, for messages.
        name: Name of the run; None for that of network and dataset.
    """
    if values.get("data") and "dataset" not in values:
        from segdeploy.datasets.checks.detect import recognize

        values = {**values, "dataset": recognize(Path(values["data"])).name}
        note(f"{values['data']} holds {values['dataset']}; --dataset would choose another")
    recipe = Recipe.from_dict(values, source=source)
    look_first(recipe)
    training, processes = import_training()
    if recipe.weights:
        from .pretrained import kind_of

        kind = kind_of(Path(recipe.weights))
        if recipe.model == kind["model"] or "model" not in values:
            kind["arguments"] = {**kind["arguments"], **values.get("arguments", {})}
            recipe = replace(
                recipe,
                **{
                    key: value
                    for key, value in kind.items()
                    if key == "arguments" or key not in values
                },
            )
    with processes.joined() as joined:
        run = training.Run(recipe, processes=joined)
        folder = (
            new_run("train", name or f"{recipe.model}-{recipe.dataset}") if joined.leads else Path()
        )
        finish(run, folder, leads=joined.leads)


def look_first(recipe: Recipe) -> None:
    """Look quickly at a dataset whose layout is known, and tell what is to be known of it.

    Raises:
        DataError: Something would spoil the training.
    """
    if not recipe.data:
        return
    from segdeploy.datasets.checks.check import quick_check
    from segdeploy.datasets.checks.split import survey_all
    from segdeploy.datasets.registry import has_builder_alone, layout

    if has_builder_alone(recipe.dataset):
        return
    surveys, _ = survey_all(layout(recipe.dataset), Path(recipe.data))
    more = (
        "see all with:"
        f" {join(['segdeploy', 'data', 'check', recipe.data, '--dataset', recipe.dataset, *same_plugins()])}"
    )
    for finding in quick_check(
        {split: surveys[split] for split in ("train", "val") if split in surveys}
    ):
        if finding.severity == "error":
            msg = f"{finding.sentence} ({finding.kind} in {finding.split}; {more})"
            raise DataError(msg)
        note(f"{finding.sentence} ({more})")


def go_on(last: Path, chosen: Mapping[str, Any]) -> None:
    """Train from where a run was left, in its folder."""
    training, processes = import_training()
    from segdeploy.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(last)
    began = checkpoint.card.training.recipe if checkpoint.card.training else {}
    with processes.joined() as joined:
        run = training.Run(
            Recipe.from_dict({**began, **chosen}, source=str(last)), checkpoint, processes=joined
        )
        if joined.leads:
            note(f"going on after epoch {len(run.history)} of {last}")
        finish(run, last.parent, leads=joined.leads)


def finish(run: Any, folder: Path, *, leads: bool) -> None:  # noqa: ANN401 - training.Run, whose import costs PyTorch
    """Train; the process that leads prints a line an epoch, and says where everything is."""
    if not leads:
        run.fit(folder, report=lambda _: None)
        return
    note(f"training {run.recipe.model} on {run.recipe.dataset}: {run.setting}")
    run.fit(folder, report=lambda epoch: click.echo(epoch.line(run.recipe.epochs)))
    best = best_epoch(run.history)
    assert best is not None
    click.echo(f"best mIoU {best.miou:.4f} in epoch {best.epoch}: {folder / 'best.pt'}")
    for file in (
        "last.pt",
        "results.csv",
        "curves.png",
        "classes.png",
        "confusion.png",
        "samples.png",
    ):
        click.echo(f"  {folder / file}")
    next_step("segdeploy", "export", folder / "best.pt", *same_plugins(), "--format", "onnx")


def find_last(resume: str) -> Path:
    """Find the checkpoint to go on from.

    Args:
        resume: A file, a run's folder, a run's name, or NEWEST.

    Raises:
        ModelError: There is none.
    """
    if resume == NEWEST:
        found = sorted((RUNS / "train").glob("*/last.pt"), key=lambda path: path.stat().st_mtime_ns)
    else:
        places = (Path(resume), Path(resume) / "last.pt", RUNS / "train" / resume / "last.pt")
        found = [place for place in places if place.is_file()][:1]
    if not found:
        msg = (
            f"there is no last.pt of {'any run' if resume == NEWEST else resume}; begin with:"
            " segdeploy train --name NAME"
        )
        raise ModelError(msg)
    return found[-1]


def import_training() -> tuple[Any, Any]:
    """Import what needs PyTorch, only when it is needed.

    The modules `training` and `processes`; what is missing is told.
    """
    try:
        from . import distributed as processes
        from . import trainer as training
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    return training, processes
