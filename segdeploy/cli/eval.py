"""The command `segdeploy eval`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy.assets import short_name
from segdeploy.cli.console import add_row, echo, next_step, note, progress, show
from segdeploy.cli.options import (
    SPLIT_HELP,
    Artifact,
    Command,
    dataset_options,
    device_option,
    json_option,
    option,
    options,
    plugin_option,
    section,
    trust_option,
)
from segdeploy.cli.run_inputs import (
    backend_option,
    imgsz_option,
    overlap_option,
    tile_option,
    tta_option,
)
from segdeploy.errors import ConfigError, DataError

if TYPE_CHECKING:
    from segdeploy.backends.base import Backend
    from segdeploy.card import LabelClass
    from segdeploy.datasets.dataset import Dataset
    from segdeploy.inference.label_map import ClassMapping
    from segdeploy.metrics.scores import Scores


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Options of `segdeploy eval`.

    Attributes:
        model: The artifact.
        dataset: Name of the dataset; None for the one of the training.
        data: Folder of the dataset; None for the one of the training.
        split: Split of the dataset; None for the one that suits it.
        backend: Name of the runtime, or "auto".
        device: Device of the runtime.
        batch: Images per call of the network.
        imgsz: Height and width of the network's input; None for its own.
        trust: Whether the file is loaded as it is.
        tta: Kinds of test-time augmentation.
        tile: Height and width of the tiles of large images; None for whole images.
        overlap: Pixels in which tiles blend.
        class_mapping: Which classes of network and dataset mean the same; None for the same ones.
        save_ids: Folder for masks in the ids of an evaluation server; None for none.
        as_json: Whether the scores are printed as JSON.
    """

    model: Path
    dataset: str | None
    data: Path | None
    split: str | None
    backend: str
    device: str
    batch: int
    imgsz: tuple[int, int] | None
    trust: bool
    tta: tuple[str, ...]
    tile: tuple[int, int] | None
    overlap: int
    class_mapping: str | None
    save_ids: Path | None
    as_json: bool

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: They do not.
        """
        if self.class_mapping is not None and self.save_ids is not None:
            msg = (
                "--save-ids writes the network's own classes, and --map others; give one of the two"
            )
            raise ConfigError(msg)
        if self.tile and (self.save_ids is not None or self.imgsz or self.batch > 1):
            msg = (
                "--tile is the size of the network's input too, and no mask is whole; leave out"
                " --imgsz, --batch and --save-ids"
            )
            raise ConfigError(msg)


@click.command("eval", cls=Command)
@click.argument("model", type=Artifact())
@dataset_options
@section(
    "Dataset",
    option(
        "--split",
        show_default="val, or all of a folder that is not divided and was not trained on",
        help=SPLIT_HELP,
    ),
)
@section(
    "Dataset",
    option(
        "--map",
        "class_mapping",
        metavar="NAME|FILE",
        help="Score a network of other classes: names for those of the same name,"
        ' cityscapes:camvid, camvid:cityscapes, or a TOML file with lines such as truck = "Car".',
    ),
)
@section(
    "Model",
    device_option,
    backend_option,
    option(
        "--batch", default=1, type=click.IntRange(min=1), help="Images per call of the network."
    ),
    imgsz_option,
    tta_option,
    trust_option,
)
@section("Large images", tile_option, overlap_option)
@section(
    "Output",
    json_option("the scores, each in [0, 1],"),
    option(
        "--save-ids",
        type=click.Path(path_type=Path),
        help="Folder for masks in the class ids of the dataset's evaluation server.",
    ),
)
@plugin_option
@options(EvalOptions)
def evaluate(options: EvalOptions) -> None:
    """Score a MODEL on a dataset, at the images' own size."""
    # `--help` needs none of them.
    from segdeploy.backends.base import at_size
    from segdeploy.backends.loading import load_backend
    from segdeploy.backends.tta import AugmentedBackend
    from segdeploy.datasets.registry import load, read_for, resolve_for_card, split_for_card
    from segdeploy.inference import evaluation
    from segdeploy.inference.label_map import read_mapping
    from segdeploy.inference.predictor import Predictor

    backend = load_backend(
        options.model, backend=options.backend, device=options.device, trust=options.trust
    )
    backend = at_size(backend, options.imgsz)
    card = backend.card
    name, data = resolve_for_card(card, options.dataset, data=options.data)
    split = options.split or split_for_card(card, name, data)
    dataset = read_for(load(name, data, split), card)
    save = evaluation.ids_writer(name, options.save_ids) if options.save_ids else None
    note(f"{options.model} on {backend.device}, {len(dataset)} images of {name} {split}")
    mapping, labels = None, card.classes
    if options.class_mapping is not None:
        mapping = read_mapping(options.class_mapping, card.classes, dataset.classes)
        labels = dataset.classes
    elif warning := evaluation.class_name_warning(card.classes, dataset.classes):
        note(f"warning: {warning}")
    network = AugmentedBackend(backend, options.tta)
    with progress("eval", len(dataset)) as step:
        if options.tile:
            scores = score_in_tiles(options, network, dataset, mapping=mapping, on_step=step)
        else:
            scores = evaluation.evaluate(
                Predictor(network),
                dataset,
                batch=options.batch,
                mapping=mapping,
                on_step=step,
                on_mask=save,
            )
    if save:
        note(f"wrote {len(dataset)} masks to {options.save_ids}")
    if scores.pixels:
        values = {
            "model": str(options.model),
            "device": backend.device,
            "dataset": name,
            "split": split,
            "pictures": len(dataset),
            "tta": list(options.tta),
        }
        print_scores(scores, labels, values, as_json=options.as_json)
    elif save:
        note(f"{name} {split} has no labels, so there are no scores")
    else:
        msg = (
            f"{name} {split} has no labeled pixel, so there is nothing to score; write the masks"
            " with --save-ids FOLDER"
        )
        raise DataError(msg)
    if options.model.suffix == ".pt":
        next_step("segdeploy", "export", options.model, extra="export")
    else:
        next_step("segdeploy", "run", "--model", short_name(options.model), "IMAGE")


