"""The command `segdeploy data render`."""

from fractions import Fraction
from pathlib import Path

import click

from segdeploy.console import next_step, progress
from segdeploy.datasets.street.light import WEATHERS
from segdeploy.datasets.streets import COUNTS, HEIGHT, WIDTH, Streets, save
from segdeploy.errors import ConfigError
from segdeploy.video.street_film import film

LONGEST = 3600.0
"""Of a drive, in seconds."""


@click.command()
@click.option("--video", type=click.Path(dir_okay=False, path_type=Path), help="Draw a drive with sound into this .mp4 file.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0, LONGEST, min_open=True), help="Length of the drive.")
@click.option("--fps", default=25.0, show_default=True, type=click.FloatRange(1, 120), help="Frames a second.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Which street the drive goes through.")
@click.option(
    "--truth", type=click.Path(dir_okay=False, path_type=Path), help="Draw the drive with its true classes into this .mp4 file too."
)
@click.option("--images", type=click.Path(file_okay=False, path_type=Path), help="Draw scenes into this folder, laid out as CamVid.")
@click.option("--weather", type=click.Choice(WEATHERS), help="Light and weather of all that is drawn.  [default: drawn by lot]")
@click.option("--split", default="train", show_default=True, type=click.Choice(tuple(COUNTS)), help="Which scenes.")
@click.option("--count", default=100, show_default=True, type=click.IntRange(min=1), help="How many scenes.")
@click.option("--height", type=click.IntRange(min=8, max=4320), help=f"In pixels.  [default: 720 for a drive, {HEIGHT} for scenes]")
@click.option("--width", type=click.IntRange(min=8, max=7680), help=f"In pixels.  [default: 1280 for a drive, {WIDTH} for scenes]")
def render(
    *,
    video: Path | None,
    seconds: float,
    fps: float,
    seed: int,
    truth: Path | None,
    images: Path | None,
    weather: str | None,
    split: str,
    count: int,
    height: int | None,
    width: int | None,
) -> None:
    """Draw street scenes, or a drive through a street with sound."""
    if (video is None) == (images is None):
        msg = "give either --video FILE.mp4 or --images FOLDER"
        raise ConfigError(msg)
    if images is not None:
        if truth is not None:
            msg = f"--truth {truth} goes with --video; --images always writes the true classes"
            raise ConfigError(msg)
        scenes = Streets(split=split, count=count, height=height or HEIGHT, width=width or WIDTH, weather=weather)
        with progress("render", count) as step:
            save(scenes, images, on_step=step)
        click.echo(f"{count} scenes: {images / split}, {images / f'{split}annot'}")
        next_step("segdeploy", "train", "--dataset", "camvid", "--data", images)
        return
    assert video is not None
    rate = Fraction(fps).limit_denominator(1001)
    frames = max(round(seconds * rate), 1)
    with progress("render", frames) as step:
        film(
            video,
            seed=seed,
            frames=frames,
            height=height or 720,
            width=width or 1280,
            rate=rate,
            weather=weather,
            truth=truth,
            on_step=step,
        )
    click.echo(f"{video}: {frames} frames of {width or 1280}x{height or 720} at {float(rate):g} a second")
    next_step("segdeploy", "run", "--model", "MODEL", "--video", video)
