"""The command `segdeploy run`."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from segdeploy import assets
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import load_backend
from segdeploy.backends.tta import AugmentedBackend
from segdeploy.card import ModelCard
from segdeploy.cli.console import echo, next_step, note, progress
from segdeploy.cli.options import (
    Artifact,
    Command,
    grouped,
    json_option,
    option,
    options,
    plugin_option,
    section,
    trust_option,
)
from segdeploy.cli.run_inputs import (
    InputOptions,
    TorchOptions,
    backend_option,
    input_options,
    refuse_losses,
    scheduling_options,
    selection_options,
    smooth_option,
    torch_options,
    tta_option,
)
from segdeploy.cli.run_outputs import OutputOptions, output_options
from segdeploy.cli.run_render import RenderOptions, render_options
from segdeploy.cli.run_tiles import TilingOptions, report_tiles, tiling_options
from segdeploy.errors import ConfigError, InterruptedRun
from segdeploy.system.signals import StopRequest, stoppable
from segdeploy.video.codecs import CODECS, Encoding
from segdeploy.video.frames import SegmentedFrame, Selection
from segdeploy.video.pipeline import JobResult, Schedule, VideoJob, segment_all
from segdeploy.video.smoothing import TemporalSmoother, make_smoother
from segdeploy.video.sources import OpenedSource

AVX2 = 11
"""OpenCV's number for AVX2 in `CpuFeatures`; its Python module has no name for it."""


def list_defaults(attribute: str) -> str:
    """Return an attribute of each codec as one text, for example "h264 23, hevc 28"."""
    return ", ".join(f"{name} {getattr(codec, attribute)}" for name, codec in CODECS.items())


