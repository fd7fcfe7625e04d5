"""Overlapping tiles, blended; whole large images."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from msgspec.structs import replace

from segdeploy.arrays import Image, Mask
from segdeploy.backends.base import Backend
from segdeploy.card import InputSpec
from segdeploy.errors import ConfigError, InterruptedRun
from segdeploy.imaging.large import LargeImage, image_writer
from segdeploy.imaging.overlay import COLOR, MASK, OVERLAY, Renderer, colorize
from segdeploy.imaging.postprocess import finite_planes
from segdeploy.imaging.preprocess import fitted_size, to_batch
from segdeploy.imaging.upsample import Floats, Planes, best_class, upsample_plane
from segdeploy.system.concurrency import map_in_order


@dataclass(frozen=True, kw_only=True)
class Span:
    """One window's share of one side, in pixels.

    Attributes:
        start: First pixel that the window sees.
        stop: Pixel behind the last one that it sees.
        first: First pixel that it has a say in.
        sure: Pixel from which on the window before has no say.
        fade: First pixel that the next window has a say in.
        last: Pixel behind the last one that it has a say in.
    """

    start: int
    stop: int
    first: int
    sure: int
    fade: int
    last: int

    def weights(self) -> Floats:
        """Return the window's say in each pixel from `first` to `last`, in [0, 1].

        With its neighbors' it adds up to 1.
        """
        rise = (np.arange(self.sure - self.first) + 0.5) / max(1, self.sure - self.first)
        fall = (np.arange(self.last - self.fade) + 0.5) / max(1, self.last - self.fade)
        return np.concatenate([rise, np.ones(self.fade - self.sure), 1 - fall]).astype(np.float32)


def spans(size: int, tile: int, *, overlap: int) -> list[Span]:
    """Lay as few windows as can be evenly along a side.

    Neighbors blend in the middle of what both see.

    Args:
        size: Length of the side, in pixels.
        tile: Length of a window, in pixels; a shorter side has one window of its own length.
        overlap: Pixels in which two windows blend.

    Raises:
        ConfigError: The overlap is more than a third of the window: three windows would meet.
    """
    if not 0 <= 3 * overlap <= tile:
        msg = (
            f"an overlap of {overlap} pixels is too much for tiles of {tile}; take at most a third,"
            f" {tile // 3}"
        )
        raise ConfigError(msg)
    if size <= tile:
        return [Span(start=0, stop=size, first=0, sure=0, fade=size, last=size)]
    count = 1 - (-(size - tile) // (tile - overlap))
    starts = [round(place * (size - tile) / (count - 1)) for place in range(count)]
    seams = [(after + before + tile - overlap) // 2 for before, after in pairwise(starts)]
    return [
        Span(
            start=start,
            stop=start + tile,
            first=begin,
            sure=begin + overlap * (begin > 0),
            fade=end,
            last=end + overlap * (end < size),
        )
        for start, begin, end in zip(starts, [0, *seams], [*seams, size], strict=True)
    ]


class Tiler:
    """A network that answers images of any size, from the top to the bottom."""

    def __init__(
        self, backend: Backend, *, height: int, width: int, overlap: int, workers: int = 1
    ) -> None:
        """Prepare the windows.

        Args:
            backend: What answers each window.
            height: Height of a window, in pixels of the image.
            width: Width of a window, in pixels of the image.
            overlap: Pixels in which neighbors blend, at most a third of a window.
            workers: How many windows are answered at the same time.

        Raises:
            ConfigError: The network answers classes, which cannot be blended, or the overlap is too
                large.
        """
        if backend.card.output == "classes":
            msg = (
                "this file answers classes, which cannot be blended where tiles overlap; export it"
                " with --output logits"
            )
            raise ConfigError(msg)
        spans(2 * min(height, width), min(height, width), overlap=overlap)
        self._backend = backend
        self._spec = _spec_for(backend.card.input, height, width)
        self._tile = (height, width)
        self._overlap = overlap
        self._workers = workers

    def strips(
        self, height: int, *, width: int, read: Callable[[int], Image]
    ) -> Iterator[tuple[Image, Mask]]:
        """Answer an image.

        Args:
            height: Height of the image, in pixels.
            width: Width of the image, in pixels.
            read: Gives the next so many rows, (n, width, 3) uint8 blue-green-red.

        Yields:
            The next rows of the image and the class of each of their pixels; together they are
            the whole image.

        Raises:
            ModelError: An answer holds NaN or infinity.
        """
        columns = spans(width, self._tile[1], overlap=self._overlap)
        seen = np.empty((0, width, 3), np.uint8)
        top = done = 0
        above: Planes | None = None
        for row in spans(height, self._tile[0], overlap=self._overlap):
            more = read(row.stop - top - len(seen))
            seen = np.concatenate([seen[row.start - top :], more])
            top = row.start
            mask, above = self._row(seen, row, columns, above)
            yield seen[done - top : done - top + len(mask)].copy(), mask
            done += len(mask)

    def _row(
        self, seen: Image, row: Span, columns: list[Span], above: Planes | None
    ) -> tuple[Mask, Planes]:
        """Answer one row of windows.

        Args:
            seen: The pixels that they see.
            row: Which rows of the image these are.
            columns: The windows.
            above: What the windows above say of the rows in which they fade, (K, n, width).

        Returns:
            The classes of the rows that no later window has a say in; and what these windows say of
            the rows in which they fade.
        """
        settled = row.fade - row.first
        mask = np.empty((settled, columns[-1].last), np.uint8)
        below = np.empty(
            (len(self._backend.card.classes), row.last - row.fade, columns[-1].last), np.float32
        )
        left: Planes | None = None
        answers = map_in_order(
            partial(self._answer, seen, row), columns, workers=self._workers, ahead=self._workers
        )
        for column, planes in zip(columns, answers, strict=True):
            if left is not None:
                planes[:, :, : left.shape[2]] += left
            own = column.fade - column.first
            left, planes = planes[:, :, own:].copy(), planes[:, :, :own]
            place = slice(column.first, column.fade)
            if above is not None:
                planes[:, : above.shape[1]] += above[:, :, place]
            mask[:, place] = best_class(np.ascontiguousarray(planes[:, :settled]))
            below[:, :, place] = planes[:, settled:]
        return mask, below

    def _answer(self, seen: Image, row: Span, column: Span) -> Planes:
        """Return what one window says of its pixels, by its say, (K, rows, columns) from the first to the last that it has a say in."""
        window = seen[:, column.start : column.stop]
        height, width = window.shape[:2]
        planes = finite_planes(
            np.asarray(self._backend.run(to_batch([window], self._spec)), dtype=np.float32)
        )
        rows, columns = fitted_size(self._spec, height, width=width)
        covered = (
            planes.shape[1] * rows / self._spec.height,
            planes.shape[2] * columns / self._spec.width,
        )
        down = slice(row.first - row.start, row.last - row.start)
        across = slice(column.first - column.start, column.last - column.start)
        say = np.outer(row.weights(), column.weights()).astype(np.float32)
        given = np.empty((len(planes), *say.shape), np.float32)
        for plane, place in zip(planes, given, strict=True):
            cv2.multiply(
                np.ascontiguousarray(
                    upsample_plane(plane, height, width=width, covered=covered)[down, across]
                ),
                say,
                dst=place,
            )
        return given


def _spec_for(spec: InputSpec, height: int, width: int) -> InputSpec:
    """Let a network that takes any size see the windows as they are."""
    if not spec.dynamic:
        return spec
    return replace(
        spec,
        height=-(-height // spec.stride) * spec.stride,
        width=-(-width // spec.stride) * spec.stride,
    )


KINDS = (OVERLAY, MASK, COLOR)
"""What can be kept of a large image."""


def segment_large(
    path: Path,
    targets: Mapping[str, Path],
    *,
    tiler: Tiler,
    drawing: Renderer,
    go_on: Callable[[], bool] = lambda: True,
    on_step: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Segment an image that need not fit into memory; a result is written only once it is whole.

    Args:
        path: The image.
        targets: Name of the result of each of `KINDS` that is kept.
        tiler: What answers it.
        drawing: How it is drawn, without a legend, which every strip would have.
        go_on: Asked after each row of windows; when it says no, nothing is kept.
        on_step: Called after each row of windows with the rows of pixels that are done, and all.

    Raises:
        ConfigError: A result would take the place of the image.
        DataError: The image cannot be read.
        OutputError: A result cannot be written.
        InterruptedRun: `go_on` said no.
    """
    if path.resolve() in {target.resolve() for target in targets.values()}:
        msg = f"a result would take the place of {path}; choose another --output"
        raise ConfigError(msg)
    image = LargeImage(path)
    done = 0
    with ExitStack() as stack:
        add = {
            kind: stack.enter_context(
                image_writer(
                    target, image.height, width=image.width, bands=1 if kind == MASK else 3
                )
            )
            for kind, target in targets.items()
        }
        for strip, answered in tiler.strips(image.height, width=image.width, read=image.read):
            if not go_on():
                msg = (
                    f"interrupted after {done} of {image.height} rows of {path}; nothing of it is"
                    " kept"
                )
                raise InterruptedRun(msg)
            mask = drawing.select(answered)
            if MASK in add:
                add[MASK](mask)
            if COLOR in add:
                add[COLOR](colorize(mask, drawing.classes))
            if OVERLAY in add:
                add[OVERLAY](drawing.draw(strip, mask)[OVERLAY])
            done += len(mask)
            on_step(done, image.height)
