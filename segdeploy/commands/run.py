"""The command `segdeploy run`."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from segdeploy.backends.loading import BACKENDS, load_backend
from segdeploy.commands.drawing import Wish, drawing_options
from segdeploy.commands.encoding import encoding_options
from segdeploy.commands.pacing import pace_options
from segdeploy.commands.plugin import plugin_option
from segdeploy.console import next_step, note, progress
from segdeploy.errors import DataError
from segdeploy.runs import result_folder
from segdeploy.video.codecs import Encoding
from segdeploy.video.drawing import Drawing
from segdeploy.video.pace import Pace
from segdeploy.video.pictures import PictureSource
from segdeploy.video.saving import Outputs, picture_outputs, video_outputs
from segdeploy.video.segment import Done, segment_all
from segdeploy.video.sources import VideoSource
from segdeploy.video.stopping import stoppable

Keep = Callable[[Path, Drawing], AbstractContextManager[Outputs]]
"""Opens what is kept in a folder of what was drawn."""


@click.command()
@click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[PICTURE...]")
@click.option("--model", type=click.Path(path_type=Path), help="The network: an .onnx, .torchscript or .pt file.  [required]")
@click.option(
    "--image",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A picture or a folder of pictures; more may follow. One that cannot be read is told and left out; the exit code is 3 then.",
)
@click.option(
    "--video",
    type=click.Path(path_type=Path),
    help="A video. Damaged frames are told and left out.",
)
@click.option("--backend", default="auto", show_default=True, type=click.Choice(BACKENDS), help="What must run it.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:n.")
@pace_options
@drawing_options
@encoding_options
@click.option("--name", help="Name of the run's folder.  [default: the video's, or pictures]")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results.  [default: runs/run/NAME]")
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, times in seconds.")
def run(
    *,
    more: tuple[Path, ...],
    model: Path | None,
    image: tuple[Path, ...],
    video: Path | None,
    backend: str,
    device: str,
    pace: Pace,
    wish: Wish,
    encoding: Encoding,
    name: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Segment pictures or a video.

    For example: segdeploy run --model best.onnx --image a.jpg b.png FOLDER
    """
    check_usage(model, video, (*image, *more), name=name, output=output)
    assert model is not None
    pace.share_cores()
    source, keep = open_video(video, encoding=encoding) if video else open_pictures((*image, *more))
    with source:
        loaded = load_backend(model, backend=backend, device=device, threads=pace.network_threads, spinning=pace.serial)
        note(f"{model} on {loaded.device}")
        drawing = wish.drawing(loaded.card.classes)
        with (
            result_folder("run", name or (video.stem if video else "pictures"), output=output) as folder,
            stoppable() as stop,
            progress("run", source.frames) as step,
        ):
            done = segment_all(
                source,
                keep(folder, drawing),
                backend=loaded,
                drawing=drawing,
                serial=pace.serial,
                workers=pace.workers,
                batch=pace.batch_for(loaded),
                go_on=lambda: not stop.is_set(),
                on_step=step,
            )
    for remark in (*source.notes, *source.losses):
        note(remark)
    report = {"model": str(model), "device": loaded.device, "outputs": [str(path) for path in done.paths], "losses": source.losses}
    click.echo(json.dumps({**report, **done.times.to_dict()}, indent=2)) if as_json else show(done)
    next_step(f"segdeploy export {model}" if model.suffix == ".pt" else f"segdeploy benchmark {model}")
    if source.losses and not video:
        msg = f"{len(source.losses)} of {source.frames} pictures could not be read; the others are done"
        raise DataError(msg)


def check_usage(model: Path | None, video: Path | None, pictures: tuple[Path, ...], *, name: str | None, output: Path | None) -> None:
    """Refuse options that leave open what to do, or contradict each other."""
    if model is None:
        msg = "name a network: --model best.onnx, which 'segdeploy export' writes"
        raise click.UsageError(msg)
    if bool(video) == bool(pictures):
        msg = f"name pictures (--image a.jpg b.png FOLDER) or one video (--video clip.mp4){', not both' if video else ''}"
        raise click.UsageError(msg)
    if name is not None and output is not None:
        msg = "--output is the folder itself; leave out --name, which names one below runs/run"
        raise click.UsageError(msg)


def open_video(path: Path, *, encoding: Encoding) -> tuple[VideoSource, Keep]:
    """Give a video's frames, and what keeps their results in a folder."""
    source = VideoSource(path)
    return source, lambda folder, drawing: video_outputs(source, folder, drawing=drawing, encoding=encoding)


def open_pictures(paths: Sequence[Path]) -> tuple[PictureSource, Keep]:
    """Give pictures, and what keeps their results in a folder."""
    source = PictureSource(paths)
    return source, lambda folder, drawing: picture_outputs(source.paths, folder, drawing=drawing)


def show(done: Done) -> None:
    """Print where the results are, and where the time went."""
    times = done.times
    for path in done.paths:
        click.echo(path)
    click.echo(f"{times.frames} frames in {times.wall:.1f} s: {times.rate:.1f} fps by the clock on the wall; {times.verdict}")
    table = Table("stage", box=None)
    for title in ("median ms", "p95 ms", "share of the time"):
        table.add_column(title, justify="right")
    for stage, spent in times.stages.items():
        table.add_row(stage, f"{spent.p50 * 1000:.2f}", f"{spent.p95 * 1000:.2f}", f"{spent.total / times.wall:.0%}")
    Console().print(table)
