"""The pipeline of a video: decode, prepare, infer, mask, draw and encode, in threads."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Protocol, TypeVar

from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.backends.base import Backend
from segdeploy.errors import DataError, InterruptedRun, SegdeployError
from segdeploy.imaging.overlay import Renderer
from segdeploy.imaging.postprocess import Confidence, output_to_confidence, output_to_mask
from segdeploy.imaging.preprocess import to_batch
from segdeploy.system.concurrency import BackgroundWriter, Prefetcher, map_in_order
from segdeploy.video.frames import Frame, Outputs, SegmentedFrame
from segdeploy.video.profiler import StageClock, StageTimes
from segdeploy.video.schedule import Schedule
from segdeploy.video.smoothing import TemporalSmoother

S = TypeVar("S")
T = TypeVar("T")

DEPTH = 3
"""Items that wait between two threads: enough to even out slow ones, few enough for large
images."""


class Source(Protocol):
    """Frames in order, read once."""

    @property
    def frames(self) -> int | None:
        """Approximate number of frames; None where it is unknown."""
        ...

    @property
    def losses(self) -> Sequence[str]:
        """What could not be read so far, a sentence each."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Read the frames."""
        ...


@dataclass(frozen=True, kw_only=True)
class VideoJob:
    """What to segment, with what, and where the results go.

    Attributes:
        source: Where the frames come from; it is iterated once and stays open.
        backend: The loaded network.
        outputs: What is written; `segment_all` enters and leaves it, so that files are complete
            when it returns or raises.
        drawing: What is drawn of each frame.
        schedule: How many frames are processed at once.
        smoother: Smooths the network's outputs over time; None for none.
        live: Whether the source does not wait, as a camera; only its newest frame is processed
            then, and none is queued before or after it.
        resumed: How many frames an interrupted run finished before this one.
    """

    source: Source
    backend: Backend
    outputs: AbstractContextManager[Outputs]
    drawing: Renderer
    schedule: Schedule
    smoother: TemporalSmoother | None = None
    live: bool = False
    resumed: int = 0


class Observer(Protocol):
    """Follows a run and may end it; all methods but `on_progress` are called in the main thread."""

    def on_frame(self, result: SegmentedFrame, /) -> None:
        """Handle a segmented frame, in order, before it is written."""
        ...

    def on_progress(self, status: str, /) -> None:
        """Handle a written frame; called in the writing thread with the speed so far."""
        ...

    def should_stop(self) -> bool:
        """Return whether the run ends; asked before each batch.

        The frames that were begun are still written, and the outputs are completed.
        """
        ...


class SilentObserver:
    """An observer that does nothing and never stops; a base for those that need one method."""

    def on_frame(self, result: SegmentedFrame) -> None:
        """Ignore a segmented frame."""

    def on_progress(self, status: str) -> None:
        """Ignore the progress."""

    def should_stop(self) -> bool:
        """Return False."""
        return False


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """The outputs and timings of a job.

    Attributes:
        paths: The files and folders that were written.
        times: Time of each stage, from the first frame until all files were complete.
    """

    paths: tuple[Path, ...]
    times: StageTimes


SILENT = SilentObserver()


def segment_all(job: VideoJob, observer: Observer = SILENT) -> JobResult:
    """Segment all frames of a source and write the results.

    Raises:
        DataError: No frame could be read.
        InterruptedRun: The observer ended the run, and the source is not live.
        SegdeployError: What a stage raises; the frames before it are written.
    """
    batch = job.schedule.batch_for(job.backend)
    clock = StageClock()
    segmenter = Segmenter(job.backend, drawing=job.drawing, clock=clock, smoother=job.smoother)
    workers = job.schedule.workers
    run = (
        run_serial
        if job.schedule.serial
        else partial(run_threaded, workers=workers, depth=0 if job.live else DEPTH)
    )
    with job.outputs as outputs:
        encode = clock.timed("encode", outputs.write)
        count = 0

        def write(results: Sequence[SegmentedFrame]) -> None:
            nonlocal count
            for result in results:
                encode(result)
                count += 1
                speed = f"{count / clock.elapsed:.1f} fps, {clock.slowest(workers)} is slowest"
                observer.on_progress(speed)

        def finalize(results: Sequence[SegmentedFrame]) -> list[SegmentedFrame]:
            final = [segmenter.smooth(result) for result in results]
            for result in final:
                observer.on_frame(result)
            return final

        run(
            in_batches(clock.timed_items("decode", job.source), batch),
            segmenter.segment,
            write=write,
            should_stop=observer.should_stop,
            finalize=finalize,
        )
        if observer.should_stop() and not job.live:
            raise _interruption(job, count, outputs.paths)
    if not count + job.resumed:
        reason = (
            "; ".join(job.source.losses)
            or "no frame lies in the range of --start, --end and --stride"
        )
        msg = f"no image could be read: {reason}"
        raise DataError(msg)
    times = clock.read(count, workers=0 if job.schedule.serial else workers)
    return JobResult(paths=outputs.paths, times=times)


def _interruption(job: VideoJob, count: int, paths: Sequence[Path]) -> InterruptedRun:
    done = job.resumed + count
    total = "an unknown number of" if job.source.frames is None else job.resumed + job.source.frames
    written = f"what was done is in {', '.join(map(str, paths))}" if done else "nothing was written"
    return InterruptedRun(f"interrupted after {done} of {total} frames; {written}")


