"""The command `segdeploy compare`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy.cli.console import echo, next_step, note, progress
from segdeploy.cli.options import (
    Artifact,
    Command,
    dataset_options,
    device_option,
    json_option,
    option,
    options,
    plugin_option,
    section,
    split_options,
    trust_option,
)
from segdeploy.errors import ConfigError, GateError
from segdeploy.system.files import write_text
from segdeploy.system.runs import result_folder

if TYPE_CHECKING:
    from segdeploy.card import ModelCard
    from segdeploy.metrics.comparison import Comparison, ComparisonImage


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `segdeploy compare`.

    Attributes:
        first: The artifact that is the reference.
        second: The other artifact.
        image: Images and folders that are compared on; empty for a dataset.
        dataset: Name of the dataset; None for the one of the first artifact's training.
        data: Folder of the dataset; None for the one of the training.
        split: Split of the dataset.
        images: Number of images at most; None for all.
        device: Device of the runtime.
        trust: Whether the files are loaded as they are.
        max_disagreement: Largest share of different labels that passes, in percent; None for any.
        name: Name of the run's folder; None for both files' names.
        output: The folder itself; None for a new one below runs/compare.
        as_json: Whether the result is printed as JSON.
    """

    first: Path
    second: Path
    image: tuple[Path, ...]
    dataset: str | None
    data: Path | None
    split: str
    images: int | None
    device: str
    trust: bool
    max_disagreement: float | None
    name: str | None
    output: Path | None
    as_json: bool

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: Both images and a dataset are named.
        """
        if self.image and (self.dataset or self.data):
            msg = "images and a dataset are named; give --image, or --dataset and --data"
            raise ConfigError(msg)


@click.command(cls=Command)
@click.argument("first", type=Artifact())
@click.argument("second", type=Artifact())
@dataset_options
@split_options
@section(
    "Images",
    option(
        "--image",
        multiple=True,
        type=click.Path(path_type=Path),
        help="An image or a folder of images in place of a dataset; may be repeated.",
    ),
    option(
        "--images",
        older=("--pictures",),
        type=click.IntRange(min=1),
        show_default="all",
        help="Maximum number of images, evenly spaced.",
    ),
)
@section("Model", device_option, trust_option)
@section(
    "Output",
    option(
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        show_default="runs/compare/NAME",
        help="Folder for the report.",
    ),
    option("--name", show_default="both files' names", help="Name of the run's folder."),
    json_option("the result, each share in [0, 1],"),
    option(
        "--max-disagreement",
        type=click.FloatRange(0, 100),
        help="Largest share of different labels, in percent; above it the exit code is 6.",
    ),
)
@plugin_option
@options(CompareOptions)
def compare(options: CompareOptions) -> None:
    """Show where two artifacts, of any kind, give different labels to the same images.

    FIRST is the reference. The report has the share of different labels by class and by image, and
    heat maps.
    """
    # `--help` needs none of them.
    from segdeploy.backends.loading import load_backend
    from segdeploy.inference.predictor import Predictor
    from segdeploy.metrics import comparison
    from segdeploy.reports.comparison import to_html

    first, second = options.first, options.second
    reference = load_backend(first, device=options.device, trust=options.trust)
    other = load_backend(second, device=options.device, trust=options.trust)
    classes = reference.card.classes
    check_classes(reference.card, other.card)
    source, count, images = (
        read_files(options.image, options.images)
        if options.image
        else read_dataset(reference.card, options)
    )
    note(f"{first} on {reference.device}, {second} on {other.device}, {count} images of {source}")
    name = options.name or f"{first.stem}-{second.stem}"
    with result_folder("compare", name, output=options.output) as folder:
        with progress("compare", count) as step:
            result = comparison.compare(
                Predictor(reference),
                Predictor(other),
                images,
                classes=len(classes),
                on_step=step,
            )
        page = to_html(result, first=str(first), second=str(second), source=source, classes=classes)
        write_text(folder / "report.html", page)
        values = {"first": str(first), "second": str(second), **result.to_dict()}
        write_text(folder / "report.json", json.dumps(values, indent=2))
    if options.as_json:
        echo(json.dumps(result.to_dict(), indent=2))
    else:
        echo(summarize(result, reference.card))
    next_step("python", "-m", "webbrowser", folder / "report.html")
    limit = options.max_disagreement
    if limit is not None and not 100 * result.differing <= limit:
        msg = (
            f"{second} differs from {first} on {result.differing:.3%} of the pixels, more than the"
            f" {limit:g}% that --max-disagreement allows; see {folder}"
        )
        raise GateError(msg)


def check_classes(first: "ModelCard", second: "ModelCard") -> None:
    """Check that two networks have the same classes in the same order.

    Raises:
        ConfigError: Their classes, or the order of these, differ.
    """
    for card in (first, second):
        if not card.input.is_plain:
            msg = (
                f"a network takes {len(card.input.channels)} bands of {card.input.dtype}, and only"
                " networks of colors of 8 bits are compared; use 'segdeploy eval' for each"
            )
            raise ConfigError(msg)
    names = [[label.name for label in card.classes] for card in (first, second)]
    if names[0] != names[1]:
        pairs = zip_longest(*names, fillvalue="none")
        name, other = next((name, other) for name, other in pairs if name != other)
        msg = (
            f"the classes of the two networks differ ({name!r} and {other!r} at the same index);"
            " compare networks with the same classes"
        )
        raise ConfigError(msg)


def read_files(
    paths: Sequence[Path], most: int | None
) -> "tuple[str, int, Iterator[ComparisonImage]]":
    """Return images without labels.

    Args:
        paths: Images and folders.
        most: Number of images at most; None for all.

    Returns:
        A name for the images, their number, and the images, read one at a time.
    """
    from segdeploy.datasets.dataset import evenly_spaced
    from segdeploy.imaging.io import image_names, list_images, read_image
    from segdeploy.metrics.comparison import ComparisonImage

    files = list_images(paths)
    chosen = [files[index] for index in evenly_spaced(len(files), most)]
    images = (
        ComparisonImage(name=name, image=read_image(path), labels=None)
        for path, name in zip(chosen, image_names(chosen), strict=True)
    )
    return " ".join(map(str, paths)), len(chosen), images


def read_dataset(
    card: "ModelCard", options: CompareOptions
) -> "tuple[str, int, Iterator[ComparisonImage]]":
    """Return images of a dataset, with labels where its classes are the network's.

    Returns:
        As `read_files`.
    """
    from segdeploy.datasets.dataset import evenly_spaced
    from segdeploy.datasets.registry import open_for_card
    from segdeploy.metrics.comparison import ComparisonImage

    name, dataset = open_for_card(card, options.dataset, data=options.data, split=options.split)
    is_labeled = [label.name for label in dataset.classes] == [label.name for label in card.classes]
    indices = evenly_spaced(len(dataset), options.images)
    samples = (dataset[index] for index in indices)
    images = (
        ComparisonImage(
            name=sample.name, image=sample.image, labels=sample.mask if is_labeled else None
        )
        for sample in samples
    )
    return f"{name} {options.split}", len(indices), images


def summarize(result: "Comparison", card: "ModelCard") -> str:
    """Return how two networks differ, in a few lines."""
    shares = [
        (share, label.name)
        for share, label in zip(result.by_class, card.classes, strict=True)
        if share is not None
    ]
    share, name = max(shares)
    image, image_share = max(result.by_image, key=lambda pair: pair[1])
    lines = [
        f"different labels  {result.differing:.4%}, near boundaries {result.near_boundaries:.4%}",
        f"most in a class   {share:.4%}, {name}",
        f"most in an image  {image_share:.4%}, {image}",
    ]
    if result.scores is not None:
        first, second = result.scores
        lines.append(f"mIoU              {first.miou:.2%} and {second.miou:.2%}")
    return "\n".join(lines)
