"""`data preview`: contact sheet, augmented or not."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from segdeploy.arrays import Image
from segdeploy.card import LabelClass
from segdeploy.cli.console import next_step, note
from segdeploy.cli.options import plugin_option, same_plugins
from segdeploy.datasets.checks.detect import open_splits
from segdeploy.datasets.dataset import Dataset, Sample, evenly_spaced
from segdeploy.errors import ConfigError
from segdeploy.imaging.io import write_image
from segdeploy.imaging.overlay import BACKGROUND, Painter
from segdeploy.imaging.preprocess import resize, resize_mask

from .augmentation import augment, chance
from .recipe import Recipe, read_recipe

GAP = 10
LETTERS = 14
LINE = 22
INK = (225, 225, 225)
FRAME = (120, 120, 120)
UNLABELLED = LabelClass(name="not labeled", color=(0, 0, 0))


def contact_sheet(
    samples: Sequence[Sample],
    classes: Sequence[LabelClass],
    *,
    columns: int,
    width: int,
    opacity: float,
) -> Image:
    """Lay out samples in rows.

    Args:
        samples: Images with truth and name, one or more; they may differ in size.
        classes: Classes in the order of the masks' indices.
        columns: Samples in a row.
        width: Width of each, in pixels; a wider image is made smaller, a smaller one larger.
        opacity: Share of the classes' colors over the image, in [0, 1].

    Returns:
        (H, W, 3) uint8 blue-green-red.
    """
    painter = Painter(classes, opacity=opacity, legend=False)
    tiles = [_tile(sample, painter, width) for sample in samples]
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    whole = GAP + min(columns, len(tiles)) * (width + GAP)
    sheet = np.vstack([_row(row, whole) for row in rows] + [_legend((*classes, UNLABELLED), whole)])
    return np.asarray(cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _tile(sample: Sample, painter: Painter, width: int) -> PillowImage.Image:
    """Paint one sample with its name below, red-green-blue."""
    height = max(1, round(sample.image.shape[0] * width / sample.image.shape[1]))
    painted = painter.paint(
        resize(sample.image, height, width=width), resize_mask(sample.mask, height, width=width)
    )
    tile = PillowImage.new("RGB", (width, height + LINE), BACKGROUND)
    tile.paste(PillowImage.fromarray(cv2.cvtColor(painted, cv2.COLOR_BGR2RGB)))
    font = ImageFont.load_default(LETTERS)
    ImageDraw.Draw(tile).text(
        (0, height + LINE // 2),
        _shortened(sample.name, font, width),
        font=font,
        fill=INK,
        anchor="lm",
    )
    return tile


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Leave out the beginning of a name that is too long: frames differ in their ends."""
    start = next(start for start in range(len(name) + 1) if font.getlength(name[start:]) <= width)
    return f"…{name[start + 1 :]}" if start else name


def _row(tiles: Sequence[PillowImage.Image], width: int) -> Image:
    row = PillowImage.new("RGB", (width, GAP + max(tile.height for tile in tiles)), BACKGROUND)
    for place, tile in enumerate(tiles):
        row.paste(tile, (GAP + place * (tile.width + GAP), GAP))
    return np.asarray(row)


def _legend(classes: Sequence[LabelClass], width: int) -> Image:
    """Write the classes one after the other, in as many lines as they need."""
    font = ImageFont.load_default(LETTERS)
    places, x, line = [], GAP, 0
    for entry in classes:
        advance = LINE + round(font.getlength(entry.name)) + LINE
        if x > GAP and x + advance > width:
            x, line = GAP, line + 1
        places.append((x, GAP + line * LINE + LINE // 2))
        x += advance
    image = PillowImage.new("RGB", (width, 2 * GAP + (line + 1) * LINE), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for entry, (left, middle) in zip(classes, places, strict=True):
        draw.rectangle(
            (left, middle - LETTERS // 2, left + LETTERS, middle + LETTERS // 2),
            fill=entry.color,
            outline=FRAME,
        )
        draw.text((left + LINE, middle), entry.name, font=font, fill=INK, anchor="lm")
    return np.asarray(image)


@click.command()
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    help="Name of the dataset; `streets` needs no folder.  [default: what lies in DATA]",
)
@click.option("--split", default="train", show_default=True, help="Which split.")
@click.option(
    "--count",
    default=16,
    show_default=True,
    type=click.IntRange(min=1),
    help="Images, evenly taken from the split.",
)
@click.option(
    "--columns", default=4, show_default=True, type=click.IntRange(min=1), help="Images in a row."
)
@click.option(
    "--width",
    default=320,
    show_default=True,
    type=click.IntRange(min=16, max=4096),
    help="Width of each, in pixels.",
)
@click.option(
    "--opacity",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the classes' colors.",
)
@click.option(
    "--augmented",
    is_flag=True,
    help=(
        "Show an image at the left of each row, and at its right what the first epochs make of it."
    ),
)
@click.option(
    "--recipe",
    help="Whose augmentation: a TOML file, or a recipe in the box.  [default: the usual values]",
)
@plugin_option
@click.option(
    "--output",
    default="preview.png",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The PNG.",
)
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
    """Draw images of a dataset with their truth on one sheet."""
    name, splits = open_splits(dataset, data)
    if split not in splits:
        msg = f"there is no split {split!r} of {name}; choose one of {', '.join(splits)}"
        raise ConfigError(msg)
    samples = splits[split]
    if augmented:
        values = Recipe.from_dict(
            read_recipe(recipe) if recipe else {}, source=recipe or "the defaults"
        )
        shown = [
            tile
            for index in evenly_spaced(len(samples), -(-count // columns))
            for tile in epochs(samples, index, values, columns - 1)
        ]
    else:
        shown = [samples[index] for index in evenly_spaced(len(samples), count)]
    write_image(
        output, contact_sheet(shown, samples.classes, columns=columns, width=width, opacity=opacity)
    )
    note(f"wrote {output}: {len(shown)} images of {name} {split}")
    named = ["--dataset", name] if dataset else []
    next_step(
        "segdeploy", *(["data", "check", data] if data else ["train"]), *named, *same_plugins()
    )


def epochs(samples: Dataset, index: int, recipe: Recipe, count: int) -> Iterator[Sample]:
    """Return a sample as it is, and as each of the first epochs of a training by this recipe sees it."""
    sample = samples[index]
    yield sample
    for epoch in range(count):
        image, mask = augment(sample.image, sample.mask, recipe, chance(recipe, epoch, index=index))
        yield Sample(image=image, mask=mask, name=f"{sample.name}, epoch {epoch + 1}")