class Segmenter:
    """The stages between decoding and encoding: frames in, masks and drawn images out."""

    def __init__(
        self,
        backend: Backend,
        *,
        drawing: Renderer,
        clock: StageClock,
        smoother: TemporalSmoother | None = None,
    ) -> None:
        """Connect the stages.

        Args:
            backend: The loaded network.
            drawing: What is drawn of each frame.
            clock: Measures the stages.
            smoother: Smooths the network's outputs from frame to frame; None for none.
        """
        self._smoother = smoother
        self._card = backend.card
        self._spec = backend.card.input
        self._drawing = drawing
        self._clock = clock
        self._prepare = clock.timed_batch("prepare", partial(to_batch, spec=self._spec))
        self._infer = clock.timed_batch("infer", backend.run)
        self._mask = clock.timed("mask", self._make_mask)
        self._draw = clock.timed("draw", drawing.draw)

    def segment(self, frames: Sequence[Frame]) -> list[SegmentedFrame]:
        """Segment frames with one call of the network; several threads may do so at once.

        With a smoother, the results are drawn by `smooth` only.
        """
        self._clock.lap()
        outputs = self._infer(self._prepare([frame.image for frame in frames]))
        seconds = self._clock.lap()
        return [self._finish(frame, outputs[n : n + 1], seconds) for n, frame in enumerate(frames)]

    def smooth(self, result: SegmentedFrame) -> SegmentedFrame:
        """Smooth a result by the frames before it and draw it; to be called in the frames' order.

        The confidence stays the network's own. Without a smoother the result is returned as it is.
        """
        if self._smoother is None or result.output is None:
            return result
        self._clock.lap()
        mask, _ = self._mask(
            result.frame, self._smoother.smoother.smooth(result.output), needs_confidence=False
        )
        self._smoother.before.add(result.mask)
        self._smoother.after.add(mask)
        drawn = self._drawn(result.frame, mask)
        seconds = {**result.stage_seconds, **self._clock.lap()}
        return replace(result, mask=mask, drawn=drawn, stage_seconds=seconds, output=None)

    def _finish(
        self, frame: Frame, output: NetworkOutput, seconds: Mapping[str, float]
    ) -> SegmentedFrame:
        """Return a frame's mask and what is drawn of it; with a smoother, its output instead."""
        mask, confidence = self._mask(
            frame, output, needs_confidence=self._drawing.needs_confidence
        )
        is_pending = self._smoother is not None
        drawn = {} if is_pending else self._drawn(frame, mask)
        return SegmentedFrame(
            frame=frame,
            mask=mask,
            confidence=confidence,
            drawn=drawn,
            stage_seconds={**seconds, **self._clock.lap()},
            output=output if is_pending else None,
        )

    def _drawn(self, frame: Frame, mask: Mask) -> Mapping[str, Image]:
        return self._draw(frame.image, mask) if self._drawing.draws else {}

    def _make_mask(
        self, frame: Frame, output: NetworkOutput, *, needs_confidence: bool
    ) -> tuple[Mask, Confidence | None]:
        """Return the mask of a frame at its own size, and the confidence of each pixel."""
        height, width = frame.image.shape[:2]
        mask = self._drawing.select(output_to_mask(output, self._spec, height=height, width=width))
        if not needs_confidence:
            return mask, None
        return mask, output_to_confidence(
            output, self._spec, kind=self._card.output, height=height, width=width
        )


def run_threaded(
    items: Iterable[S],
    work: Callable[[S], T],
    *,
    write: Callable[[T], None],
    should_stop: Callable[[], bool],
    workers: int = 1,
    depth: int = DEPTH,
    finalize: Callable[[T], T] = lambda item: item,
) -> None:
    """Read, work and write at the same time, in order.

    A failure stops all threads: the items before the one that failed are written, the threads
    end, and the error is raised.

    Args:
        items: Source, read in a thread of its own.
        work: Called in this thread, or in several threads at once.
        write: Called in a thread of its own, in the items' order.
        should_stop: Asked before each item; once it says so, the items in progress are written
            and the run ends.
        workers: How many items are worked on at the same time.
        depth: Items that wait between two threads. With 0 the source is read in this thread: a live
            one, of which only the newest item counts, reads in a thread of its own.
        finalize: Called in this thread with each result, in the items' order; what it returns is
            written.
    """
    with ExitStack() as stack:
        ahead = stack.enter_context(Prefetcher(items, depth=depth)) if depth else items
        behind = stack.enter_context(BackgroundWriter(write, depth=max(1, depth)))
        until_stop = takewhile(lambda _: not should_stop(), ahead)
        for result in stack.enter_context(closing(_map_in_order(work, until_stop, workers))):
            behind.put(finalize(result))


def run_serial(
    items: Iterable[S],
    work: Callable[[S], T],
    *,
    write: Callable[[T], None],
    should_stop: Callable[[], bool],
    finalize: Callable[[T], T] = lambda item: item,
) -> None:
    """Read, work and write one item after the other; the results are those of `run_threaded`."""
    for item in items:
        if should_stop():
            break
        write(finalize(work(item)))


def in_batches(items: Iterable[S], size: int) -> Iterator[list[S]]:
    """Return items in lists of `size`, in order; the last one may be shorter.

    When the source fails, the items before the error are returned first.
    """
    batch: list[S] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
    except SegdeployError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _map_in_order(work: Callable[[S], T], items: Iterable[S], workers: int) -> Generator[T]:
    if workers == 1:
        yield from map(work, items)
        return
    failures: list[Exception] = []
    # One item more than threads is enough that none of them waits for this one.
    yield from map_in_order(work, _until_failure(items, failures), workers=workers, ahead=workers)
    if failures:
        raise failures[0]


def _until_failure(items: Iterable[S], failures: list[Exception]) -> Iterator[S]:
    """Return items, and end where the source fails, so that those before are finished.

    The failure is appended to `failures`.
    """
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 - it is raised after the items before it
        failures.append(error)
