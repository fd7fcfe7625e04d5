"""read -> infer -> mask -> draw -> write, in threads."""

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
from segdeploy.imaging.overlay import Drawing
from segdeploy.imaging.postprocess import Confidence, answer_confidence, answer_mask
from segdeploy.imaging.preprocess import to_batch
from segdeploy.system.concurrency import ReadAhead, WriteBehind, in_threads
from segdeploy.video.frames import Frame, Outputs, Segmented
from segdeploy.video.profiler import StageClock, StageTimes
from segdeploy.video.smoothing import TemporalSmoother

S = TypeVar("S")
T = TypeVar("T")

DEPTH = 3
"""Items that wait between two threads: enough to even out slow ones, few enough for large
images."""


def run_threaded(
    items: Iterable[S],
    work: Callable[[S], T],
    *,
    write: Callable[[T], None],
    go_on: Callable[[], bool],
    workers: int = 1,
    depth: int = DEPTH,
    settle: Callable[[T], T] = lambda item: item,
) -> None:
    """Read, work and write at the same time, in order.

    Whatever fails stops the rest: the items before the one that failed are written, the threads
    end, and the error is raised.

    Args:
        items: Source, read in a thread of its own.
        work: Called in this thread, or in several threads at once.
        write: Called in a thread of its own, in the items' order.
        go_on: Asked before each item is worked on; when it says no, what was worked on is written,
            and that is all.
        workers: How many items are worked on at the same time.
        depth: Items that wait between two threads. With 0 the source is read in this thread: a live
            one, of which only the newest item counts, reads in a thread of its own.
        settle: Called in this thread with each result, in the items' order; what it gives is
            written.
    """
    with ExitStack() as stack:
        ahead = stack.enter_context(ReadAhead(items, depth=depth)) if depth else items
        behind = stack.enter_context(WriteBehind(write, depth=max(1, depth)))
        wanted = takewhile(lambda _: go_on(), ahead)
        for result in stack.enter_context(closing(_worked_on(work, wanted, workers))):
            behind.put(settle(result))


def run_serial(
    items: Iterable[S],
    work: Callable[[S], T],
    *,
    write: Callable[[T], None],
    go_on: Callable[[], bool],
    settle: Callable[[T], T] = lambda item: item,
) -> None:
    """Read, work and write one item after the other; the results are those of `run_threaded`."""
    for item in items:
        if not go_on():
            break
        write(settle(work(item)))


def in_batches(items: Iterable[S], size: int) -> Iterator[list[S]]:
    """Return items by so many at a time, in order.

    Before an error of the source come the items before it.
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


def _worked_on(work: Callable[[S], T], items: Iterable[S], workers: int) -> Generator[T]:
    if workers == 1:
        yield from map(work, items)
        return
    failures: list[Exception] = []
    # One item more than threads is enough that none of them waits for this one.
    yield from in_threads(work, _until_failure(items, failures), workers=workers, ahead=workers)
    if failures:
        raise failures[0]


def _until_failure(items: Iterable[S], failures: list[Exception]) -> Iterator[S]:
    """Return items as if a source that fails had ended, so that those before are finished.

    The failure is kept.
    """
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 - it is raised after the items before it
        failures.append(error)


class Source(Protocol):
    """Frames in order, read once."""

    @property
    def frames(self) -> int | None:
        """About how many there are; None where nobody knows."""
        ...

    @property
    def losses(self) -> Sequence[str]:
        """What could not be read so far, a sentence each."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Read."""
        ...


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run gave.

    Attributes:
        paths: The files and folders that were written.
        times: Where the time went, from the first frame until they were whole.
    """

    paths: tuple[Path, ...]
    times: StageTimes


class Segmenter:
    """A loaded network that answers frames as `Predictor` answers images, and draws what is wanted of them."""

    def __init__(
        self,
        backend: Backend,
        *,
        drawing: Drawing,
        clock: StageClock,
        steadying: TemporalSmoother | None = None,
    ) -> None:
        """Put the stages together.

        Args:
            backend: What answers batches.
            drawing: What is wanted of each frame.
            clock: Measures the stages.
            steadying: What steadies the answers from frame to frame; None for nothing.
        """
        self._steadying = steadying
        self._card = backend.card
        self._spec = backend.card.input
        self._drawing = drawing
        self._clock = clock
        self._prepare = clock.timed_batch("prepare", partial(to_batch, spec=self._spec))
        self._infer = clock.timed_batch("infer", backend.run)
        self._mask = clock.timed("mask", self._make_mask)
        self._draw = clock.timed("draw", drawing.draw)

    def segment(self, frames: Sequence[Frame]) -> list[Segmented]:
        """Answer frames with one call of the network.

        Several threads may do so at once. What is to be steadied is not drawn yet.
        """
        self._clock.lap()
        answers = self._infer(self._prepare([frame.image for frame in frames]))
        spent = self._clock.lap()
        return [self._finish(frame, answers[n : n + 1], spent) for n, frame in enumerate(frames)]

    def settle(self, result: Segmented) -> Segmented:
        """Steady what was answered by the frames before it, in their order, and draw it.

        The confidence stays the network's own.
        """
        if self._steadying is None or result.answer is None:
            return result
        self._clock.lap()
        mask, _ = self._mask(
            result.frame, self._steadying.smoother.smooth(result.answer), sure=False
        )
        self._steadying.before.add(result.mask)
        self._steadying.after.add(mask)
        drawn = self._drawn(result.frame, mask)
        return replace(
            result, mask=mask, drawn=drawn, spent={**result.spent, **self._clock.lap()}, answer=None
        )

    def _finish(self, frame: Frame, answer: NetworkOutput, spent: Mapping[str, float]) -> Segmented:
        """Return the class of each pixel of a frame, at the frame's own size, and what is drawn of it."""
        mask, confidence = self._mask(frame, answer, sure=self._drawing.with_confidence)
        if self._steadying is not None:
            return Segmented(
                frame=frame,
                mask=mask,
                confidence=confidence,
                drawn={},
                spent={**spent, **self._clock.lap()},
                answer=answer,
            )
        drawn = self._drawn(frame, mask)
        return Segmented(
            frame=frame,
            mask=mask,
            confidence=confidence,
            drawn=drawn,
            spent={**spent, **self._clock.lap()},
        )

    def _drawn(self, frame: Frame, mask: Mask) -> Mapping[str, Image]:
        return self._draw(frame.image, mask) if self._drawing.draws else {}

    def _make_mask(
        self, frame: Frame, answer: NetworkOutput, *, sure: bool
    ) -> tuple[Mask, Confidence | None]:
        """Return the classes that are kept, and how sure the network is of each pixel if that is asked."""
        height, width = frame.image.shape[:2]
        mask = self._drawing.select(answer_mask(answer, self._spec, height=height, width=width))
        if not sure:
            return mask, None
        return mask, answer_confidence(
            answer, self._spec, output=self._card.output, height=height, width=width
        )