def score_in_tiles(
    options: EvalOptions,
    backend: "Backend",
    dataset: "Dataset",
    *,
    mapping: "ClassMapping | None",
    on_step: Callable[[str], None],
) -> "Scores":
    """Return the scores on large images; see `evaluation.evaluate`."""
    from segdeploy.inference.evaluation import check_classes
    from segdeploy.inference.large_evaluation import evaluate_large
    from segdeploy.inference.tiling import Tiler

    assert options.tile is not None
    check_classes(backend.card, dataset, mapping=mapping)
    height, width = options.tile
    tiler = Tiler(backend, height=height, width=width, overlap=options.overlap)
    return evaluate_large(tiler, dataset, mapping=mapping, on_step=on_step)


def print_scores(
    scores: "Scores", classes: "Sequence[LabelClass]", values: dict[str, object], *, as_json: bool
) -> None:
    """Print the scores of each class and of all classes.

    Args:
        scores: The scores.
        classes: Classes that are scored.
        values: What else the JSON report holds.
        as_json: Whether a JSON report is printed instead of a table in percent.
    """
    by_class = zip([label.name for label in classes], scores.iou, strict=True)
    if as_json:
        from msgspec import to_builtins

        report = {**values, "scores": to_builtins(scores), "classes": dict(by_class)}
        echo(json.dumps(report, indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("class", box=None)
    table.add_column("IoU", justify="right")
    for name, iou in by_class:
        add_row(table, name, "not in the labels" if iou is None else f"{iou:.2%}")
    for name, value in (
        ("mIoU", scores.miou),
        ("pixel accuracy", scores.pixel_accuracy),
        ("Dice", scores.dice),
    ):
        add_row(table, Text(name, style="bold"), Text(f"{value:.2%}", style="bold"))
    show(table)
