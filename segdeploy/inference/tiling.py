"""Overlapping tiles whose logits are blended, for images of any size, also larger than memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
from msgspec.structs import replace

from segdeploy.arrays import Image, Mask
from segdeploy.backends.base import Backend
from segdeploy.card import InputSpec
from segdeploy.errors import ConfigError
from segdeploy.imaging.postprocess import Confidence, finite_planes, planes_to_confidence
from segdeploy.imaging.preprocess import fitted_size, to_batch
from segdeploy.imaging.upsample import Floats, Planes, best_class, upsample_plane
from segdeploy.system.concurrency import map_in_order


@dataclass(frozen=True, kw_only=True)
class Span:
    """What one tile covers along one side of an image, in pixels.

    Where two neighbors overlap, their logits are blended.

    Attributes:
        start: First pixel of the tile.
        stop: Pixel behind the last one of the tile.
        begin: First pixel whose mask the tile contributes to.
        alone_from: First pixel behind the blending with the tile before.
        alone_until: First pixel of the blending with the next tile.
        end: Pixel behind the last one whose mask the tile contributes to.
    """

    start: int
    stop: int
    begin: int
    alone_from: int
    alone_until: int
    end: int

    def weights(self) -> Floats:
        """Return the tile's weight of each pixel from `begin` to `end`, in [0, 1].

        At every pixel the weights of all tiles add up to 1.
        """
        blend_in, blend_out = self.alone_from - self.begin, self.end - self.alone_until
        rising = (np.arange(blend_in) + 0.5) / max(1, blend_in)
        falling = (np.arange(blend_out) + 0.5) / max(1, blend_out)
        alone = np.ones(self.alone_until - self.alone_from)
        return np.concatenate([rising, alone, 1 - falling]).astype(np.float32)


def spans(size: int, tile: int, *, overlap: int) -> list[Span]:
    """Return as few evenly spaced tiles as possible along a side.

    Neighbors are blended in the middle of the pixels that they share.

    Args:
        size: Length of the side, in pixels.
        tile: Length of a tile, in pixels; a shorter side has one tile of its own length.
        overlap: Pixels in which two tiles are blended.

    Raises:
        ConfigError: The overlap is more than a third of the tile, so that three tiles could meet.
    """
    if not 0 <= 3 * overlap <= tile:
        msg = (
            f"an overlap of {overlap} pixels is too large for tiles of {tile}; use at most a"
            f" third, {tile // 3}"
        )
        raise ConfigError(msg)
    if size <= tile:
        return [Span(start=0, stop=size, begin=0, alone_from=0, alone_until=size, end=size)]
    count = 1 - (-(size - tile) // (tile - overlap))
    starts = [round(number * (size - tile) / (count - 1)) for number in range(count)]
    seams = [(after + before + tile - overlap) // 2 for before, after in pairwise(starts)]
    return [
        Span(
            start=start,
            stop=start + tile,
            begin=seam,
            alone_from=seam + overlap * (seam > 0),
            alone_until=next_seam,
            end=next_seam + overlap * (next_seam < size),
        )
        for start, seam, next_seam in zip(starts, [0, *seams], [*seams, size], strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Rows of an image that are segmented.

    Attributes:
        image: The rows, (n, W, C).
        mask: Their classes, (n, W) uint8.
        confidence: Their confidence, (n, W) uint8; None where it was not asked for.
    """

    image: Image
    mask: Mask
    confidence: Confidence | None