def segment_all(
    source: Source,
    outputs: AbstractContextManager[Outputs],
    *,
    backend: Backend,
    drawing: Drawing,
    serial: bool = False,
    workers: int = 1,
    batch: int = 1,
    live: bool = False,
    steadying: TemporalSmoother | None = None,
    before: int = 0,
    seen: Callable[[Segmented], None] = lambda _: None,
    go_on: Callable[[], bool] = lambda: True,
    on_step: Callable[[str], None] = lambda _: None,
) -> Done:
    """Segment a whole source, and keep the results.

    Args:
        source: Where the frames come from; it stays open.
        outputs: What is kept; it is entered and left, so that files are whole when this returns, or
            raises.
        backend: The network.
        drawing: What is wanted of each frame.
        serial: Whether one frame follows the other, instead of reading, working and writing at the
            same time.
        workers: How many batches are worked on at the same time; unless `serial`.
        batch: How many frames the network is given at once.
        live: Whether the source does not wait; each result is then made of its newest frame, and no
            other waits before or after it.
        steadying: What steadies the answers from frame to frame; None for nothing.
        before: How many frames an interrupted run did before.
        seen: Called with each result in this thread, in order.
        go_on: Asked before each batch; once it says no, the outputs are finished with the frames
            that are done.
        on_step: Called after each written frame with the frames a second so far.

    Raises:
        DataError: No frame could be read.
        InterruptedRun: `go_on` said no.
        SegdeployError: What a stage raises; the frames before it are kept.
    """
    clock = StageClock()
    segmenter = Segmenter(backend, drawing=drawing, clock=clock, steadying=steadying)
    run = (
        run_serial if serial else partial(run_threaded, workers=workers, depth=0 if live else DEPTH)
    )
    with outputs as opened:
        keep = clock.timed("encode", opened.write)
        count = 0

        def write(results: Sequence[Segmented]) -> None:
            nonlocal count
            for result in results:
                keep(result)
                count += 1
                on_step(f"{count / clock.elapsed:.1f} fps, {clock.slowest(workers)} is slowest")

        def settle(results: Sequence[Segmented]) -> list[Segmented]:
            settled = [segmenter.settle(result) for result in results]
            for result in settled:
                seen(result)
            return settled

        run(
            in_batches(clock.timed_items("decode", source), batch),
            segmenter.segment,
            write=write,
            go_on=go_on,
            settle=settle,
        )
        if not go_on() and not live:
            kept = (
                f"what was done is in {', '.join(map(str, opened.paths))}"
                if count + before
                else "nothing was written"
            )
            of = "an unknown number of" if source.frames is None else before + source.frames
            msg = f"interrupted after {before + count} of {of} frames; {kept}"
            raise InterruptedRun(msg)
    if not count + before:
        msg = (
            "no image could be read:"
            f" {'; '.join(source.losses) or 'none lies where --start and --end, or --stride, look'}"
        )
        raise DataError(msg)
    return Done(paths=opened.paths, times=clock.read(count, workers=0 if serial else workers))
