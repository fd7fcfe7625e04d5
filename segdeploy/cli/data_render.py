"""The command `segdeploy data render`."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import click

from segdeploy.cli.console import echo, next_step, progress
from segdeploy.cli.options import Command, option, options, section
from segdeploy.datasets.synthetic.dataset import COUNTS, HEIGHT, WIDTH, Streets, save
from segdeploy.datasets.synthetic.lighting import WEATHERS
from segdeploy.errors import ConfigError

CLIP_HEIGHT, CLIP_WIDTH = 720, 1280
MAX_SECONDS = 3600.0
"""Longest video that `data render` renders."""


@dataclass(frozen=True, kw_only=True)
class DataRenderOptions:
    """Options of `segdeploy data render`.

    Attributes:
        video: The .mp4 file of a video; None for scenes.
        images: Folder for labeled scenes; None for a video.
        weather: Light and weather; None for random ones.
        height: Height in pixels; None for `CLIP_HEIGHT` or `HEIGHT`.
        width: Width in pixels; None for `CLIP_WIDTH` or `WIDTH`.
        seconds: Length of the video.
        fps: Frames per second of the video.
        seed: Seed of the street in the video.
        overlay: A second .mp4 file, with the labels drawn over the video; None for none.
        split: Split of the scenes.
        count: Number of scenes.
        overwrite: Whether videos that exist are replaced.
    """

    video: Path | None
    images: Path | None
    weather: str | None
    height: int | None
    width: int | None
    seconds: float
    fps: float
    seed: int
    overlay: Path | None
    split: str
    count: int
    overwrite: bool

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: Not exactly one of a video and scenes is given, an overlay of scenes, or
                a video that exists.
        """
        if (self.video is None) == (self.images is None):
            msg = "give either --video FILE.mp4 or --images FOLDER"
            raise ConfigError(msg)
        if self.images is not None and self.overlay is not None:
            msg = f"--overlay {self.overlay} goes with --video; --images always writes the labels"
            raise ConfigError(msg)
        for path in (self.video, self.overlay):
            if path is not None and path.exists() and not self.overwrite:
                msg = f"{path} exists; choose another name, or replace it with --overwrite"
                raise ConfigError(msg)


@click.command(cls=Command)
@section(
    "Output",
    option(
        "--video",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Render a video with audio into this .mp4 file.",
    ),
    option(
        "--images",
        type=click.Path(file_okay=False, path_type=Path),
        help="Render labeled scenes into this folder, in the layout of CamVid.",
    ),
    option("--overwrite", is_flag=True, help="Replace videos that exist."),
)
@section(
    "Scene",
    option(
        "--weather",
        type=click.Choice(WEATHERS),
        show_default="random",
        help="Light and weather.",
    ),
    option(
        "--height",
        type=click.IntRange(min=8, max=4320),
        show_default=f"{CLIP_HEIGHT} of a video, {HEIGHT} of scenes",
        help="Height in pixels.",
    ),
    option(
        "--width",
        type=click.IntRange(min=8, max=7680),
        show_default=f"{CLIP_WIDTH} of a video, {WIDTH} of scenes",
        help="Width in pixels.",
    ),
)
@section(
    "Video",
    option(
        "--seconds",
        default=10.0,
        type=click.FloatRange(0, MAX_SECONDS, min_open=True),
        help="Length of the video.",
    ),
    option("--fps", default=25.0, type=click.FloatRange(1, 120), help="Frames per second."),
    option("--seed", default=0, type=click.IntRange(min=0), help="Seed of the street."),
    option(
        "--overlay",
        older=("--truth",),
        type=click.Path(dir_okay=False, path_type=Path),
        help="Also render the video with its labels as an overlay into this .mp4 file.",
    ),
)
@section(
    "Labeled scenes",
    option(
        "--split", default="train", type=click.Choice(tuple(COUNTS)), help="Split of the scenes."
    ),
    option("--count", default=100, type=click.IntRange(min=1), help="Number of scenes."),
)
@options(DataRenderOptions)
def render(options: DataRenderOptions) -> None:
    """Render a video of a drive through a synthetic street, or labeled scenes."""
    if options.images is not None:
        render_scenes(options, options.images)
    elif options.video is not None:
        render_video(options, options.video)


def render_scenes(options: DataRenderOptions, folder: Path) -> None:
    """Render labeled scenes into a folder."""
    split = options.split
    scenes = Streets(
        split=split,
        count=options.count,
        height=options.height or HEIGHT,
        width=options.width or WIDTH,
        weather=options.weather,
    )
    with progress("render", options.count) as step:
        save(scenes, folder, on_step=step)
    echo(f"{options.count} scenes: {folder / split}, {folder / f'{split}annot'}")
    next_step("segdeploy", "train", "--dataset", "camvid", "--data", folder, extra="train")


def render_video(options: DataRenderOptions, path: Path) -> None:
    """Render a video, and its overlay if one is requested."""
    from segdeploy.video.synthetic_clip import render_clip

    height, width = options.height or CLIP_HEIGHT, options.width or CLIP_WIDTH
    rate = Fraction(options.fps).limit_denominator(1001)
    frames = max(round(options.seconds * rate), 1)
    with progress("render", frames) as step:
        render_clip(
            path,
            seed=options.seed,
            frames=frames,
            height=height,
            width=width,
            rate=rate,
            weather=options.weather,
            overlay=options.overlay,
            on_step=step,
        )
    echo(f"{path}: {frames} frames of {width}x{height} at {float(rate):g} fps")
    next_step("segdeploy", "run", path)