class Tiler:
    """Segments images of any size tile by tile, from the top to the bottom.

    Only one row of tiles is in memory at a time.

    Attributes:
        spec: How the network takes a tile.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        height: int,
        width: int,
        overlap: int,
        workers: int = 1,
        confidence: bool = False,
    ) -> None:
        """Check the tiles.

        Args:
            backend: Runs the network on each tile.
            height: Height of a tile, in pixels of the image.
            width: Width of a tile, in pixels of the image.
            overlap: Pixels in which neighbors are blended, at most a third of a tile.
            workers: How many tiles are segmented at the same time.
            confidence: Whether the confidence of each pixel is computed.

        Raises:
            ConfigError: The network returns classes, which cannot be blended, or the overlap is too
                large.
        """
        if backend.card.output == "classes":
            msg = (
                "this file returns classes, which cannot be blended where tiles overlap; export it"
                " with --output logits"
            )
            raise ConfigError(msg)
        shorter = min(height, width)
        spans(2 * shorter, shorter, overlap=overlap)
        self._backend = backend
        self.spec = _input_spec(backend.card.input, height, width)
        self._tile = (height, width)
        self._overlap = overlap
        self._workers = workers
        self._confidence = confidence

    def first_rows(self, height: int, finished: int) -> tuple[int, int]:
        """Return where a run goes on after some rows of an image.

        Args:
            height: Height of the image, in pixels.
            finished: Rows that are finished.

        Returns:
            How many of them are kept, those of whole strips; and the first row that must be read.
        """
        kept = first = 0
        for row in spans(height, self._tile[0], overlap=self._overlap):
            if row.alone_until > finished:
                break
            kept, first = row.alone_until, row.start
        return kept, first

    def strips(
        self, height: int, *, width: int, read: Callable[[int], Image], kept: int = 0
    ) -> Iterator[Strip]:
        """Segment an image strip by strip.

        Args:
            height: Height of the image, in pixels.
            width: Width of the image, in pixels.
            read: Returns the given number of further rows, (n, width, C) as the network takes them,
                from the row that `first_rows` says.
            kept: Rows that are finished, as `first_rows` returned them; the strips that follow are
                those of a run that was not interrupted.

        Yields:
            The next rows of the image; together they are the whole image below those kept.

        Raises:
            ModelError: The output of the network holds NaN or infinity.
        """
        columns = spans(width, self._tile[1], overlap=self._overlap)
        rows = np.empty((0, width, len(self.spec.channels)), self.spec.dtype)
        top = self.first_rows(height, kept)[1]
        above: Planes | None = None
        for row in spans(height, self._tile[0], overlap=self._overlap):
            if row.alone_until < kept:
                continue
            more = read(row.stop - top - len(rows))
            rows = np.concatenate([rows[row.start - top :], more])
            top = row.start
            mask, confidence, above = self._segment_row(rows, row, columns, above)
            # The last row of tiles before those that follow is needed for what it shares with them.
            if row.alone_until > kept:
                own = slice(row.begin - top, row.begin - top + len(mask))
                yield Strip(image=rows[own].copy(), mask=mask, confidence=confidence)

    def _segment_row(
        self, rows: Image, row: Span, columns: list[Span], above: Planes | None
    ) -> tuple[Mask, Confidence | None, Planes]:
        """Segment one row of tiles.

        Args:
            rows: The pixels of the row.
            row: Where it lies in the image.
            columns: The tiles of the row.
            above: Weighted logits of the row above where both are blended, (K, n, width).

        Returns:
            The mask and the confidence of the pixels down to where the next row begins to
            contribute, and the weighted logits of those below.
        """
        finished = row.alone_until - row.begin
        mask = np.empty((finished, columns[-1].end), np.uint8)
        confidence = np.empty_like(mask) if self._confidence else None
        below = np.empty(
            (len(self._backend.card.classes), row.end - row.alone_until, columns[-1].end),
            np.float32,
        )
        left: Planes | None = None
        tiles = map_in_order(
            partial(self._weighted_logits, rows, row),
            columns,
            workers=self._workers,
            ahead=self._workers,
        )
        for column, planes in zip(columns, tiles, strict=True):
            if left is not None:
                planes[:, :, : left.shape[2]] += left
            own = column.alone_until - column.begin
            left, planes = planes[:, :, own:].copy(), planes[:, :, :own]
            target = slice(column.begin, column.alone_until)
            if above is not None:
                planes[:, : above.shape[1]] += above[:, :, target]
            blended = np.ascontiguousarray(planes[:, :finished])
            mask[:, target] = best_class(blended)
            if confidence is not None:
                confidence[:, target] = planes_to_confidence(
                    blended, kind=self._backend.card.output
                )
            below[:, :, target] = planes[:, finished:]
        return mask, confidence, below

    def _weighted_logits(self, rows: Image, row: Span, column: Span) -> Planes:
        """Return the logits of one tile at image size, times the tile's weights.

        They are (K, rows, columns), from `begin` to `end` of both spans.
        """
        tile = rows[:, column.start : column.stop]
        height, width = tile.shape[:2]
        output = self._backend.run(to_batch([tile], self.spec))
        planes = finite_planes(np.asarray(output, dtype=np.float32))
        fitted_height, fitted_width = fitted_size(self.spec, height, width=width)
        covered = (
            planes.shape[1] * fitted_height / self.spec.height,
            planes.shape[2] * fitted_width / self.spec.width,
        )
        down = slice(row.begin - row.start, row.end - row.start)
        across = slice(column.begin - column.start, column.end - column.start)
        weights = np.outer(row.weights(), column.weights()).astype(np.float32)
        weighted = np.empty((len(planes), *weights.shape), np.float32)
        for plane, target in zip(planes, weighted, strict=True):
            upsampled = upsample_plane(plane, height, width=width, covered=covered)
            cv2.multiply(np.ascontiguousarray(upsampled[down, across]), weights, dst=target)
        return weighted


def _input_spec(spec: InputSpec, height: int, width: int) -> InputSpec:
    """Return the input of a dynamic network for tiles of this size, rounded up to its stride."""
    if not spec.dynamic:
        return spec
    return replace(
        spec,
        height=-(-height // spec.stride) * spec.stride,
        width=-(-width // spec.stride) * spec.stride,
    )
