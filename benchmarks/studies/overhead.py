"""Everything around the network: one image, drawing, memory.

From uint8 pixels in memory to a uint8 mask of the same size, through an ONNX file in float32 and
`Predictor`, and as PyTorch does it
best: the same weights on the same drawn street, by turns, each round in a process of its own.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from msgspec import structs

from segdeploy.arrays import Image, Mask
from segdeploy.backends.loading import load_backend
from segdeploy.cli.main import invoke
from segdeploy.cli.options import ImageSize
from segdeploy.datasets.synthetic.dataset import Streets
from segdeploy.errors import SegdeployError
from segdeploy.imaging.io import read_ids, read_image, write_image
from segdeploy.imaging.overlay import Renderer, Painter
from segdeploy.imaging.postprocess import output_to_mask
from segdeploy.imaging.preprocess import resize, to_batch
from segdeploy.inference.predictor import Predictor
from segdeploy.models.checkpoint import load_checkpoint, save_checkpoint
from segdeploy.system.machine import held_memory, describe_machine
from segdeploy.video.frames import Frame, Outputs
from segdeploy.video.pipeline import VideoJob, segment_all
from segdeploy.video.reader import VideoSource
from segdeploy.video.schedule import Schedule

from ..measure.process import run_in_process
from ..measure.rounds import in_turns
from ..measure.subcommands import Call, call
from ..results.latency import measure

IMAGES = 8
"""How many frames of the video take turns: how long the labels take depends on the image."""

RUNS = 24
FIRST = 200
"""Frames after which growth counts: what grows once has grown by then."""


class Repeated:
    """The same few frames again and again, as a source."""

    losses: tuple[str, ...] = ()

    def __init__(self, images: list[Image], count: int) -> None:
        """Prepare so many frames."""
        self._images = images
        self.frames = count

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in enumerate(islice(cycle(self._images), self.frames)):
            yield Frame(image=picture, index=index, seconds=index / 25)


def frames_of(video: Path) -> list[Image]:
    """Read frames at even distances."""
    with VideoSource(video) as source:
        every = max(1, (source.frames or IMAGES) // IMAGES)
        return [frame.image for frame in islice(source, 0, every * IMAGES, every)]


def drawing(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Time labels and overlay of a frame, from logits in memory, in one thread.

    And the overlay as numpy alone draws it.
    """
    Schedule(threads=1, serial=True).share_cores()
    backend = load_backend(Path(order["artifact"]), device="cpu")
    spec, images = backend.card.input, frames_of(Path(order["video"]))
    answers = [backend.run(to_batch([picture], spec)) for picture in images]
    height, width = images[0].shape[:2]
    masks = [output_to_mask(answer, spec, height=height, width=width) for answer in answers]
    painter = Painter(backend.card.classes)
    palette = np.array([entry.color[::-1] for entry in backend.card.classes], np.float32)

    def naive(picture: Image, mask: Mask) -> Image:
        return (picture * 0.5 + palette[mask] * 0.5).astype(np.uint8)

    acts = {
        "labels": lambda run: output_to_mask(
            answers[run % len(answers)], spec, height=height, width=width
        ),
        "overlay": lambda run: painter.paint(images[run % len(images)], masks[run % len(masks)]),
        "numpy overlay": lambda run: naive(images[run % len(images)], masks[run % len(masks)]),
    }
    return {name: measure(act, runs=RUNS, warm_up=len(images)).median for name, act in acts.items()}


