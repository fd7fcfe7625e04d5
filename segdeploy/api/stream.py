"""Results of a source, one after the other, from the pipeline that `segdeploy run` has too."""

import sys
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from itertools import chain
from threading import Event, Lock, Thread
from typing import Any, Self

import cv2

from segdeploy.api.result import Result
from segdeploy.api.sources import Input, Settings, inputs_of
from segdeploy.backends.base import Backend
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.contrast import view
from segdeploy.imaging.overlay import Renderer
from segdeploy.system.concurrency import DEPTH, BoundedQueue
from segdeploy.video.frames import Outputs, SegmentedFrame
from segdeploy.video.pipeline import SilentObserver, VideoJob, segment_all
from segdeploy.video.profiler import StageTimes
from segdeploy.video.run_options import Schedule
from segdeploy.video.smoothing import TemporalSmoother, make_smoother

BackendFor = Callable[[Schedule, int | None], Backend]
"""Returns the loaded network that a schedule needs for a number of frames, if that is known."""


class Progress:
    """What is known of a stream so far; see `Stream`."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.count = 0
        self.times: StageTimes | None = None
        self.losses: list[str] = []
        self.notes: list[str] = []


class Stream(Iterator[Result]):
    """Results of the frames of a source, in order, computed ahead in threads.

    It ends with the source, when it is closed, or when it is no longer used: after a `break`, for
    example. One thread at a time may take results.

    Example:
        ```python
        with net.stream("dashcam.mp4", stride=5) as stream:
            for result in stream:
                print(result.seconds, result.shares()["Road"])
        print(stream, f"{stream.times.rate:.1f} fps", stream.losses)
        ```
    """

    def __init__(
        self,
        source: Any,  # noqa: ANN401 - of any kind
        settings: Settings,
        backend_for: BackendFor,
    ) -> None:
        """Open the first source.

        Args:
            source: See `inputs_of`.
            settings: How it is read and processed.
            backend_for: Returns the network.

        Raises:
            SegdeployError: See `inputs_of`.
        """
        self._progress = Progress()
        opened = ExitStack()
        inputs = inputs_of(source, settings)
        first = next(inputs)
        opened.enter_context(first.open())
        self._results = _results(
            first, inputs, settings, backend_for, opened=opened, progress=self._progress
        )
        # Neither holds the stream, so that both end when it is no longer used, or at exit.
        self._end = weakref.finalize(self, _end, self._results, opened)

    @property
    def times(self) -> StageTimes | None:
        """Return the time of each stage, once a source has ended; of the last one of several.

        Example: `net.stream("street.jpg").times`
        """
        return self._progress.times

    @property
    def losses(self) -> list[str]:
        """Return what could not be read of the sources that have ended, a sentence each.

        Example: `net.stream("street.jpg").losses`
        """
        return self._progress.losses

    @property
    def notes(self) -> list[str]:
        """Return what was converted or dropped of the sources that have ended, a sentence each.

        Example: `net.stream("street.jpg").notes`
        """
        return self._progress.notes

    def __iter__(self) -> Self:
        """Return the stream itself, which can be iterated once."""
        return self

    def __next__(self) -> Result:
        """Return the next result.

        Raises:
            StopIteration: There is none.
            DataError: The source cannot be read any further; or some of its image files could not
                be read, after the results of all others.
        """
        return next(self._results)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Return one line: how many results were taken."""
        return f"Stream({self._progress.count} results so far)"

    def close(self) -> None:
        """Stop reading, and close the source; frames that were computed ahead are dropped.

        Example: `net.stream("dashcam.mp4").close()`
        """
        self._end()


def _end(results: Generator[Result], opened: ExitStack) -> None:
    """End the threads, then close the source that they read."""
    results.close()
    # A generator that was never started closes nothing.
    opened.close()


def _results(
    first: Input,
    others: Iterator[Input],
    settings: Settings,
    backend_for: BackendFor,
    *,
    opened: ExitStack,
    progress: Progress,
) -> Generator[Result]:
    """Yield the results of all sources; `opened` closes the one that is open."""
    for item in chain([first], others):
        if item is not first:
            opened.enter_context(item.open())
        with opened:
            try:
                yield from _results_of(item, _job(item, settings, backend_for), progress)
            except DataError:
                if not item.is_empty:
                    raise
            finally:
                progress.losses += item.source.losses
                progress.notes += item.source.notes
            item.check_losses()


