"""The command `segdeploy train`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from segdeploy.commands.size import ImageSize
from segdeploy.console import next_step, note
from segdeploy.errors import ConfigError, DataError, MissingExtraError, ModelError
from segdeploy.runs import RUNS, new_run

from .history import best_epoch
from .loss_terms import LOSSES
from .recipe import CLASS_WEIGHTS, OPTIMIZERS, Recipe, read_recipe
from .schedule import SCHEDULES

NEWEST = "newest"
MOVABLE = {"data", "device", "threads", "workers"}
"""What may differ when a run goes on: where it happens, not what happens."""

F = Callable[..., Any]


def override(flag: str, kind: Any, text: str) -> Callable[[F], F]:  # noqa: ANN401 - click's types have no common one
    """Make an option that changes one value of the recipe."""
    key = flag.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_")
    default = getattr(Recipe(), key)
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    suffix = "" if shown == "" else f"  [default: {shown}]"
    return click.option(flag, key, type=kind, default=None, help=f"{text}{suffix}")


@click.command()
@click.argument("recipe", required=False)
@override("--model", str, "Network; `segdeploy models` lists them.")
@override("--dataset", str, "Data set; `streets` needs no folder.")
@override("--data", click.Path(), "Folder of the data set.")
@override("--epochs", int, "How often every picture is seen.")
@override("--imgsz", ImageSize(), "Height,width of the network's input, or one number for a square.")
@override("--batch", int, "Pictures in one step.")
@override("--accumulate", int, "Batches whose gradients make one step.")
@override("--loss", str, f"Sum of {', '.join(LOSSES)}, for example ce+dice or 0.5*ohem+lovasz.")
@override("--class-weights", click.Choice(CLASS_WEIGHTS), "What a class weighs in the loss.")
@override("--optimizer", click.Choice(OPTIMIZERS), "What turns gradients into steps.")
@override("--lr", float, "Learning rate after the warm-up.")
@override("--schedule", click.Choice(SCHEDULES), "How the learning rate falls.")
@override("--ema", float, "Share that the moving average of the weights keeps in a step; 0 for no average.")
@override("--weight-decay", float, "Decay of the weights.")
@override("--seed", int, "Seed of all random numbers.")
@override("--device", str, "auto, cpu, cuda or cuda:n.")
@override("--amp/--no-amp", bool, "Half precision on a CUDA device.")
@override("--workers", int, "Processes that read pictures; -1 fits the machine.")
@override("--threads", int, "Threads of one operation on a processor; -1 for one a core that may be used.")
@click.option("--name", help="Name of the run's folder.  [default: MODEL-DATASET]")
@click.option(
    "--resume", is_flag=False, flag_value=NEWEST, metavar="[PATH]", help="Go on from a last.pt, a run's folder or name, or the newest run."
)
def train(recipe: str | None, name: str | None, resume: str | None, **options: Any) -> None:  # noqa: ANN401 - values of the recipe
    """Train a network on pictures with truth.

    RECIPE is a TOML file, or the name of one in the box, for example streets-demo; options beat it.
    The checkpoints, figures and pictures land in runs/train/NAME.
    """
    chosen = {key: value for key, value in options.items() if value is not None}
    if resume is None:
        values = (read_recipe(recipe) if recipe else {}) | chosen
        start(Recipe.from_dict(values, source=recipe or "the command line"), name)
        return
    if recipe or name or not chosen.keys() <= MOVABLE:
        msg = (
            f"a resumed run keeps its recipe and name; beside --resume only {', '.join(f'--{key}' for key in sorted(MOVABLE))} may be given"
        )
        raise ConfigError(msg)
    go_on(find_last(resume), chosen)


def start(recipe: Recipe, name: str | None) -> None:
    """Train from fresh weights in a new folder."""
    look_first(recipe)
    training = import_training()
    run = training.Run(recipe)
    finish(run, new_run("train", name or f"{recipe.model}-{recipe.dataset}"))


def look_first(recipe: Recipe) -> None:
    """Look quickly at a data set that lies in files, and tell what is to be known of it.

    Raises:
        DataError: Something would spoil the training.
    """
    if not recipe.data:
        return
    from segdeploy.checks.quick import quick_check
    from segdeploy.checks.split import survey_all
    from segdeploy.datasets import layout

    surveys, _ = survey_all(layout(recipe.dataset), Path(recipe.data))
    more = f"see all with: segdeploy data check {recipe.data} --dataset {recipe.dataset}"
    for finding in quick_check({split: surveys[split] for split in ("train", "val") if split in surveys}):
        if finding.severity == "error":
            msg = f"{finding.sentence} ({finding.kind} in {finding.split}; {more})"
            raise DataError(msg)
        note(f"{finding.sentence} ({more})")


def go_on(last: Path, chosen: Mapping[str, Any]) -> None:
    """Train from where a run was left, in its folder."""
    training = import_training()
    from segdeploy.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(last)
    began = checkpoint.card.training.recipe if checkpoint.card.training else {}
    run = training.Run(Recipe.from_dict({**began, **chosen}, source=str(last)), checkpoint)
    note(f"going on after epoch {len(run.history)} of {last}")
    finish(run, last.parent)


def finish(run: Any, folder: Path) -> None:  # noqa: ANN401 - training.Run, whose import costs PyTorch
    """Train, print a line an epoch, and say where everything is."""
    note(f"training {run.recipe.model} on {run.recipe.dataset}: {run.setting}")
    run.fit(folder, report=lambda epoch: click.echo(epoch.line(run.recipe.epochs)))
    best = best_epoch(run.history)
    assert best is not None
    click.echo(f"best mIoU {best.miou:.4f} in epoch {best.epoch}: {folder / 'best.pt'}")
    for file in ("last.pt", "results.csv", "curves.png", "samples.png"):
        click.echo(f"  {folder / file}")
    next_step(f"segdeploy export {folder / 'best.pt'} --format onnx")


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
        msg = f"there is no last.pt of {'any run' if resume == NEWEST else resume}; begin with: segdeploy train --name NAME"
        raise ModelError(msg)
    return found[-1]


def import_training() -> Any:  # noqa: ANN401 - a module
    """Import what needs PyTorch, only when it is needed; what is missing is told."""
    try:
        from . import training
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    return training
