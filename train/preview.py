"""The command `segdeploy data preview`; it lives here because it shows what training makes of pictures."""

from collections.abc import Iterator
from pathlib import Path

import click

from segdeploy.checks.recognition import open_splits
from segdeploy.commands.plugin import plugin_option, same_plugins
from segdeploy.console import next_step, note
from segdeploy.contact_sheet import contact_sheet
from segdeploy.datasets import Dataset, Sample
from segdeploy.errors import ConfigError
from segdeploy.pictures import write_picture

from .augment import augment, chance
from .recipe import Recipe, read_recipe


@click.command()
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--dataset", help="Name of the data set; `streets` needs no folder.  [default: what lies in DATA]")
@click.option("--split", default="train", show_default=True, help="Which split.")
@click.option("--count", default=16, show_default=True, type=click.IntRange(min=1), help="Pictures, evenly taken from the split.")
@click.option("--columns", default=4, show_default=True, type=click.IntRange(min=1), help="Pictures in a row.")
@click.option("--width", default=320, show_default=True, type=click.IntRange(min=16, max=4096), help="Width of each, in pixels.")
@click.option("--opacity", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="Share of the classes' colors.")
@click.option(
    "--augmented", is_flag=True, help="Show a picture at the left of each row, and at its right what the first epochs make of it."
)
@click.option("--recipe", help="Whose augmentation: a TOML file, or a recipe in the box.  [default: the usual values]")
@plugin_option
@click.option("--output", default="preview.png", show_default=True, type=click.Path(dir_okay=False, path_type=Path), help="The PNG.")
def preview(
    *,
    data: Path | None,
    dataset: str | None,
    split: str,
    count: int,
    columns: int,
    width: int,
    opacity: float,
    augmented: bool,
    recipe: str | None,
    output: Path,
) -> None:
    """Draw pictures of a data set with their truth on one sheet."""
    name, splits = open_splits(dataset, data)
    if split not in splits:
        msg = f"there is no split {split!r} of {name}; choose one of {', '.join(splits)}"
        raise ConfigError(msg)
    samples = splits[split]
    if augmented:
        values = Recipe.from_dict(read_recipe(recipe) if recipe else {}, source=recipe or "the defaults")
        shown = [tile for index in spread(samples, -(-count // columns)) for tile in epochs(samples, index, values, columns - 1)]
    else:
        shown = [samples[index] for index in spread(samples, count)]
    write_picture(output, contact_sheet(shown, samples.classes, columns=columns, width=width, opacity=opacity))
    note(f"wrote {output}: {len(shown)} pictures of {name} {split}")
    named = ["--dataset", name] if dataset else []
    next_step("segdeploy", *(["data", "check", data] if data else ["train"]), *named, *same_plugins())


def spread(samples: Dataset, count: int) -> list[int]:
    """Take indices evenly from all."""
    taken = min(count, len(samples))
    return [number * len(samples) // taken for number in range(taken)]


def epochs(samples: Dataset, index: int, recipe: Recipe, count: int) -> Iterator[Sample]:
    """Give a sample as it is, and as each of the first epochs of a training by this recipe sees it."""
    sample = samples[index]
    yield sample
    for epoch in range(count):
        image, mask = augment(sample.image, sample.mask, recipe, chance(recipe, epoch, index=index))
        yield Sample(image=image, mask=mask, name=f"{sample.name}, epoch {epoch + 1}")