def _job(item: Input, settings: Settings, backend_for: BackendFor) -> VideoJob:
    """Return the job of a source, without outputs."""
    schedule = settings.schedule.for_frames(item.source.frames)
    backend = backend_for(settings.schedule, item.source.frames)
    return VideoJob(
        source=item.source,
        backend=backend,
        outputs=nullcontext(Outputs(writers=(), paths=())),
        renderer=Renderer(backend.card.classes, ()),
        schedule=schedule,
        smoother=smoother_of(item, settings, backend.card),
        keeps_output=True,
        live=item.is_live,
    )


def smoother_of(item: Input, settings: Settings, card: ModelCard) -> TemporalSmoother | None:
    """Return what smooths a source over time; None where nothing does.

    Raises:
        ConfigError: The source is not a video, or the network's output cannot be smoothed.
    """
    if settings.smooth is None:
        return None
    if not item.is_video:
        msg = f"images are not a sequence in time; leave out smooth={settings.smooth!r}"
        raise ConfigError(msg)
    return TemporalSmoother(make_smoother(settings.smooth, card))


def _results_of(item: Input, job: VideoJob, progress: Progress) -> Generator[Result]:
    """Yield the results of one source."""
    with closing(frames_of(job, item.stop, progress)) as frames:
        for segmented in frames:
            progress.count += 1
            frame = segmented.frame
            yield Result(
                image=view(frame.image, job.backend.card.input),
                mask=segmented.mask,
                classes=job.backend.card.classes,
                name=item.name_of(frame.index),
                index=frame.index,
                seconds=frame.seconds,
                card=job.backend.card,
                output=segmented.output,
            )


def frames_of(job: VideoJob, stop: Event, progress: Progress) -> Generator[SegmentedFrame]:
    """Yield the segmented frames of a job, which runs in a thread and waits for room.

    Args:
        job: Its outputs are replaced.
        stop: Ends the source; set at the end.
        progress: Takes the times.

    Raises:
        SegdeployError: As `segment_all`, after the frames before.
    """
    queue: BoundedQueue[SegmentedFrame] = BoundedQueue(1 if job.live else DEPTH)
    errors: list[BaseException] = []

    def write(frame: SegmentedFrame) -> None:
        queue.put(frame)

    def work() -> None:
        outputs = nullcontext(Outputs(writers=(write,), paths=()))
        try:
            with process_settings(job.schedule):
                result = segment_all(replace(job, outputs=outputs), StopObserver(stop))
            progress.times = result.times
        except BaseException as error:  # noqa: BLE001 - it is raised where the frames are taken
            errors.append(error)
        finally:
            queue.close()

    thread = Thread(target=work, name="segdeploy-stream", daemon=True)
    thread.start()
    try:
        yield from queue
    finally:
        stop.set()
        queue.drop()
        thread.join()
    if errors:
        raise errors[0]


class StopObserver(SilentObserver):
    """Ends a run when an event is set."""

    def __init__(self, stop: Event) -> None:
        """Remember the event."""
        self._stop = stop

    def should_stop(self) -> bool:
        """Return whether it is set."""
        return self._stop.is_set()


class ProcessSettings:
    """Threads that OpenCV and PyTorch have in this process, while pipelines run in it."""

    def __init__(self) -> None:
        """Start with no pipeline."""
        self._lock = Lock()
        self._users = 0
        self._before: tuple[int, int | None] = (0, None)

    @contextmanager
    def __call__(self, schedule: Schedule) -> Iterator[None]:
        """Set them for a schedule; the end of the last pipeline sets them back."""
        torch = sys.modules.get("torch")
        with self._lock:
            if not self._users:
                self._before = cv2.getNumThreads(), torch.get_num_threads() if torch else None
            self._users += 1
            schedule.share_cores()
            if torch:
                torch.set_num_threads(schedule.network_threads)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    threads, torch_threads = self._before
                    cv2.setNumThreads(threads)
                    if torch and torch_threads:
                        torch.set_num_threads(torch_threads)


process_settings = ProcessSettings()
