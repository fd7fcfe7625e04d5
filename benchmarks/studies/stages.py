"""Processor time of a frame, stage by stage, in one thread.

`python -m segdeploy.benchmarks.studies.stages best.onnx --preset superfast`.

Every stage passes over all frames by itself, in turn with the others, and the least time of the
rounds counts: on a machine with other load, processor time holds where wall time does not. Frames
lie in memory between the stages, as they do in `segdeploy run`. The sum bounds the fps that so many
cores can reach.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from time import process_time

import av
import click
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import load_backend
from segdeploy.cli.console import echo
from segdeploy.cli.main import invoke
from segdeploy.imaging.overlay import Painter
from segdeploy.imaging.postprocess import output_to_mask
from segdeploy.imaging.preprocess import to_batch
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import cores, describe_machine
from segdeploy.video.codecs import Encoding
from segdeploy.video.color import to_bt709
from segdeploy.video.reader import VideoSource
from segdeploy.video.synthetic_clip import render_clip
from segdeploy.video.writer import VideoSink

from ..measure.rounds import in_turns

HEIGHT, WIDTH, RATE = 1080, 1920, Fraction(25)
"""Size in pixels and rate of the drawn clip."""

CONVERT, ENCODE = "convert to 4:2:0", "encode"

Stages = Mapping[str, Callable[[], object]]
"""What passes over all frames once, by the name of the stage."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What the stages hand on, for each frame.

    Attributes:
        images: Decoded images.
        batches: What the network is given, one image each.
        outputs: What it returns.
        masks: Labels of the image's size.
        overlays: The drawn images.
    """

    images: Sequence[Image]
    batches: Sequence[np.ndarray]
    outputs: Sequence[NetworkOutput]
    masks: Sequence[Mask]
    overlays: Sequence[Image]


def read(video: Path, count: int) -> list[Image]:
    """Decode the first frames of a video."""
    with VideoSource(video) as source:
        return [frame.image for frame in islice(source, count)]


def decode(video: Path, count: int) -> None:
    """Decode the first frames of a video, one after the other."""
    with VideoSource(video) as source:
        for _ in islice(source, count):
            pass


def convert(overlays: Sequence[Image]) -> None:
    """Convert images to what an encoder takes."""
    reformatter = VideoReformatter()
    for image in overlays:
        whole = np.ascontiguousarray(image, dtype=np.uint8)
        to_bt709(av.VideoFrame.from_numpy_buffer(whole, format="bgr24"), reformatter)


def encode(overlays: Sequence[Image], path: Path, encoding: Encoding) -> None:
    """Convert and encode images into a video."""
    height, width = overlays[0].shape[:2]
    with VideoSink(
        path, width=width, height=height, rate=RATE, encoding=encoding, threads=1
    ) as sink:
        for index, image in enumerate(overlays):
            sink.write(image, seconds=float(index / RATE))


def run_once(backend: Backend, video: Path, count: int) -> tuple[Frames, Painter]:
    """Return what every stage makes of the first frames of a video, and what draws them."""
    spec, painter = backend.card.input, Painter(backend.card.classes)
    images = read(video, count)
    height, width = images[0].shape[:2]
    batches = [to_batch([image], spec) for image in images]
    outputs = [backend.run(batch) for batch in batches]
    masks = [output_to_mask(output, spec, height=height, width=width) for output in outputs]
    overlays = [painter.paint(image, mask) for image, mask in zip(images, masks, strict=True)]
    frames = Frames(images=images, batches=batches, outputs=outputs, masks=masks, overlays=overlays)
    return frames, painter


def for_each(function: Callable[..., object], *values: Sequence[object]) -> None:
    """Call a function with the values of each frame, and drop what it returns."""
    for of_frame in zip(*values, strict=True):
        function(*of_frame)


def stages_of(
    backend: Backend, video: Path, *, count: int, folder: Path, encodings: Mapping[str, Encoding]
) -> Stages:
    """Return the stages of a video; encoding is one for each of the encodings."""
    frames, painter = run_once(backend, video, count)
    spec = backend.card.input
    height, width = frames.images[0].shape[:2]

    return {
        "decode": partial(decode, video, count),
        "prepare": partial(for_each, lambda image: to_batch([image], spec), frames.images),
        "network": partial(for_each, backend.run, frames.batches),
        "labels": partial(
            for_each,
            partial(output_to_mask, spec=spec, height=height, width=width),
            frames.outputs,
        ),
        "draw": partial(for_each, painter.paint, frames.images, frames.masks),
        CONVERT: partial(convert, frames.overlays),
        **{
            f"{ENCODE}, {name}": partial(
                encode, frames.overlays, folder / f"{number}.mp4", encoding
            )
            for number, (name, encoding) in enumerate(encodings.items())
        },
    }


def time_stages(
    stages: Stages, *, frames: int, rounds: int, clock: Callable[[], float] = process_time
) -> dict[str, float]:
    """Return the milliseconds of processor time that each stage takes for a frame.

    Encoding is timed with the conversion before it, which is subtracted.

    Args:
        stages: What passes over all frames.
        frames: Number of frames.
        rounds: Passes of each stage, in turn with the others; the fastest counts.
        clock: Returns the processor time of the process in seconds.
    """
    least = dict.fromkeys(stages, float("inf"))
    for name in in_turns(list(stages), rounds):
        start = clock()
        stages[name]()
        least[name] = min(least[name], (clock() - start) / frames * 1000)
    return {
        name: time - least[CONVERT] if name.startswith(ENCODE) else time
        for name, time in least.items()
    }


def to_table(times: Mapping[str, float], *, count: int) -> str:
    """Return the times as a table of Markdown, with the sum for each way to encode.

    Args:
        times: Milliseconds a frame of each stage.
        count: Number of cores.
    """
    common = {name: time for name, time in times.items() if not name.startswith(ENCODE)}
    lines = ["| stage | ms of processor time a frame |", "|---|---:|"]
    lines += [f"| {name} | {time:.1f} |" for name, time in times.items()]
    for name in (name for name in times if name not in common):
        total = sum(common.values()) + times[name]
        fps = 1000 * count / total
        lines.append(f"| all, {name} | {total:.1f}: at most {fps:.1f} fps on {count} cores |")
    return "\n".join(lines)


@click.command()
@click.argument("artifact", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--video",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A clip.  [default: a street is drawn]",
)
@click.option("--preset", "presets", multiple=True, help="Also encode by this; may be repeated.")
@click.option(
    "--frames", default=48, show_default=True, type=click.IntRange(min=1), help="Of the clip."
)
@click.option(
    "--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Of each stage."
)
def main(
    artifact: Path, *, video: Path | None, presets: Sequence[str], frames: int, rounds: int
) -> None:
    """Print what each stage of a video costs with ARTIFACT."""
    cv2.setNumThreads(1)
    encodings = {"default": Encoding(), **{name: Encoding(preset=name) for name in presets}}
    backend = load_backend(artifact, device="cpu", threads=1, spinning=False)
    with temporary_folder() as folder:
        if video is None:
            video = folder / "street.mp4"
            render_clip(
                video,
                seed=3,
                frames=frames,
                height=HEIGHT,
                width=WIDTH,
                rate=RATE,
                overlay=None,
                on_step=lambda _: None,
            )
        stages = stages_of(backend, video, count=frames, folder=folder, encodings=encodings)
        times = time_stages(stages, frames=frames, rounds=rounds)
    echo(f"{describe_machine().processor}, {frames} frames\n\n{to_table(times, count=cores())}")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.stages")
