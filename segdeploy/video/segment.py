"""Every frame of a source through a network and into what is kept, each stage measured."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from segdeploy.backends.base import Backend
from segdeploy.errors import DataError, InterruptedRun
from segdeploy.overlay import Painter
from segdeploy.pixels import Logits, answer_mask, to_batch
from segdeploy.video.frames import Frame, Segmented
from segdeploy.video.pipeline import in_batches, run_serial, run_threaded
from segdeploy.video.saving import Outputs
from segdeploy.video.times import StageClock, StageTimes


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
    """A loaded network that answers frames as `Predictor` answers pictures, and paints them."""

    def __init__(self, backend: Backend, *, painter: Painter | None, clock: StageClock) -> None:
        """Put the stages together.

        Args:
            backend: What answers batches with logits.
            painter: What lays the colors over the frames; None where no overlay is kept.
            clock: Measures the stages.
        """
        self._spec = backend.card.input
        self._prepare = clock.timed_batch("prepare", partial(to_batch, spec=self._spec))
        self._infer = clock.timed_batch("infer", backend.run)
        self._answer = clock.timed("mask", answer_mask)
        self._paint = clock.timed("draw", painter.paint) if painter else None

    def segment(self, frames: Sequence[Frame]) -> list[Segmented]:
        """Answer frames with one call of the network; several threads may do so at once."""
        logits = self._infer(self._prepare([frame.image for frame in frames]))
        return [self._finish(frame, logits[n : n + 1]) for n, frame in enumerate(frames)]

    def _finish(self, frame: Frame, logits: Logits) -> Segmented:
        """Give the class of each pixel of a frame, at the frame's own size, and the overlay."""
        height, width = frame.image.shape[:2]
        mask = self._answer(logits, self._spec, height=height, width=width)
        return Segmented(frame=frame, mask=mask, overlay=self._paint(frame.image, mask) if self._paint else None)


def segment_all(
    source: Source,
    outputs: AbstractContextManager[Outputs],
    *,
    backend: Backend,
    painter: Painter | None,
    serial: bool = False,
    workers: int = 1,
    batch: int = 1,
    go_on: Callable[[], bool] = lambda: True,
    on_step: Callable[[str], None] = lambda _: None,
) -> Done:
    """Segment a whole source, and keep the results.

    Args:
        source: Where the frames come from; it stays open.
        outputs: What is kept; it is entered and left, so that files are whole when this returns, or raises.
        backend: The network.
        painter: What lays the colors over the frames; None where no overlay is kept.
        serial: Whether one frame follows the other, instead of reading, working and writing at the same time.
        workers: How many batches are worked on at the same time; unless `serial`.
        batch: How many frames the network is given at once.
        go_on: Asked before each batch; once it says no, the outputs are finished with the frames that are done.
        on_step: Called after each written frame with the frames a second so far.

    Raises:
        DataError: No frame could be read.
        InterruptedRun: `go_on` said no.
        SegdeployError: What a stage raises; the frames before it are kept.
    """
    clock = StageClock()
    segmenter = Segmenter(backend, painter=painter, clock=clock)
    run = run_serial if serial else partial(run_threaded, workers=workers)
    with outputs as opened:
        keep = clock.timed("encode", opened.write)
        count = 0

        def write(results: Sequence[Segmented]) -> None:
            nonlocal count
            for result in results:
                keep(result)
                count += 1
                on_step(f"{count / clock.elapsed:.1f} fps, {clock.slowest(workers)} is slowest")

        run(in_batches(clock.timed_items("decode", source), batch), segmenter.segment, write=write, go_on=go_on)
        if not go_on():
            kept = f"what was done is in {', '.join(map(str, opened.paths))}" if count else "nothing was written"
            msg = f"interrupted after {count} of {source.frames or 'an unknown number of'} frames; {kept}"
            raise InterruptedRun(msg)
    if not count:
        msg = f"no picture could be read: {'; '.join(source.losses)}"
        raise DataError(msg)
    return Done(paths=opened.paths, times=clock.read(count, workers=0 if serial else workers))
