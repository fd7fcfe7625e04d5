"""Everything around the network: the mask and the overlay of a frame, one image, memory.

`python -m segdeploy.benchmarks.studies.overhead best.pt`.

As a command it times one image, from uint8 pixels in memory to a uint8 mask of the same size,
through an ONNX file in float32 and `Predictor`, and in eager PyTorch: the same weights on the same
drawn street, in turn, each round in a process of its own. `video_loops` runs the other
measurements.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from msgspec import structs

from segdeploy.arrays import Image, Mask
from segdeploy.backends.loading import load_backend, read_card
from segdeploy.cli.console import echo
from segdeploy.cli.main import invoke
from segdeploy.cli.options import ImageSize
from segdeploy.datasets.synthetic.dataset import Streets
from segdeploy.errors import SegdeployError
from segdeploy.imaging.io import read_ids, read_image, write_image
from segdeploy.imaging.overlay import Painter, Renderer
from segdeploy.imaging.postprocess import output_to_mask
from segdeploy.imaging.preprocess import resize, to_batch
from segdeploy.inference.predictor import Predictor
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import current_memory, describe_machine
from segdeploy.video.frames import Frame, Outputs
from segdeploy.video.pipeline import VideoJob, segment_all
from segdeploy.video.reader import VideoSource
from segdeploy.video.run_options import Schedule

from ..measure.process import Request, run_in_process
from ..measure.rounds import in_turns
from ..measure.subcommands import Call, call
from ..results.latency import measure

IMAGES = 8
"""Number of frames of the video that take turns: the time for the mask depends on the image."""

RUNS = 24
"""Timed runs in each process."""

SETTLED = 200
"""Number of frames after which memory should no longer grow."""

Values = Mapping[str, float]
"""What was measured, by name."""


class RepeatedFrames:
    """A source that repeats a few frames."""

    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(self, images: list[Image], count: int) -> None:
        """Prepare a number of frames."""
        self._images = images
        self.frames = count

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(islice(cycle(self._images), self.frames)):
            yield Frame(image=image, index=index, seconds=index / 25)


def read_frames(video: Path) -> list[Image]:
    """Read evenly spaced frames of a video."""
    with VideoSource(video) as source:
        step = max(1, (source.frames or IMAGES) // IMAGES)
        return [frame.image for frame in islice(source, 0, step * IMAGES, step)]


def measure_drawing(request: Request) -> Values:
    """Time the mask and the overlay of a frame, from the network's output, in one thread.

    The overlay is also timed as plain numpy draws it.
    """
    Schedule(threads=1, serial=True).share_cores()
    backend = load_backend(Path(request["artifact"]), device="cpu")
    spec, images = backend.card.input, read_frames(Path(request["video"]))
    outputs = [backend.run(to_batch([image], spec)) for image in images]
    height, width = images[0].shape[:2]
    masks = [output_to_mask(output, spec, height=height, width=width) for output in outputs]
    painter = Painter(backend.card.classes)
    palette = np.array([entry.color[::-1] for entry in backend.card.classes], np.float32)

    def numpy_overlay(image: Image, mask: Mask) -> Image:
        return (image * 0.5 + palette[mask] * 0.5).astype(np.uint8)

    functions: dict[str, Callable[[int], object]] = {
        "labels": lambda run: output_to_mask(
            outputs[run % len(outputs)], spec, height=height, width=width
        ),
        "overlay": lambda run: painter.paint(images[run % len(images)], masks[run % len(masks)]),
        "numpy overlay": lambda run: numpy_overlay(
            images[run % len(images)], masks[run % len(masks)]
        ),
    }
    return {
        name: measure(function, runs=RUNS, warm_up=len(images)).median
        for name, function in functions.items()
    }


def measure_image(request: Request) -> Values:
    """Time one image: `Predictor` at its own and at the network's size, and the network alone.

    They take turns image by image, so that a machine that slows down slows all alike.
    """
    backend = load_backend(Path(request["artifact"]), device="cpu")
    predictor, spec = Predictor(backend), backend.card.input
    times: dict[str, list[float]] = {"whole": [], "fitted": [], "network": []}
    for image in read_frames(Path(request["video"])):
        functions: dict[str, Callable[[], object]] = {
            "whole": partial(predictor.mask, image),
            "fitted": partial(predictor.mask, resize(image, spec.height, width=spec.width)),
            "network": partial(backend.run, to_batch([image], spec)),
        }
        for name, function in functions.items():
            times[name].append(_median(function))
    return {name: float(np.median(found)) for name, found in times.items()}


def _median(function: Callable[[], object]) -> float:
    return measure(lambda _: function(), runs=3, warm_up=1).median


def measure_memory(request: Request) -> Values:
    """Return the growth of the process in MB after its 200th frame, or half of a shorter run."""
    schedule = Schedule()
    schedule.share_cores()
    backend = load_backend(
        Path(request["artifact"]),
        device="cpu",
        threads=schedule.network_threads,
        spinning=False,
        callers=schedule.workers,
    )
    held: list[int] = []

    def record(_: object) -> None:
        held.append(current_memory() or 0)

    gc.collect()
    job = VideoJob(
        source=RepeatedFrames(read_frames(Path(request["video"])), request["frames"]),
        backend=backend,
        outputs=nullcontext(Outputs(writers=(record,), paths=())),
        renderer=Renderer(backend.card.classes),
        schedule=schedule,
    )
    segment_all(job)
    first = min(SETTLED, len(held) // 2)
    return {
        "frames": len(held),
        "first": first,
        "growth": (max(held[first:]) - max(held[:first])) / 1e6,
        "held": max(held) / 1e6,
    }


def measure_onnx(request: Request) -> Values:
    """Time an image of the network's size to its mask, through an ONNX file and `Predictor`."""
    predictor = Predictor(load_backend(Path(request["artifact"]), device="cpu"))
    return time_mask(request, predictor.mask)