def picture(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Time one image through `Predictor`, as it is and at the network's own size, and the network's own call on it, by turns."""
    backend = load_backend(Path(order["artifact"]), device="cpu")
    predictor, spec = Predictor(backend), backend.card.input
    spans: dict[str, list[float]] = {"whole": [], "fitted": [], "network": []}
    # By turns and image by image, so that a machine that slows down slows all alike.
    for one in frames_of(Path(order["video"])):
        acts = {
            "whole": partial(_call, predictor.mask, one),
            "fitted": partial(_call, predictor.mask, resize(one, spec.height, width=spec.width)),
            "network": partial(_call, backend.run, to_batch([one], spec)),
        }
        for name, act in acts.items():
            spans[name].append(measure(act, runs=3, warm_up=1).median)
    return {name: float(np.median(found)) for name, found in spans.items()}


def _call(
    act: Callable[[npt.NDArray[np.uint8]], object], one: npt.NDArray[np.uint8], _run: int
) -> None:
    act(one)


def memory(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Report by how many megabytes the process grows after its 200th frame, or the first half of a short run."""
    schedule = Schedule()
    schedule.share_cores()
    backend = load_backend(
        Path(order["artifact"]),
        device="cpu",
        threads=schedule.network_threads,
        spinning=False,
        callers=schedule.workers,
    )
    held: list[int] = []

    def watch(_: object) -> None:
        held.append(held_memory() or 0)

    gc.collect()
    outputs = nullcontext(Outputs(writers=(watch,), paths=()))
    source = Repeated(frames_of(Path(order["video"])), order["frames"])
    job = VideoJob(
        source=source,
        backend=backend,
        outputs=outputs,
        drawing=Renderer(backend.card.classes),
        schedule=schedule,
    )
    segment_all(job)
    first = min(FIRST, len(held) // 2)
    return {
        "frames": len(held),
        "first": first,
        "growth": (max(held[first:]) - max(held[:first])) / 1e6,
        "held": max(held) / 1e6,
    }


def ours(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Time an image of the network's size to its mask through an ONNX file, and keep the mask."""
    return timed_mask(order, Predictor(load_backend(Path(order["artifact"]), device="cpu")).mask)


def theirs(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Do the same as PyTorch does it best."""
    # PyTorch takes seconds to import, and memory: only for whom it is needed.
    from ..measure.peer_loops import torch_answer

    answer = torch_answer(Path(order["checkpoint"]))
    return timed_mask(
        order, lambda one: answer(np.ascontiguousarray(one[None, ..., ::-1]), *one.shape[:2])
    )


def timed_mask(order: Mapping[str, Any], to_mask: Callable[[Image], Mask]) -> Mapping[str, float]:
    """Time a way from an image to its mask."""
    one = read_image(Path(order["picture"]))
    write_image(Path(order["mask"]), to_mask(one))
    return {"median": measure(lambda _: to_mask(one), runs=RUNS, warm_up=3).median}


MOMENTS = {"drawing": drawing, "picture": picture, "memory": memory, "onnx": ours, "torch": theirs}


def serve_moment(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Measure the moment that an order names."""
    return MOMENTS[order["moment"]](order)


WAYS = ("torch", "onnx")
"""Names of `moments` that answer one image."""


def prepare(
    checkpoint: Path, folder: Path, size: tuple[int, int], run: Call = call
) -> Mapping[str, str]:
    """Make the same network for a size, as a checkpoint and as an ONNX file, and an image.

    Their paths are the order of a round.
    """
    found = load_checkpoint(checkpoint)
    height, width = size
    sized = replace(
        found,
        card=structs.replace(
            found.card, input=structs.replace(found.card.input, height=height, width=width)
        ),
        state={},
    )
    paths = {
        "checkpoint": folder / "sized.pt",
        "artifact": folder / "sized.onnx",
        "picture": folder / "street.png",
    }
    save_checkpoint(paths["checkpoint"], sized)
    run(["segdeploy.export.unproven", str(paths["checkpoint"]), str(paths["artifact"]), "fp32"])
    write_image(
        paths["picture"], Streets(split="val", count=1, height=height, width=width)[0].image
    )
    return {name: str(path) for name, path in paths.items()}


def compare(order: Mapping[str, str], *, rounds: int) -> tuple[Mapping[str, list[float]], int]:
    """Time both ways by turns, and count the labels in which their masks differ.

    Raises:
        SegdeployError: One of them failed.
    """
    spans: dict[str, list[float]] = {name: [] for name in WAYS}
    for name in in_turns(WAYS, rounds):
        found = run_in_process(
            "studies.overhead:serve_moment",
            {
                **order,
                "moment": name,
                "mask": str(Path(order["artifact"]).with_name(f"{name}.png")),
            },
        )
        if isinstance(found, str):
            raise SegdeployError(found)
        spans[name].append(found["median"])
    theirs, ours = (read_ids(Path(order["artifact"]).with_name(f"{name}.png")) for name in WAYS)
    return spans, int(np.count_nonzero(ours != theirs))


def sentence(spans: Mapping[str, Sequence[float]], differing: int, size: tuple[int, int]) -> str:
    """Say what came out."""
    height, width = size
    ratio = median(
        theirs / ours for theirs, ours in zip(spans["torch"], spans["onnx"], strict=True)
    )
    times = (
        f"PyTorch {median(spans['torch']):.1f} ms, ONNX and Predictor {median(spans['onnx']):.1f}"
        f" ms: {ratio:.2f} times as fast"
    )
    return f"{height}x{width}: {times}; {differing} of {height * width} labels differ"


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--imgsz",
    type=ImageSize(),
    default="512,1024",
    show_default=True,
    help="Height,width of image and network.",
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes of each way.",
)
def main(checkpoint: Path, imgsz: tuple[int, int], rounds: int) -> None:
    """Time CHECKPOINT from an image to its mask."""
    with TemporaryDirectory(prefix="segdeploy-") as folder:
        spans, differing = compare(prepare(checkpoint, Path(folder), imgsz), rounds=rounds)
    click.echo(
        f"{load_checkpoint(checkpoint).card.architecture}, {sentence(spans, differing, imgsz)}"
        f" ({describe_machine().processor})"
    )


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.overhead")
