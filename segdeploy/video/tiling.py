"""From a large picture to large results, by rows."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from segdeploy.errors import ConfigError, InterruptedRun
from segdeploy.large_pictures import LargePicture, growing_picture
from segdeploy.overlay import colorize
from segdeploy.tiles import Tiler
from segdeploy.video.drawing import COLOR, MASK, OVERLAY, Drawing

KINDS = (OVERLAY, MASK, COLOR)
"""What can be kept of a large picture."""


def segment_large(
    path: Path,
    targets: Mapping[str, Path],
    *,
    tiler: Tiler,
    drawing: Drawing,
    go_on: Callable[[], bool] = lambda: True,
    on_step: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Segment a picture that need not fit into memory; a result is written only once it is whole.

    Args:
        path: The picture.
        targets: Name of the result of each of `KINDS` that is kept.
        tiler: What answers it.
        drawing: How it is drawn, without a legend, which every strip would have.
        go_on: Asked after each row of windows; when it says no, nothing is kept.
        on_step: Called after each row of windows with the rows of pixels that are done, and all.

    Raises:
        ConfigError: A result would take the place of the picture.
        DataError: The picture cannot be read.
        OutputError: A result cannot be written.
        InterruptedRun: `go_on` said no.
    """
    if path.resolve() in {target.resolve() for target in targets.values()}:
        msg = f"a result would take the place of {path}; choose another --output"
        raise ConfigError(msg)
    picture = LargePicture(path)
    done = 0
    with ExitStack() as stack:
        add = {
            kind: stack.enter_context(growing_picture(target, picture.height, width=picture.width, bands=1 if kind == MASK else 3))
            for kind, target in targets.items()
        }
        for strip, answered in tiler.strips(picture.height, width=picture.width, read=picture.read):
            if not go_on():
                msg = f"interrupted after {done} of {picture.height} rows of {path}; nothing of it is kept"
                raise InterruptedRun(msg)
            mask = drawing.select(answered)
            if MASK in add:
                add[MASK](mask)
            if COLOR in add:
                add[COLOR](colorize(mask, drawing.classes))
            if OVERLAY in add:
                add[OVERLAY](drawing.draw(strip, mask)[OVERLAY])
            done += len(mask)
            on_step(done, picture.height)
