"""The command `segdeploy eval`."""

import json
from pathlib import Path

import click
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from segdeploy.assets import name_of
from segdeploy.backends.loading import BACKENDS, load_backend
from segdeploy.backends.tta import AugmentedBackend
from segdeploy.card import ModelCard
from segdeploy.cli.console import next_step, note, progress
from segdeploy.cli.options import Artifact, plugin_option
from segdeploy.cli.run_inputs import tta_option
from segdeploy.datasets.registry import open_for_card
from segdeploy.errors import DataError
from segdeploy.inference.evaluation import evaluate as score
from segdeploy.inference.evaluation import ids_writer
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.segmentation import Scores


@click.command("eval")
@click.argument("model", type=Artifact())
@click.option("--dataset", help="Name of the dataset.  [default: the one of the training]")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the dataset.  [default: the one of the training]",
)
@click.option("--split", default="val", show_default=True, help="Which split.")
@click.option(
    "--backend",
    default="auto",
    show_default=True,
    type=click.Choice(BACKENDS),
    help="What must run it.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:n.")
@click.option(
    "--batch", default=1, show_default=True, type=click.IntRange(min=1), help="Images at once."
)
@tta_option
@click.option(
    "--save-ids",
    type=click.Path(path_type=Path),
    help="Folder for the answers with the ids that the dataset's server reads.",
)
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON, each in [0, 1].")
def evaluate(
    *,
    model: Path,
    dataset: str | None,
    data: Path | None,
    split: str,
    backend: str,
    device: str,
    batch: int,
    views: tuple[str, ...],
    save_ids: Path | None,
    as_json: bool,
) -> None:
    """Score a MODEL (.pt, .onnx or .torchscript) on a dataset, at the images' own size."""
    loaded = load_backend(model, backend=backend, device=device)
    name, images = open_for_card(loaded.card, dataset, data=data, split=split)
    save = ids_writer(name, save_ids) if save_ids else None
    note(f"{model} on {loaded.device}, {len(images)} images of {name} {split}")
    known, given = (
        [one.name for one in classes] for classes in (loaded.card.classes, images.classes)
    )
    if known != given and len(known) == len(given):
        one, other = next(
            (one, other) for one, other in zip(known, given, strict=True) if one != other
        )
        note(
            f"careful: the network's {one!r} is compared with the data's {other!r}; the scores tell"
            " only if both mean the same"
        )
    with progress("eval", len(images)) as step:
        scores = score(
            Predictor(AugmentedBackend(loaded, views)),
            images,
            batch=batch,
            on_step=step,
            on_mask=save,
        )
    if save_ids:
        note(f"wrote {len(images)} masks to {save_ids}")
    if save_ids and not scores.pixels:
        note(f"{name} {split} has no truth, so there are no scores")
    elif not scores.pixels:
        msg = (
            f"{name} {split} has no labeled pixel, so there is nothing to score; keep the answers"
            " with --save-ids FOLDER"
        )
        raise DataError(msg)
    elif as_json:
        iou = {
            label.name: value for label, value in zip(loaded.card.classes, scores.iou, strict=True)
        }
        values = {
            "model": str(model),
            "device": loaded.device,
            "dataset": name,
            "split": split,
            "pictures": len(images),
            "tta": list(views),
        }
        click.echo(json.dumps({**values, "scores": to_builtins(scores), "classes": iou}, indent=2))
    else:
        show(scores, loaded.card)
    next_step(
        "segdeploy",
        *(
            ("export", model)
            if model.suffix == ".pt"
            else ("run", "--model", name_of(model), "--image", "IMAGE")
        ),
    )


def show(scores: Scores, card: ModelCard) -> None:
    """Print the scores of each class, and of all, in percent."""
    table = Table("class", box=None)
    table.add_column("IoU", justify="right")
    for label, value in zip(card.classes, scores.iou, strict=True):
        table.add_row(label.name, "does not occur" if value is None else f"{value:.2%}")
    for name, value in (
        ("mIoU", scores.miou),
        ("pixel accuracy", scores.pixel_accuracy),
        ("Dice", scores.dice),
    ):
        table.add_row(f"[bold]{name}", f"[bold]{value:.2%}")
    Console().print(table)