encoding_options = grouped(
    "encoding",
    Encoding,
    section(
        "Video",
        option(
            "--codec", default="h264", type=click.Choice(list(CODECS)), help="Codec of the video."
        ),
        option(
            "--crf",
            type=click.IntRange(min=0),
            show_default=list_defaults("crf"),
            help=f"Quality: 0 is the best; the worst is {list_defaults('worst')}.",
        ),
        option(
            "--preset",
            show_default=list_defaults("preset"),
            help="A slower preset makes a smaller file: ultrafast to veryslow, or a number.",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of `segdeploy run`.

    Attributes:
        model: The artifact; None for a bundled model.
        backend: Name of the runtime, or "auto".
        device: Device of the runtime.
        trust: Whether the file is loaded as it is.
        tta: Kinds of test-time augmentation.
        torch: How PyTorch runs a checkpoint.
        inputs: What is read.
        selection: Which frames are read.
        render: What is saved of each frame.
        output: Where the results go.
        encoding: How videos are encoded.
        smooth: Name of a temporal smoother; None for none.
        schedule: How many frames are processed at once.
        tiling: How large images are cut.
        as_json: Whether the report is printed as JSON.
    """

    model: Path | None
    backend: str
    device: str
    trust: bool
    tta: tuple[str, ...]
    torch: TorchOptions
    inputs: InputOptions
    selection: Selection
    render: RenderOptions
    output: OutputOptions
    encoding: Encoding
    smooth: str | None
    schedule: Schedule
    tiling: TilingOptions
    as_json: bool

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: A smoothed run is to be resumed.
        """
        if self.smooth and self.output.resume:
            msg = "--smooth needs the frames before, which --resume skips; leave out one of the two"
            raise ConfigError(msg)


@click.command(cls=Command)
@section(
    "Model",
    option(
        "--model",
        type=Artifact(),
        show_default="the bundled model that suits the machine",
        help=f"An .onnx, .torchscript or .pt file, or a bundled model: {', '.join(assets.FILES)}.",
    ),
    option(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:N; ONNX files also tensorrt, openvino, coreml, directml.",
    ),
    backend_option,
    tta_option,
    trust_option,
)
@torch_options
@input_options
@render_options
@output_options
@section("Output", json_option("the report, times in seconds,"))
@selection_options
@section("Video", smooth_option)
@encoding_options
@scheduling_options
@tiling_options
@plugin_option
@options(RunOptions)
def run(options: RunOptions) -> None:
    """Segment images, a video or a camera.

    For example: segdeploy run --video dashcam.mp4, or segdeploy run --model best.onnx --image a.jpg
    b.png FOLDER
    """
    with (
        stoppable() as stop,
        options.inputs.open(options.selection, should_stop=lambda: stop.requested) as opened,
    ):
        model = options.model or bundled_model(options.device)
        schedule = options.schedule
        if not options.tiling.tile:
            schedule = schedule.for_frames(opened.source.frames)
        backend = load_model(model, options, schedule)
        note(f"{assets.short_name(model)} on {backend.device}")
        if options.tiling.tile:
            paths = options.tiling.run(
                opened.images,
                backend=backend,
                render=options.render,
                output=options.output,
                workers=schedule.workers,
                should_stop=lambda: stop.requested,
            )
            report_tiles(model, backend.device, paths, opened=opened, as_json=options.as_json)
            return
        smoother = make_temporal_smoother(options.smooth, backend.card, opened)
        result = segment(
            options, opened, backend=backend, schedule=schedule, smoother=smoother, stop=stop
        )
    report(options, result, model=model, device=backend.device, opened=opened, smoother=smoother)


def bundled_model(device: str) -> Path:
    """Return the bundled model that suits a device, and print its name and terms.

    Args:
        device: Value of `--device`.

    Raises:
        ModelError: This installation has no bundled model.
        DeviceError: There is no such device.
    """
    import cv2

    # Only where no model was named: a checkpoint needs no ONNX Runtime.
    from segdeploy.backends.onnx_providers import CPU, request_providers

    name = assets.choose_model(
        on_processor=request_providers(device) == [CPU], has_avx2=cv2.checkHardwareSupport(AVX2)
    )
    path = assets.find(name, assets.folder())
    note(
        f"no --model given: using the bundled model {name} ({assets.TERMS}; see segdeploy inspect"
        f" {name})"
    )
    return path


def load_model(model: Path, options: RunOptions, schedule: Schedule) -> Backend:
    """Load the network as the options and the schedule say."""
    schedule.share_cores()
    network = load_backend(
        model,
        backend=options.backend,
        device=options.device,
        threads=schedule.network_threads,
        spinning=schedule.serial,
        callers=schedule.workers,
        trust=options.trust,
    )
    options.torch.apply(network, model)
    return AugmentedBackend(network, options.tta) if options.tta else network


def make_temporal_smoother(
    name: str | None, card: ModelCard, opened: OpenedSource
) -> TemporalSmoother | None:
    """Return the temporal smoother of `--smooth`; None without the option.

    Raises:
        ConfigError: The source is not a video, or the network's output cannot be smoothed.
    """
    if name is None:
        return None
    if opened.info is None:
        msg = (
            f"images are not a sequence in time; leave out --smooth {name}, which is for"
            " videos and cameras"
        )
        raise ConfigError(msg)
    return TemporalSmoother(make_smoother(name, card))


@dataclass(frozen=True, kw_only=True)
class RunObserver:
    """Shows frames and progress of a run, and ends it on a signal.

    Attributes:
        on_frame: Shows a segmented frame in the window, if there is one.
        on_progress: Shows the speed so far.
        should_stop: Returns whether a signal was received, or the window was closed.
    """

    on_frame: Callable[[SegmentedFrame], None]
    on_progress: Callable[[str], None]
    should_stop: Callable[[], bool]


def segment(
    options: RunOptions,
    opened: OpenedSource,
    *,
    backend: Backend,
    schedule: Schedule,
    smoother: TemporalSmoother | None,
    stop: StopRequest,
) -> JobResult:
    """Segment the source and write the results.

    Args:
        options: Options of the command.
        opened: The source.
        backend: The network.
        schedule: How many frames are processed at once.
        smoother: Temporal smoother; None for none.
        stop: Set by a signal, and by closing the window.

    Raises:
        InterruptedRun: A second signal came before the results were complete.
    """
    renderer = options.render.renderer(backend.card.classes)
    with (
        options.output.open(opened, renderer, encoding=options.encoding, stop=stop) as target,
        progress("run", opened.source.frames) as step,
    ):
        job = VideoJob(
            source=opened.source,
            backend=backend,
            outputs=target.outputs,
            renderer=renderer,
            schedule=schedule,
            smoother=smoother,
            live=opened.live is not None,
            resumed=target.resumed,
        )
        observer = RunObserver(
            on_frame=target.show, on_progress=step, should_stop=lambda: stop.requested
        )
        try:
            return segment_all(job, observer)
        except KeyboardInterrupt:
            raise InterruptedRun(stop.interruption()) from None


def report(
    options: RunOptions,
    result: JobResult,
    *,
    model: Path,
    device: str,
    opened: OpenedSource,
    smoother: TemporalSmoother | None,
) -> None:
    """Print what was written, how long it took, and what could not be read.

    Args:
        options: Options of the command.
        result: Paths and times.
        model: Path of the artifact.
        device: Device that was used.
        opened: The source.
        smoother: Temporal smoother; None for none.

    Raises:
        DataError: Some of the images could not be read.
    """
    source = opened.source
    for remark in (*source.notes, *source.losses):
        note(remark)
    if smoother:
        note(smoother.summary)
    to_stderr = options.output.is_pipe
    if options.as_json:
        values: dict[str, object] = {
            "model": str(model),
            "device": device,
            "outputs": [str(path) for path in result.paths],
            "losses": source.losses,
        }
        if smoother:
            values["flicker"] = smoother.to_dict()
        echo(json.dumps({**values, **result.times.to_dict()}, indent=2), err=to_stderr)
    else:
        print_times(result, err=to_stderr)
    if model.suffix == ".pt":
        next_step("segdeploy", "export", model)
    else:
        dataset = () if options.model else ("--dataset", "streets")
        next_step("segdeploy", "benchmark", assets.short_name(model), *dataset)
    refuse_losses(opened)


def print_times(result: JobResult, *, err: bool) -> None:
    """Print the output paths, the speed, and a table of the stages' times."""
    times = result.times
    frames = f"{times.frames} frame{'' if times.frames == 1 else 's'}"
    speed = f"{times.rate:.1f} fps (wall time)"
    lines = [
        *map(str, result.paths),
        f"{frames} in {times.wall:.1f} s: {speed}; {times.bottleneck}",
        f"{'stage':8} {'median ms':>10} {'p95 ms':>10} {'share of time':>14}",
    ]
    lines += [
        f"{name:8} {stage.p50 * 1000:10.2f} {stage.p95 * 1000:10.2f}"
        f" {stage.total / times.wall:14.0%}"
        for name, stage in times.stages.items()
    ]
    echo("\n".join(lines), err=err)
