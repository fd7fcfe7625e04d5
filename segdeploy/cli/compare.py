"""The command `segdeploy compare`."""

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import click

from segdeploy.backends.loading import load_backend
from segdeploy.card import ModelCard
from segdeploy.cli.console import next_step, note, progress
from segdeploy.cli.options import Artifact, RenamedOption, plugin_option
from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.datasets.registry import open_for
from segdeploy.errors import ConfigError, GateError
from segdeploy.imaging.io import list_images, read_image
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.comparison import Asked, Disagreement
from segdeploy.metrics.comparison import compare as ask_both
from segdeploy.reports.comparison import to_html
from segdeploy.system.files import write_text
from segdeploy.system.runs import result_folder


@click.command()
@click.argument("first", type=Artifact())
@click.argument("second", type=Artifact())
@click.option(
    "--dataset", help="Name of the dataset.  [default: the one of the first one's training]"
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the dataset.  [default: the one of the training]",
)
@click.option("--split", default="val", show_default=True, help="Which split.")
@click.option(
    "--image",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An image or a folder of images instead of a dataset.",
)
@click.option(
    "--images",
    cls=RenamedOption,
    older=("--pictures",),
    type=click.IntRange(min=1),
    help="On how many images at most, evenly spread.  [default: all]",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:n.")
@click.option(
    "--max-disagreement",
    type=click.FloatRange(0, 100),
    help="Percent of the pixels; above it the exit code is 6.",
)
@click.option("--name", help="Name of the run's folder.  [default: both files']")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the page.  [default: runs/compare/NAME]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the figures as JSON, each share in [0, 1]."
)
@plugin_option
def compare(
    *,
    first: Path,
    second: Path,
    dataset: str | None,
    data: Path | None,
    split: str,
    image: Sequence[Path],
    images: int | None,
    device: str,
    max_disagreement: float | None,
    name: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show where two artifacts, of any kind, give other labels to the same images.

    FIRST counts as right. The page has the share of different labels by class and by image, and
    heat maps.
    """
    one, other = load_backend(first, device=device), load_backend(second, device=device)
    check_classes(one.card, other.card)
    if image and (dataset or data):
        msg = "images and a dataset are named; give --image, or --dataset and --data"
        raise ConfigError(msg)
    source, count, asked = (
        from_files(image, images) if image else from_dataset(one.card, dataset, data, split, images)
    )
    note(f"{first} on {one.device}, {second} on {other.device}, {count} images of {source}")
    with result_folder("compare", name or f"{first.stem}-{second.stem}", output=output) as folder:
        with progress("compare", count) as step:
            found = ask_both(
                Predictor(one), Predictor(other), asked, classes=len(one.card.classes), on_step=step
            )
        page = to_html(
            found, first=str(first), second=str(second), source=source, classes=one.card.classes
        )
        write_text(folder / "report.html", page)
        write_text(
            folder / "report.json",
            json.dumps({"first": str(first), "second": str(second), **found.to_dict()}, indent=2),
        )
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else in_words(found, one.card))
    next_step("open", folder / "report.html")
    if max_disagreement is not None and not 100 * found.differing <= max_disagreement:
        msg = (
            f"{second} differs from {first} on {found.differing:.3%} of the pixels, and at most"
            f" {max_disagreement:g}% may; see {folder}"
        )
        raise GateError(msg)


def check_classes(first: ModelCard, second: ModelCard) -> None:
    """Refuse two networks whose labels mean different things.

    Raises:
        ConfigError: They know other classes, or the same in another order.
    """
    names = [[label.name for label in card.classes] for card in (first, second)]
    if names[0] != names[1]:
        pairs = zip_longest(*names, fillvalue="none")
        one, other = next((one, other) for one, other in pairs if one != other)
        msg = (
            f"the two networks know other classes ({one!r} and {other!r} in the same place);"
            " compare networks with the same classes"
        )
        raise ConfigError(msg)


def from_files(paths: Sequence[Path], most: int | None) -> tuple[str, int, Iterator[Asked]]:
    """Return images without truth.

    What they are, how many, and they themselves, read one at a time.
    """
    found = list_images(paths)
    chosen = [found[index] for index in evenly_spaced(len(found), most)]
    return (
        " ".join(map(str, paths)),
        len(chosen),
        (Asked(name=path.name, image=read_image(path), truth=None) for path in chosen),
    )


def from_dataset(
    card: ModelCard, name: str | None, data: Path | None, split: str, most: int | None
) -> tuple[str, int, Iterator[Asked]]:
    """Return images of a dataset, with truth where its classes are the network's.

    See `from_files`.
    """
    opened, samples = open_for(card, name, data=data, split=split)
    known = [label.name for label in samples.classes] == [label.name for label in card.classes]
    indices = evenly_spaced(len(samples), most)

    def read() -> Iterator[Asked]:
        for index in indices:
            sample = samples[index]
            yield Asked(name=sample.name, image=sample.image, truth=sample.mask if known else None)

    return f"{opened} {split}", len(indices), read()


def in_words(found: Disagreement, card: ModelCard) -> str:
    """Return how two networks differ, in a few lines."""
    lines = [
        f"different labels  {found.differing:.4%}, near boundaries {found.near_boundaries:.4%}"
    ]
    worst = max(
        (share, label.name)
        for share, label in zip(found.by_class, card.classes, strict=True)
        if share is not None
    )
    lines.append(f"most of a class   {worst[0]:.4%}, {worst[1]}")
    lines.append(
        "most of an image {1:.4%}, {0}".format(*max(found.by_image, key=lambda pair: pair[1]))
    )
    if found.scores is not None:
        lines.append(f"mIoU              {found.scores[0].miou:.2%} and {found.scores[1].miou:.2%}")
    return "\n".join(lines)
