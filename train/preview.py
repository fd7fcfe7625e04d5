"""`segdeploy data preview`: a contact sheet of images with their labels, augmented or not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from segdeploy.arrays import Image
from segdeploy.card import LabelClass
from segdeploy.cli.console import next_step, note
from segdeploy.cli.options import (
    Command,
    option,
    options,
    plugin_option,
    same_plugins,
    section,
)
from segdeploy.datasets.bands import holds_colors, selection_of
from segdeploy.datasets.checks.detect import open_splits
from segdeploy.datasets.dataset import Dataset, Sample, evenly_spaced
from segdeploy.errors import ConfigError
from segdeploy.imaging.contrast import stretched
from segdeploy.imaging.io import write_image
from segdeploy.imaging.overlay import BACKGROUND, Painter
from segdeploy.imaging.preprocess import resize, resize_mask

from .augmentation import Augmentation, sample_rng
from .bands import with_bands_of
from .recipe import Recipe
from .recipe_file import load_recipe

if TYPE_CHECKING:
    Numbers = click.ParamType[tuple[int, ...]]
else:
    # Only click's stubs know of the parameter.
    Numbers = click.ParamType

GAP = 10
FONT_SIZE = 14
LINE_HEIGHT = 22
TEXT_COLOR = (225, 225, 225)
FRAME_COLOR = (120, 120, 120)
UNLABELED = LabelClass(name="not labeled", color=(0, 0, 0))


def contact_sheet(
    samples: Sequence[Sample],
    classes: Sequence[LabelClass],
    *,
    columns: int,
    width: int,
    opacity: float,
) -> Image:
    """Return an image with samples in rows, their names below them, and a legend.

    Args:
        samples: Labeled images, one or more; they may differ in size.
        classes: Classes in the order of the masks' indices.
        columns: Samples in a row.
        width: Width that each is resized to, in pixels.
        opacity: Opacity of the classes' colors over the image, in [0, 1].

    Returns:
        (H, W, 3) uint8 blue-green-red.
    """
    painter = Painter(classes, opacity=opacity, legend=False)
    tiles = [_tile(sample, painter, width) for sample in samples]
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    whole = GAP + min(columns, len(tiles)) * (width + GAP)
    sheet = np.vstack([_row(row, whole) for row in rows] + [_legend((*classes, UNLABELED), whole)])
    return np.asarray(cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _tile(sample: Sample, painter: Painter, width: int) -> PillowImage.Image:
    """Return one sample with its overlay, and its name below."""
    height = max(1, round(sample.image.shape[0] * width / sample.image.shape[1]))
    painted = painter.paint(
        resize(sample.image, height, width=width), resize_mask(sample.mask, height, width=width)
    )
    tile = PillowImage.new("RGB", (width, height + LINE_HEIGHT), BACKGROUND)
    tile.paste(PillowImage.fromarray(cv2.cvtColor(painted, cv2.COLOR_BGR2RGB)))
    font = ImageFont.load_default(FONT_SIZE)
    ImageDraw.Draw(tile).text(
        (0, height + LINE_HEIGHT // 2),
        _shortened(sample.name, font, width),
        font=font,
        fill=TEXT_COLOR,
        anchor="lm",
    )
    return tile


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut the start off a name that is too long: frames differ in the ends of their names."""
    start = next(start for start in range(len(name) + 1) if font.getlength(name[start:]) <= width)
    return f"…{name[start + 1 :]}" if start else name


def _row(tiles: Sequence[PillowImage.Image], width: int) -> Image:
    row = PillowImage.new("RGB", (width, GAP + max(tile.height for tile in tiles)), BACKGROUND)
    for place, tile in enumerate(tiles):
        row.paste(tile, (GAP + place * (tile.width + GAP), GAP))
    return np.asarray(row)


