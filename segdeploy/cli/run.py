"""The command `segdeploy run`."""

import json
from pathlib import Path

import click

from segdeploy.assets import FILES, name_of
from segdeploy.backends.loading import BACKENDS, load_backend
from segdeploy.backends.tta import ViewsBackend
from segdeploy.cli.console import next_step, note, progress
from segdeploy.cli.options import Artifact, boxed, plugin_option
from segdeploy.cli.run_inputs import (
    InputOptions,
    TorchOptions,
    make_steadying,
    scheduling_options,
    smooth_option,
    source_options,
    torch_options,
    tta_option,
)
from segdeploy.cli.run_outputs import OutputOptions, encoding_options, output_options
from segdeploy.cli.run_overlay import RenderOptions, Tiling, drawing_options, tiling_options
from segdeploy.errors import ConfigError, DataError
from segdeploy.system.signals import stoppable
from segdeploy.video.codecs import Encoding
from segdeploy.video.pipeline import Done, segment_all
from segdeploy.video.schedule import Schedule


@click.command()
@click.option(
    "--model",
    type=Artifact(),
    help=(
        f"An .onnx, .torchscript or .pt file, or {' or '.join(FILES)}, which the package carries. "
        " [default: what suits the machine]"
    ),
)
@source_options
@click.option(
    "--backend",
    default="auto",
    show_default=True,
    type=click.Choice(BACKENDS),
    help="What must run it.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:1; of ONNX files also tensorrt, openvino, coreml, directml.",
)
@torch_options
@scheduling_options
@tiling_options
@tta_option
@smooth_option
@drawing_options
@encoding_options
@output_options
@plugin_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print the results as JSON, times in seconds."
)
def run(
    *,
    model: Path | None,
    wanted: InputOptions,
    backend: str,
    device: str,
    haste: TorchOptions,
    schedule: Schedule,
    tiling: Tiling,
    views: tuple[str, ...],
    smooth: str | None,
    wish: RenderOptions,
    encoding: Encoding,
    place: OutputOptions,
    as_json: bool,
) -> None:
    """Segment images, a video or a camera.

    For example: segdeploy run --video dashcam.mp4, or segdeploy run --model best.onnx --image a.jpg
    b.png FOLDER
    """
    with stoppable() as stop, wanted.open(lambda: not stop.asked) as opened:
        source, film = opened.source, opened.film
        is_boxed = model is None
        model = boxed(device) if model is None else model
        schedule = schedule if tiling.tile else schedule.fitted(source.frames)
        schedule.share_cores()
        network = load_backend(
            model,
            backend=backend,
            device=device,
            threads=schedule.network_threads,
            spinning=schedule.serial,
            callers=schedule.workers,
        )
        haste.apply(network, model)
        loaded = ViewsBackend(network, views) if views else network
        note(f"{name_of(model)} on {loaded.device}")
        if tiling.tile:
            written = tiling.run(
                opened.images,
                backend=loaded,
                wish=wish,
                place=place,
                workers=schedule.workers,
                go_on=lambda: not stop.asked,
            )
            told = {
                "model": str(model),
                "device": loaded.device,
                "outputs": [str(path) for path in written],
            }
            click.echo(json.dumps(told, indent=2) if as_json else "\n".join(map(str, written)))
            return
        drawing = wish.drawing(loaded.card.classes)
        steadying = make_steadying(smooth, loaded.card, is_film=film is not None)
        if steadying and place.resume:
            msg = (
                "--smooth looks back at the frames before, which --resume does not make again;"
                " leave one of them out"
            )
            raise ConfigError(msg)
        with (
            place.open(opened, drawing, encoding=encoding, stop=stop.ask) as (
                outputs,
                look,
                before,
            ),
            progress("run", source.frames) as step,
        ):
            done = segment_all(
                source,
                outputs,
                backend=loaded,
                drawing=drawing,
                serial=schedule.serial,
                workers=schedule.workers,
                batch=schedule.batch_for(loaded),
                live=opened.live is not None,
                steadying=steadying,
                before=before,
                seen=look,
                go_on=lambda: not stop.asked,
                on_step=step,
            )
    for remark in (*source.notes, *source.losses):
        note(remark)
    if steadying:
        note(steadying.sentence)
    paths = [str(path) for path in done.paths]
    report: dict[str, object] = {
        "model": str(model),
        "device": loaded.device,
        "outputs": paths,
        "losses": source.losses,
    }
    if steadying:
        report["flicker"] = steadying.to_dict()
    if as_json:
        click.echo(json.dumps({**report, **done.times.to_dict()}, indent=2), err=place.is_pipe)
    else:
        show(done, err=place.is_pipe)
    shown = ("--dataset", "streets") if is_boxed else ()
    next_step(
        "segdeploy",
        *(("export", model) if model.suffix == ".pt" else ("benchmark", name_of(model), *shown)),
    )
    if source.losses and not film:
        msg = (
            f"{len(source.losses)} of {source.frames} images could not be read; the others are done"
        )
        raise DataError(msg)


def show(done: Done, *, err: bool) -> None:
    """Print where the results are, and where the time went."""
    times = done.times
    for path in done.paths:
        click.echo(path, err=err)
    rate = (
        f"{times.frames} frames in {times.wall:.1f} s: {times.rate:.1f} fps by the clock on the"
        " wall"
    )
    click.echo(
        f"{rate}; {times.verdict}\n{'stage':8} {'median ms':>10} {'p95 ms':>10}"
        f" {'share of the time':>18}",
        err=err,
    )
    for stage, spent in times.stages.items():
        click.echo(
            f"{stage:8} {spent.p50 * 1000:10.2f} {spent.p95 * 1000:10.2f}"
            f" {spent.total / times.wall:18.0%}",
            err=err,
        )
