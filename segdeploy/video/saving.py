"""What is kept of segmented frames, and where."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from segdeploy.errors import ConfigError
from segdeploy.machine import cores
from segdeploy.pictures import write_picture
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Film, Segmented
from segdeploy.video.sinks import VideoSink

MASK = "mask"
OVERLAY = "overlay"
KINDS = (MASK, OVERLAY)
"""What can be kept: the index of each pixel's class, as grey PNG, and the colors laid over the picture."""

Write = Callable[[Segmented], None]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where results go.

    Attributes:
        writers: What is called with each result; each raises OutputError where it cannot write.
        paths: The files and folders that are written.
    """

    writers: tuple[Write, ...]
    paths: tuple[Path, ...]

    def write(self, result: Segmented) -> None:
        """Write all that is kept of one result."""
        for write in self.writers:
            write(result)


@contextmanager
def video_outputs(source: Film, folder: Path, *, kinds: Collection[str], encoding: Encoding) -> Iterator[Outputs]:
    """Keep the overlay as `STEM-overlay.mp4` with the source's sound, and the masks as `STEM-mask/000000.png` and so on.

    Args:
        source: The film that is segmented.
        folder: Where the results go.
        kinds: Which of `KINDS` are kept.
        encoding: How the video is compressed.
    """
    overlay, masks = folder / f"{source.name}-overlay.mp4", folder / f"{source.name}-mask"
    writers: dict[Path, Write] = {}
    with ExitStack() as stack:
        if OVERLAY in kinds:
            sink = VideoSink(
                overlay,
                width=source.width,
                height=source.height,
                rate=source.rate,
                aspect=source.aspect,
                sound=source.sound,
                start=source.selection.start,
                end=source.selection.end,
                encoding=encoding,
                threads=cores(),
            )
            writers[overlay] = overlay_to_video(stack.enter_context(sink))
        if MASK in kinds:
            writers[masks] = mask_to_file(lambda index: masks / f"{index:06d}.png")
        yield Outputs(writers=tuple(writers.values()), paths=tuple(writers))


@contextmanager
def picture_outputs(paths: Sequence[Path], folder: Path, *, kinds: Collection[str]) -> Iterator[Outputs]:
    """Keep the overlays as `overlay/STEM.jpg` and the masks as `mask/STEM.png`; nothing is open in between.

    Args:
        paths: The pictures that are segmented, by their frames' index.
        folder: Where the results go.
        kinds: Which of `KINDS` are kept.

    Raises:
        ConfigError: A result would take the place of one of the pictures.
    """
    names = unique_names(paths)
    targets = {MASK: [folder / MASK / f"{name}.png" for name in names], OVERLAY: [folder / OVERLAY / f"{name}.jpg" for name in names]}
    given = {path.resolve() for path in paths}
    for target in (target for kind in kinds for target in targets[kind]):
        if target.resolve() in given:
            msg = f"the result {target} would take the place of a picture; choose another --output"
            raise ConfigError(msg)
    writers = {MASK: mask_to_file(targets[MASK].__getitem__), OVERLAY: overlay_to_file(targets[OVERLAY].__getitem__)}
    yield Outputs(writers=tuple(writers[kind] for kind in kinds), paths=tuple(folder / kind for kind in kinds))


def mask_to_file(name: Callable[[int], Path]) -> Write:
    """Give a function that writes a result's mask to the file that `name` gives for the frame's index."""

    def write(result: Segmented) -> None:
        write_picture(name(result.frame.index), result.mask)

    return write


def overlay_to_file(name: Callable[[int], Path]) -> Write:
    """Give a function that writes a result's overlay to the file that `name` gives for the frame's index."""

    def write(result: Segmented) -> None:
        assert result.overlay is not None
        write_picture(name(result.frame.index), result.overlay)

    return write


def overlay_to_video(sink: VideoSink) -> Write:
    """Give a function that writes a result's overlay into a video."""

    def write(result: Segmented) -> None:
        assert result.overlay is not None
        sink.write(result.overlay, seconds=result.frame.seconds)

    return write


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Name the results of pictures by their stems; where two are alike, the later one gets -2, -3 ... behind it.

    Capital letters make no difference, since the file names of some systems know none.
    """
    stems = {path.stem.casefold() for path in paths}
    names: list[str] = []
    used: set[str] = set()
    for path in paths:
        name, number = path.stem, 1
        while name.casefold() in used or (number > 1 and name.casefold() in stems):
            number += 1
            name = f"{path.stem}-{number}"
        used.add(name.casefold())
        names.append(name)
    return names