def measure_torch(request: Request) -> Values:
    """Time the same in eager PyTorch."""
    # It imports PyTorch, whose memory must not count for the other measurements.
    from ..measure.peer_loops import torch_eager

    segment = torch_eager(Path(request["checkpoint"]))
    return time_mask(
        request,
        lambda image: segment(np.ascontiguousarray(image[None, ..., ::-1]), *image.shape[:2]),
    )


def time_mask(request: Request, to_mask: Callable[[Image], Mask]) -> Values:
    """Time a function from an image to its mask, and write the mask."""
    image = read_image(Path(request["image"]))
    write_image(Path(request["mask"]), to_mask(image))
    return {"median": measure(lambda _: to_mask(image), runs=RUNS, warm_up=3).median}


IMPLEMENTATIONS = {"torch": measure_torch, "onnx": measure_onnx}

MEASUREMENTS = {
    "drawing": measure_drawing,
    "image": measure_image,
    "memory": measure_memory,
    **IMPLEMENTATIONS,
}


def respond(request: Request) -> Values:
    """Run the measurement that a request names; called by `run_in_process`."""
    return MEASUREMENTS[request["measurement"]](request)


def run_measurement(name: str, request: Request) -> Mapping[str, Any]:
    """Run a measurement in a fresh process.

    Args:
        name: A key of `MEASUREMENTS`.
        request: What the measurement needs.

    Raises:
        SegdeployError: It failed.
    """
    response = run_in_process("studies.overhead:respond", {**request, "measurement": name})
    if isinstance(response, str):
        raise SegdeployError(response)
    return response


def prepare(
    checkpoint: Path, folder: Path, size: tuple[int, int], run: Call = call
) -> Mapping[str, str]:
    """Write the same network for a size as a checkpoint and as an ONNX file, and an image.

    Returns:
        The request of a round: their paths.
    """
    # It imports PyTorch, whose memory must not count for the measurements.
    from segdeploy.models.checkpoint import load_checkpoint, save_checkpoint

    loaded = load_checkpoint(checkpoint)
    height, width = size
    spec = structs.replace(loaded.card.input, height=height, width=width)
    sized = replace(loaded, card=structs.replace(loaded.card, input=spec), state={})
    paths = {
        "checkpoint": folder / "sized.pt",
        "artifact": folder / "sized.onnx",
        "image": folder / "street.png",
    }
    save_checkpoint(paths["checkpoint"], sized)
    run(["segdeploy.export.unproven", str(paths["checkpoint"]), str(paths["artifact"]), "fp32"])
    street = Streets(split="val", count=1, height=height, width=width)[0].image
    write_image(paths["image"], street)
    return {name: str(path) for name, path in paths.items()}


def compare(request: Mapping[str, str], *, rounds: int) -> tuple[Mapping[str, list[float]], int]:
    """Time both implementations in turn.

    Returns:
        Their medians in milliseconds, one a round, and the number of labels that differ.

    Raises:
        SegdeployError: One of them failed.
    """
    masks = {name: Path(request["artifact"]).with_name(f"{name}.png") for name in IMPLEMENTATIONS}
    times: dict[str, list[float]] = {name: [] for name in IMPLEMENTATIONS}
    for name in in_turns(list(IMPLEMENTATIONS), rounds):
        values = run_measurement(name, {**request, "mask": str(masks[name])})
        times[name].append(values["median"])
    torch_mask, onnx_mask = (read_ids(masks[name]) for name in ("torch", "onnx"))
    return times, int(np.count_nonzero(onnx_mask != torch_mask))


def sentence(times: Mapping[str, Sequence[float]], differing: int, size: tuple[int, int]) -> str:
    """Return the result of `compare` as a sentence."""
    height, width = size
    ratio = median(torch / onnx for torch, onnx in zip(times["torch"], times["onnx"], strict=True))
    return (
        f"{height}x{width}: PyTorch {median(times['torch']):.1f} ms, ONNX and Predictor"
        f" {median(times['onnx']):.1f} ms: {ratio:.2f} times as fast; {differing} of"
        f" {height * width} labels differ"
    )


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
    help="Processes of each implementation.",
)
def main(checkpoint: Path, imgsz: tuple[int, int], rounds: int) -> None:
    """Time CHECKPOINT from an image to its mask."""
    with temporary_folder() as folder:
        times, differing = compare(prepare(checkpoint, folder, imgsz), rounds=rounds)
    architecture = read_card(checkpoint).architecture
    result = sentence(times, differing, imgsz)
    echo(f"{architecture}, {result} ({describe_machine().processor})")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.overhead")
