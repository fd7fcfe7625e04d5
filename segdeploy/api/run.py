"""Results of sources in files, as `segdeploy run` writes them."""

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdeploy.api.options import RunSettings
from segdeploy.api.sources import Input, inputs_of
from segdeploy.api.stream import BackendFor, process_settings, smoother_of
from segdeploy.errors import ConfigError
from segdeploy.imaging.overlay import Renderer
from segdeploy.system.runs import result_folder
from segdeploy.video.frames import Outputs
from segdeploy.video.outputs import (
    check_file,
    image_outputs,
    is_file_name,
    unique_names,
    video_outputs,
)
from segdeploy.video.pipeline import JobResult, VideoJob, segment_all
from segdeploy.video.profiler import StageTimes
from segdeploy.video.sources import OpenedSource

IMAGES_NAME = "images"
"""Name of the folder for the results of images, where none is named."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run wrote.

    Example:
        ```python
        done = net.run("dashcam.mp4", "results", save="mask,jsonl", max_frames=3)
        print(done.paths, f"{done.times.rate:.1f} fps", done.losses)
        ```

    Attributes:
        paths: Files and folders that were written.
        times: Time of each stage; of the last source where there are several.
        losses: What could not be read of videos, a sentence each.
        notes: What was converted or dropped, a sentence each.
    """

    paths: tuple[Path, ...]
    times: StageTimes
    losses: tuple[str, ...]
    notes: tuple[str, ...]


def run_sources(
    source: Any,  # noqa: ANN401 - of any kind
    output: Path | None,
    *,
    options: RunSettings,
    backend_for: BackendFor,
) -> RunResult:
    """Segment sources one after the other, and write their results.

    Args:
        source: What names one or several sources; see `inputs_of`.
        output: Folder of the results, or their only file; a new folder below runs/run where None.
        options: What is written, and how.
        backend_for: Returns the network.

    Raises:
        ConfigError: The options do not fit the source, or a video exists already.
        DataError: The source cannot be read; or some images cannot, after all others are done.
        OutputError: A result cannot be written.
    """
    file = output if output is not None and is_file_name(output) else None
    done: list[JobResult] = []
    read: list[Input] = []
    taken: list[Path] = []
    folder: Path | None = None
    with ExitStack() as stack:
        for item in inputs_of(source, options.settings):
            with item.open():
                opened = _check(item, file, is_first=not done)
                name = IMAGES_NAME
                if opened.info is not None:
                    taken.append(Path(f"{opened.info.name}.x"))
                    name = unique_names(taken)[-1]
                    opened.rename(name)
                if folder is None:
                    parent = output if file is None else file.parent
                    folder = stack.enter_context(result_folder("run", name, output=parent))
                done.append(_write(item, folder, file, options=options, backend_for=backend_for))
                read.append(item)
    for item in read:
        item.check_losses()
    return RunResult(
        paths=tuple(path for result in done for path in result.paths),
        times=done[-1].times,
        losses=tuple(loss for item in read for loss in item.source.losses),
        notes=tuple(note for item in read for note in item.source.notes),
    )


def _check(item: Input, file: Path | None, *, is_first: bool) -> OpenedSource:
    """Return the opened source of an input, whose results can be written."""
    if item.opened is None:
        msg = "run writes the results of files and cameras; use stream for images in memory"
        raise ConfigError(msg)
    if file is not None and not is_first:
        msg = f"several sources cannot go into {file}, which is one file; name a folder"
        raise ConfigError(msg)
    return item.opened


def _write(
    item: Input,
    folder: Path,
    file: Path | None,
    *,
    options: RunSettings,
    backend_for: BackendFor,
) -> JobResult:
    """Segment one source, and write its results into a folder or the one file."""
    assert item.opened is not None, "it is checked"
    opened, schedule = item.opened, options.settings.schedule
    backend = backend_for(schedule, item.source.frames)
    renderer = options.render.renderer(backend.card.classes)
    if file is not None:
        source = opened.video.audio if opened.video else next(iter(opened.paths), None)
        count = len(opened.paths) if opened.images else None
        check_file(file, renderer, source=source, count=count)
    schedule = schedule.for_frames(item.source.frames)
    job = VideoJob(
        source=item.source,
        backend=backend,
        outputs=_outputs(opened, folder, file, renderer=renderer, options=options),
        renderer=renderer,
        schedule=schedule,
        smoother=smoother_of(item, options.settings, backend.card),
        live=item.is_live,
    )
    with process_settings(schedule):
        return segment_all(job)


def _outputs(
    opened: OpenedSource,
    folder: Path,
    file: Path | None,
    *,
    renderer: Renderer,
    options: RunSettings,
) -> AbstractContextManager[Outputs]:
    if opened.info is None:
        return image_outputs(opened.paths, folder, renderer=renderer, file=file)
    return video_outputs(
        opened.info,
        folder,
        renderer=renderer,
        encoding=options.encoding,
        overwrite=options.overwrite,
        file=file,
    )
