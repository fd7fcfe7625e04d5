"""The command `segdeploy run`."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from segdeploy import assets
from segdeploy.backends.base import Backend, at_size
from segdeploy.backends.loading import load_backend
from segdeploy.cli.console import note, progress
from segdeploy.cli.models import bundled_model
from segdeploy.cli.options import (
    Artifact,
    Command,
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
    imgsz_option,
    input_options,
    scheduling_options,
    selection_options,
    torch_options,
    tta_option,
)
from segdeploy.cli.run_outputs import (
    IMAGES_NAME,
    SEVERAL_NAME,
    OutputOptions,
    encoding_options,
    output_options,
)
from segdeploy.cli.run_render import render_options
from segdeploy.cli.run_report import RunReport, SourceResult
from segdeploy.cli.run_tiles import TilingOptions, tiling_options
from segdeploy.cli.run_video import NeighborOptions, neighbor_options
from segdeploy.cli.run_zones import ZoneOptions, zone_options
from segdeploy.cli.tuned import tuned_option
from segdeploy.errors import ConfigError, DataError, InterruptedRun
from segdeploy.imaging.overlay import Renderer
from segdeploy.imaging.render_options import RenderOptions
from segdeploy.system.signals import StopRequest, stoppable
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import SegmentedFrame
from segdeploy.video.motion import MotionCarrier
from segdeploy.video.outputs import unique_names
from segdeploy.video.pipeline import JobResult, VideoJob, segment_all
from segdeploy.video.run_options import Schedule, Selection
from segdeploy.video.smoothing import TemporalSmoother
from segdeploy.video.source_kinds import NamedSource, SourceKind
from segdeploy.video.sources import OpenedSource


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of `segdeploy run`.

    Attributes:
        model: The artifact; None for a bundled model.
        backend: Name of the runtime, or "auto".
        device: Device of the runtime.
        trust: Whether the file is loaded as it is.
        cache: Whether what the runtime prepares is kept in the user's cache.
        imgsz: Height and width of the network's input; None for its own.
        tta: Kinds of test-time augmentation.
        torch: How PyTorch runs a checkpoint.
        inputs: What is read.
        selection: Which frames are read.
        render: What is saved of each frame.
        output: Where the results go.
        encoding: How videos are encoded.
        neighbors: How frames of a video depend on their neighbors.
        schedule: How many frames are processed at once.
        tiling: How large images are cut.
        zones: In which parts of the image shares are measured.
        as_json: Whether the report is printed as JSON.
    """

    model: Path | None
    backend: str
    device: str
    trust: bool
    cache: bool
    imgsz: tuple[int, int] | None
    tta: tuple[str, ...]
    torch: TorchOptions
    inputs: InputOptions
    selection: Selection
    render: RenderOptions
    output: OutputOptions
    encoding: Encoding
    neighbors: NeighborOptions
    schedule: Schedule
    tiling: TilingOptions
    zones: ZoneOptions
    as_json: bool

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: A run that needs earlier frames is to be resumed, or two sizes are given.
        """
        if self.output.resume:
            self.neighbors.check_resume()
        if self.imgsz and self.tiling.tile:
            msg = "--tile is the size of the network's input too; leave out --imgsz"
            raise ConfigError(msg)

    def check_sources(self, sources: Sequence[NamedSource]) -> None:
        """Raise a ConfigError where the options do not fit one of the sources."""
        self.output.check_sources(sources)
        self.tiling.check_sources(sources)


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
    imgsz_option,
    tta_option,
    trust_option,
    option(
        "--cache/--no-cache",
        default=True,
        help="Keep the graph that ONNX Runtime has optimized in your cache, to start sooner.",
    ),
)
@tuned_option("model", "throughput", "threads", "batch", "every", "preset")
@torch_options
@input_options
@render_options
@output_options
@section("Output", json_option("the report, times in seconds,"))
@selection_options
@neighbor_options
@encoding_options
@scheduling_options
@tiling_options
@zone_options
@plugin_option
@options(RunOptions)
def run(options: RunOptions) -> None:
    """Segment images, videos, cameras and addresses: each SOURCE is told apart.

    For example: segdeploy run dashcam.mp4, or segdeploy run --model best.onnx photos/ 'more/*.jpg'
    drive.mp4 cameras.txt
    """
    with stoppable() as stop, ExitStack() as stack:
        sources = options.inputs.find()
        options.check_sources(sources)
        runner = SourceRunner(options, sources, stop=stop, stack=stack)
        results = RunReport(len(sources), as_json=options.as_json, err=options.output.is_pipe)
        for number, source in enumerate(sources):
            try:
                results.add(source, runner.run(source))
            except DataError as error:
                results.add_failure(source, error)
            if stop.requested and number + 1 < len(sources):
                msg = f"interrupted; {len(sources) - number - 1} sources were not begun"
                raise InterruptedRun(msg)
    results.finish(model=runner.model, device=runner.device, is_bundled=options.model is None)


class SourceRunner:
    """Segments one source after the other with one network, into one folder.

    Attributes:
        model: The artifact; None until a source is open.
        device: What runs it.
    """

    def __init__(
        self,
        options: RunOptions,
        sources: Sequence[NamedSource],
        *,
        stop: StopRequest,
        stack: ExitStack,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            options: Options of the command.
            sources: All sources.
            stop: Set by a signal, and by closing the window.
            stack: Holds the results' folder until all are done.
        """
        self.model: Path | None = None
        self.device = ""
        self._options = options
        self._stop = stop
        self._stack = stack
        self._is_several = len(sources) > 1
        videos = [source.text for source in sources if source.kind is SourceKind.VIDEO]
        self._names = dict(zip(videos, unique_names([Path(text) for text in videos]), strict=True))
        self._folder: Path | None = None
        self._schedule: Schedule | None = None
        self._backend: Backend | None = None

    def run(self, source: NamedSource) -> SourceResult:
        """Segment one source, and write its results.

        Raises:
            DataError: It cannot be read.
            InterruptedRun: A signal came before the results were complete.
        """
        options, stop = self._options, self._stop
        with options.inputs.open(
            source, options.selection, should_stop=lambda: stop.requested
        ) as opened:
            if opened.info and self._is_several:
                opened.rename(self._name(source, opened.info.name))
            options.neighbors.check(opened)
            schedule = options.schedule
            if not options.tiling.tile:
                schedule = schedule.for_frames(opened.source.frames)
            backend = self._load(schedule)
            if options.tiling.tile:
                return options.tiling.run(
                    opened,
                    backend=backend,
                    render=options.render,
                    output=options.output,
                    workers=schedule.workers,
                    should_stop=lambda: stop.requested,
                )
            smoother = options.neighbors.make_smoother(backend.card)
            motion = options.neighbors.make_carrier(backend.card, opened)
            renderer = options.render.renderer(backend.card.classes)
            self._open_folder(opened, renderer)
            result = segment(
                options,
                opened,
                backend=backend,
                renderer=renderer,
                folder=self._folder,
                schedule=schedule,
                smoother=smoother,
                motion=motion,
                stop=stop,
            )
            writes_video = opened.info and not renderer.video_kinds.isdisjoint(renderer.kinds)
            return SourceResult(
                paths=result.paths,
                times=result.times,
                opened=opened,
                smoother=smoother,
                motion=motion.counts if motion else None,
                faster_preset=options.encoding.faster_preset if writes_video else None,
            )

    def _name(self, source: NamedSource, name: str) -> str:
        """Return a name for the results of a video that no other source of the run has."""
        if source.text not in self._names:
            taken = [Path(f"{known}.x") for known in self._names.values()]
            self._names[source.text] = unique_names([*taken, Path(f"{name}.x")])[-1]
        return self._names[source.text]

    def _load(self, schedule: Schedule) -> Backend:
        """Return the network, loaded for a schedule."""
        if self.model is None:
            self.model = self._options.model or bundled_model(self._options.device)
        if self._backend is None or schedule != self._schedule:
            self._backend = load_model(self.model, self._options, schedule)
            self._schedule = schedule
        if not self.device:
            self.device = self._backend.device
            note(f"{assets.short_name(self.model)} on {self.device}")
        return self._backend

    def _open_folder(self, opened: OpenedSource, renderer: Renderer) -> None:
        """Open the folder of the results, with the first source."""
        if self._folder is not None or self._options.output.is_pipe:
            return
        own_name = opened.info.name if opened.info else IMAGES_NAME
        output = self._options.output
        self._folder = self._stack.enter_context(
            output.folder(SEVERAL_NAME if self._is_several else own_name)
        )
        output.check_free(list(self._names.values()), self._folder, renderer)


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
        cache=options.cache,
    )
    options.torch.apply(network, model)
    sized = at_size(network, options.imgsz)
    if not options.tta:
        return sized
    # Few runs need it, and each import delays the first frame.
    from segdeploy.backends.tta import AugmentedBackend

    return AugmentedBackend(sized, options.tta)


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
    renderer: Renderer,
    folder: Path | None,
    schedule: Schedule,
    smoother: TemporalSmoother | None,
    motion: MotionCarrier | None,
    stop: StopRequest,
) -> JobResult:
    """Segment the source and write the results.

    Args:
        options: Options of the command.
        opened: The source.
        backend: The network.
        renderer: What is saved of each frame.
        folder: Folder of the results; None for a pipe.
        schedule: How many frames are processed at once.
        smoother: Temporal smoother; None for none.
        motion: Carries outputs from frame to frame; None for none.
        stop: Set by a signal, and by closing the window.

    Raises:
        InterruptedRun: A second signal came before the results were complete.
    """
    with (
        options.output.open(
            opened, renderer, folder=folder, encoding=options.encoding, stop=stop
        ) as target,
        progress("run", opened.source.frames) as step,
    ):
        job = VideoJob(
            source=opened.source,
            backend=backend,
            outputs=options.zones.add(
                target.outputs,
                target.folder,
                info=opened.info,
                card=backend.card,
                resumed=target.resumed,
            ),
            renderer=renderer,
            schedule=schedule,
            smoother=smoother,
            motion=motion,
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
