"""The pipeline of a video: decode, prepare, infer, mask, draw and encode, in threads."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.backends.base import Backend, empty_batch
from segdeploy.card import InputSpec
from segdeploy.errors import ConfigError, DataError, InterruptedRun
from segdeploy.imaging.contrast import view
from segdeploy.imaging.overlay import Renderer
from segdeploy.imaging.postprocess import Confidence, output_to_confidence, output_to_mask
from segdeploy.imaging.preprocess import to_batch
from segdeploy.system.concurrency import DEPTH, in_batches, run_serial, run_threaded
from segdeploy.video.frames import Frame, Outputs, SegmentedFrame
from segdeploy.video.motion import Group, MotionCarrier
from segdeploy.video.profiler import StageClock, StageTimes
from segdeploy.video.run_options import Schedule
from segdeploy.video.smoothing import TemporalSmoother

BATCH_SIZES = (1, 2, 4, 8, 16)
"""Batch sizes that are timed on devices other than CPUs."""

MIN_SPEEDUP = 1.05
"""How many times as fast a larger batch must be: it costs memory, and delays the first frame."""


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

    @property
    def notes(self) -> Sequence[str]:
        """What was converted or dropped so far, a sentence each."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Read the frames."""
        ...


def batch_size(schedule: Schedule, backend: Backend) -> int:
    """Return how many frames go into one call: as set, or the fastest on the device; 1 on a CPU."""
    if schedule.batch is not None:
        return schedule.batch
    return 1 if "cpu" in backend.device.lower() else best_batch(backend)


