"""The command `segdeploy run`."""

import json
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from segdeploy.backends.loading import BACKENDS, load_backend
from segdeploy.commands.drawing import Wish, drawing_options
from segdeploy.commands.encoding import encoding_options
from segdeploy.commands.pacing import pace_options
from segdeploy.commands.plugin import plugin_option
from segdeploy.commands.sourcing import Wanted, source_options
from segdeploy.console import next_step, note, progress
from segdeploy.errors import DataError
from segdeploy.runs import result_folder
from segdeploy.video.codecs import Encoding
from segdeploy.video.pace import Pace
from segdeploy.video.saving import picture_outputs, video_outputs
from segdeploy.video.segment import Done, segment_all
from segdeploy.video.stopping import stoppable


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="The network: an .onnx, .torchscript or .pt file.  [required]")
@source_options
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
    model: Path | None,
    wanted: Wanted,
    backend: str,
    device: str,
    pace: Pace,
    wish: Wish,
    encoding: Encoding,
    name: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Segment pictures, a video or a camera.

    For example: segdeploy run --model best.onnx --image a.jpg b.png FOLDER
    """
    check_usage(model, name=name, output=output)
    assert model is not None
    pace.share_cores()
    with stoppable() as stop, wanted.open(lambda: not stop.is_set()) as opened:
        source, film = opened.source, opened.film
        loaded = load_backend(model, backend=backend, device=device, threads=pace.network_threads, spinning=pace.serial)
        note(f"{model} on {loaded.device}")
        drawing = wish.drawing(loaded.card.classes)
        keep = partial(video_outputs, film, encoding=encoding) if film else partial(picture_outputs, opened.paths)
        with (
            result_folder("run", name or (film.name if film else "pictures"), output=output) as folder,
            progress("run", source.frames) as step,
        ):
            done = segment_all(
                source,
                keep(folder, drawing=drawing),
                backend=loaded,
                drawing=drawing,
                serial=pace.serial,
                workers=pace.workers,
                batch=pace.batch_for(loaded),
                live=opened.live,
                go_on=lambda: not stop.is_set(),
                on_step=step,
            )
    for remark in (*source.notes, *source.losses):
        note(remark)
    report = {"model": str(model), "device": loaded.device, "outputs": [str(path) for path in done.paths], "losses": source.losses}
    click.echo(json.dumps({**report, **done.times.to_dict()}, indent=2)) if as_json else show(done)
    next_step(f"segdeploy export {model}" if model.suffix == ".pt" else f"segdeploy benchmark {model}")
    if source.losses and not film:
        msg = f"{len(source.losses)} of {source.frames} pictures could not be read; the others are done"
        raise DataError(msg)


def check_usage(model: Path | None, *, name: str | None, output: Path | None) -> None:
    """Refuse options that leave open what to do, or contradict each other."""
    if model is None:
        msg = "name a network: --model best.onnx, which 'segdeploy export' writes"
        raise click.UsageError(msg)
    if name is not None and output is not None:
        msg = "--output is the folder itself; leave out --name, which names one below runs/run"
        raise click.UsageError(msg)


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