def _legend(classes: Sequence[LabelClass], width: int) -> Image:
    """Return the names of the classes beside their colors, in as many lines as they need."""
    font = ImageFont.load_default(FONT_SIZE)
    places, x, line = [], GAP, 0
    for entry in classes:
        advance = LINE_HEIGHT + round(font.getlength(entry.name)) + LINE_HEIGHT
        if x > GAP and x + advance > width:
            x, line = GAP, line + 1
        places.append((x, GAP + line * LINE_HEIGHT + LINE_HEIGHT // 2))
        x += advance
    image = PillowImage.new("RGB", (width, 2 * GAP + (line + 1) * LINE_HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for entry, (left, middle) in zip(classes, places, strict=True):
        draw.rectangle(
            (left, middle - FONT_SIZE // 2, left + FONT_SIZE, middle + FONT_SIZE // 2),
            fill=entry.color,
            outline=FRAME_COLOR,
        )
        draw.text((left + LINE_HEIGHT, middle), entry.name, font=font, fill=TEXT_COLOR, anchor="lm")
    return np.asarray(image)


class BandNumbers(Numbers):
    """Numbers of three bands or of one, from 1, for example "4,3,2"."""

    name = "R,G,B"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers in a text; a tuple is returned as it is."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        numbers = tuple(int(part) if part.isdecimal() else 0 for part in parts)
        if len(numbers) not in {1, 3} or min(numbers) < 1:
            self.fail(
                f"{value!r} are no bands; write three numbers from 1, for example 4,3,2, or one",
                param,
                ctx,
            )
        return numbers


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """Options of `segdeploy data preview`.

    Attributes:
        data: Folder of the dataset; None for one that needs none.
        dataset: Name of the dataset; None to detect it.
        split: Split of the dataset.
        bands: Bands of images of others than usual colors that are shown, from 1.
        count: Number of images.
        columns: Images in a row.
        width: Width of each image, in pixels.
        opacity: Opacity of the classes' colors, in [0, 1].
        augmented: Whether each row shows an image and its augmentations.
        recipe: Recipe with the strengths of the augmentation; None for the defaults.
        output: PNG file to write.
    """

    data: Path | None
    dataset: str | None
    split: str
    bands: tuple[int, ...] | None
    count: int
    columns: int
    width: int
    opacity: float
    augmented: bool
    recipe: str | None
    output: Path


@click.command("preview", cls=Command)
@click.argument("data", required=False, type=click.Path(path_type=Path))
@section(
    "Dataset",
    option(
        "--dataset",
        show_default="detected from the files in DATA",
        help="Name of the dataset; `streets` needs no folder.",
    ),
    option("--split", default="train", help="Split of the dataset."),
    option(
        "--bands",
        type=BandNumbers(),
        show_default="the first three, or the first",
        help="Bands that are shown as red, green and blue, or one as gray, from 1.",
    ),
)
@section(
    "Images",
    option(
        "--count",
        default=16,
        type=click.IntRange(min=1),
        help="Number of images, evenly spaced over the split.",
    ),
    option(
        "--augmented",
        is_flag=True,
        help="Show in each row an image and its augmentations in the first epochs.",
    ),
    option(
        "--recipe",
        show_default="default values",
        help="Recipe with the augmentation: a TOML file, or the name of a bundled recipe.",
    ),
)
@section(
    "Output",
    option(
        "--output",
        default="preview.png",
        type=click.Path(dir_okay=False, path_type=Path),
        help="PNG file to write.",
    ),
    option("--columns", default=4, type=click.IntRange(min=1), help="Images in a row."),
    option(
        "--width",
        default=320,
        type=click.IntRange(min=16, max=4096),
        help="Width of each image, in pixels.",
    ),
    option(
        "--opacity",
        default=0.5,
        type=click.FloatRange(0, 1),
        help="Opacity of the classes' colors over the image.",
    ),
)
@plugin_option
@options(PreviewOptions)
def preview(options: PreviewOptions) -> None:
    """Draw images of a dataset with their labels on one sheet."""
    name, splits = open_splits(options.dataset, options.data)
    if options.split not in splits:
        msg = f"there is no split {options.split!r} of {name}; choose one of {', '.join(splits)}"
        raise ConfigError(msg)
    samples = splits[options.split]
    shown = (
        augmented_rows(samples, options)
        if options.augmented
        else [samples[index] for index in evenly_spaced(len(samples), options.count)]
    )
    sheet = contact_sheet(
        [visible(sample, samples, options.bands) for sample in shown],
        samples.classes,
        columns=options.columns,
        width=options.width,
        opacity=options.opacity,
    )
    write_image(options.output, sheet)
    note(f"wrote {options.output}: {len(shown)} images of {name} {options.split}")
    command = ["data", "check", options.data] if options.data else ["train"]
    named = ["--dataset", name] if options.dataset else []
    extra = "" if options.data else "train"
    next_step("segdeploy", *command, *named, *same_plugins(), extra=extra)


def visible(sample: Sample, samples: Dataset, bands: tuple[int, ...] | None) -> Sample:
    """Return a sample with an image that can be drawn upon, stretched where it is no usual one.

    Raises:
        ConfigError: It has no such band.
    """
    image = sample.image
    count = image.shape[2]
    if bands and max(bands) > count:
        msg = f"{sample.name} has {count} bands; name some of them with --bands, not {max(bands)}"
        raise ConfigError(msg)
    if selection_of(samples) is None and not bands:
        return sample
    ordered = image[:, :, ::-1] if holds_colors(samples) else image
    return replace(sample, image=stretched(ordered, tuple(number - 1 for number in bands or ())))


def augmented_rows(samples: Dataset, options: PreviewOptions) -> list[Sample]:
    """Return rows of one sample and its augmentations."""
    recipe = with_bands_of(load_recipe(options.recipe), samples)
    rows = -(-options.count // options.columns)
    return [
        sample
        for index in evenly_spaced(len(samples), rows)
        for sample in augmented_epochs(samples, index, recipe, epochs=options.columns - 1)
    ]


def augmented_epochs(
    samples: Dataset, index: int, recipe: Recipe, *, epochs: int
) -> Iterator[Sample]:
    """Return a sample as it is, and as each of the first epochs of a training sees it."""
    sample = samples[index]
    yield sample
    augmentation = Augmentation(recipe)
    for epoch in range(epochs):
        rng = sample_rng(recipe, epoch, index=index)
        image, mask = augmentation.apply(sample.image, sample.mask, rng)
        yield Sample(image=image, mask=mask, name=f"{sample.name}, epoch {epoch + 1}")