def best_batch(
    backend: Backend, *, runs: int = 3, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Return the smallest batch size after which a larger one is hardly faster, by timing them.

    Args:
        backend: The loaded network; each size is run once for warm-up.
        runs: Timed runs of each size; the fastest counts.
        clock: Returns the time in seconds.
    """
    spec = backend.card.input
    best, best_seconds = 1, float("inf")
    for size in BATCH_SIZES:
        batch = empty_batch(spec, size)
        backend.run(batch)
        seconds = []
        for _ in range(runs):
            start = clock()
            backend.run(batch)
            seconds.append(clock() - start)
        if min(seconds) / size * MIN_SPEEDUP > best_seconds:
            break
        best, best_seconds = size, min(seconds) / size
    return best


@dataclass(frozen=True, kw_only=True)
class VideoJob:
    """What to segment, with what, and where the results go.

    Attributes:
        source: Where the frames come from; it is iterated once and stays open.
        backend: The loaded network.
        outputs: What is written; `segment_all` enters and leaves it, so that files are complete
            when it returns or raises.
        renderer: What is drawn of each frame.
        schedule: How many frames are processed at once.
        smoother: Smooths the network's outputs over time; None for none.
        keeps_output: Whether results keep the network's output, without a smoother.
        motion: Runs the network on some frames only; None for all of them.
        live: Whether the source does not wait, as a camera; then no frame is queued.
        resumed: How many frames an interrupted run finished before this one.
    """

    source: Source
    backend: Backend
    outputs: AbstractContextManager[Outputs]
    renderer: Renderer
    schedule: Schedule
    smoother: TemporalSmoother | None = None
    keeps_output: bool = False
    motion: MotionCarrier | None = None
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
        """Return whether the run ends; called before each batch.

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


@runtime_checkable
class BandSource(Protocol):
    """A source of images that may have any bands and bits."""

    def read_as(self, spec: InputSpec) -> None:
        """Read the images as a network takes them."""
        ...


def read_as(source: Source, spec: InputSpec) -> None:
    """Let a source read images as a network takes them.

    Raises:
        ConfigError: It has colors of 8 bits alone, and the network takes others.
    """
    if spec.is_plain:
        return
    if not isinstance(source, BandSource):
        msg = (
            f"the network takes {len(spec.channels)} bands of {spec.dtype}, which no video and no"
            " camera has; name images with --image"
        )
        raise ConfigError(msg)
    source.read_as(spec)


def segment_all(job: VideoJob, observer: Observer = SILENT) -> JobResult:
    """Segment all frames of a source and write the results.

    Raises:
        DataError: No frame could be read.
        InterruptedRun: The observer ended the run, and the source is not live.
        SegdeployError: What a stage raises; the frames before it are written.
    """
    batch = batch_size(job.schedule, job.backend)
    read_as(job.source, job.backend.card.input)
    clock = StageClock()
    segmenter = Segmenter(
        job.backend,
        renderer=job.renderer,
        clock=clock,
        smoother=job.smoother,
        keeps_output=job.keeps_output,
        motion=job.motion,
    )
    workers = job.schedule.workers
    depth = 0 if job.live else job.motion.depth if job.motion else DEPTH
    run = run_serial if job.schedule.serial else partial(run_threaded, workers=workers, depth=depth)
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

        frames = clock.timed_items("decode", job.source)
        run = partial(run, write=write, should_stop=observer.should_stop, finalize=finalize)
        if job.motion:
            run(in_batches(job.motion.groups(frames), batch), segmenter.segment_groups)
        else:
            run(in_batches(frames, batch), segmenter.segment)
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
    written = (
        f"the results so far are in {', '.join(map(str, paths))}" if done else "nothing was written"
    )
    return InterruptedRun(f"interrupted after {done} of {total} frames; {written}")


class Segmenter:
    """The stages between decoding and encoding: frames in, masks and drawn images out."""

    def __init__(
        self,
        backend: Backend,
        *,
        renderer: Renderer,
        clock: StageClock,
        smoother: TemporalSmoother | None = None,
        keeps_output: bool = False,
        motion: MotionCarrier | None = None,
    ) -> None:
        """Connect the stages.

        Args:
            backend: The loaded network.
            renderer: What is drawn of each frame.
            clock: Measures the stages.
            smoother: Smooths the network's outputs from frame to frame; None for none.
            keeps_output: Whether results keep the network's output, without a smoother.
            motion: Runs the network on some frames only; None for all of them.
        """
        self._motion = motion
        self._smoother = smoother
        self._keeps_output = keeps_output
        self._card = backend.card
        self._spec = backend.card.input
        self._renderer = renderer
        self._clock = clock
        self._prepare = clock.timed_batch("prepare", partial(to_batch, spec=self._spec))
        self._infer = clock.timed_batch("infer", backend.run)
        self._mask = clock.timed("mask", self._make_mask)
        self._draw = clock.timed("draw", renderer.draw)

    def segment(self, frames: Sequence[Frame]) -> list[SegmentedFrame]:
        """Segment frames with one call of the network; several threads may do so at once.

        With a smoother, the results are drawn by `smooth` only.
        """
        outputs, seconds = self._run_network(frames)
        return [self._finish(frame, outputs[n : n + 1], seconds) for n, frame in enumerate(frames)]

    def segment_groups(self, groups: Sequence[Group]) -> list[SegmentedFrame]:
        """Do what `segment` does for groups of frames, with the network on some of them only."""
        assert self._motion
        carry = self._clock.timed("infer", self._motion.carry)
        results = self._motion.outputs(groups, infer=self._run_network, carry=carry)
        return [self._finish(*result) for result in results]

    def _run_network(self, frames: Sequence[Frame]) -> tuple[NetworkOutput, Mapping[str, float]]:
        """Return the network's outputs, and the seconds a frame that each stage took."""
        self._clock.lap()
        outputs = self._infer(self._prepare([frame.image for frame in frames]))
        return outputs, self._clock.lap()

    def smooth(self, result: SegmentedFrame) -> SegmentedFrame:
        """Smooth a result by the frames before it and draw it; to be called in the frames' order.

        The confidence is that of the network, not smoothed. Without a smoother the result is
        returned as it is.
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
            frame, output, needs_confidence=self._renderer.needs_confidence
        )
        is_pending = self._smoother is not None
        drawn = {} if is_pending else self._drawn(frame, mask)
        return SegmentedFrame(
            frame=frame,
            mask=mask,
            confidence=confidence,
            drawn=drawn,
            stage_seconds={**seconds, **self._clock.lap()},
            output=output if is_pending or self._keeps_output else None,
        )

    def _drawn(self, frame: Frame, mask: Mask) -> Mapping[str, Image]:
        if not self._renderer.draws:
            return {}
        return self._draw(view(frame.image, self._spec), mask)

    def _make_mask(
        self, frame: Frame, output: NetworkOutput, *, needs_confidence: bool
    ) -> tuple[Mask, Confidence | None]:
        """Return the mask of a frame at its own size, and the confidence of each pixel."""
        height, width = frame.image.shape[:2]
        mask = self._renderer.select(output_to_mask(output, self._spec, height=height, width=width))
        if not needs_confidence:
            return mask, None
        return mask, output_to_confidence(
            output, self._spec, kind=self._card.output, height=height, width=width
        )
