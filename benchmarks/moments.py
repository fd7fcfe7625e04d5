"""Short figures of the way around the network, in a process of their own: drawing, one picture, and memory over many frames.

Run as `python -m segdeploy.benchmarks.moments ORDER RESULT`.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdeploy.backends.loading import load_backend
from segdeploy.machine import held_memory
from segdeploy.overlay import Painter
from segdeploy.pictures import Picture, read_picture, write_picture
from segdeploy.pixels import answer_mask, resize, to_batch
from segdeploy.predictor import Predictor
from segdeploy.scores import Mask
from segdeploy.video.drawing import Drawing
from segdeploy.video.frames import Frame
from segdeploy.video.pace import Pace
from segdeploy.video.saving import Outputs
from segdeploy.video.segment import segment_all
from segdeploy.video.sources import VideoSource

from .latency import measure
from .process import serve

PICTURES = 8
"""How many frames of the video take turns: how long the labels take depends on the picture."""

RUNS = 24
FIRST = 200
"""Frames after which growth counts: what grows once has grown by then."""


class Repeated:
    """The same few frames again and again, as a source."""

    losses: tuple[str, ...] = ()

    def __init__(self, pictures: list[Picture], count: int) -> None:
        """Prepare so many frames."""
        self._pictures = pictures
        self.frames = count

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in enumerate(islice(cycle(self._pictures), self.frames)):
            yield Frame(image=picture, index=index, seconds=index / 25)


def frames_of(video: Path) -> list[Picture]:
    """Read frames at even distances."""
    with VideoSource(video) as source:
        every = max(1, (source.frames or PICTURES) // PICTURES)
        return [frame.image for frame in islice(source, 0, every * PICTURES, every)]


def drawing(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Time labels and overlay of a frame, from logits in memory, in one thread; and the overlay as numpy alone draws it."""
    Pace(threads=1, serial=True).share_cores()
    backend = load_backend(Path(order["artifact"]), device="cpu")
    spec, pictures = backend.card.input, frames_of(Path(order["video"]))
    answers = [backend.run(to_batch([picture], spec)) for picture in pictures]
    height, width = pictures[0].shape[:2]
    masks = [answer_mask(answer, spec, height=height, width=width) for answer in answers]
    painter = Painter(backend.card.classes)
    palette = np.array([entry.color[::-1] for entry in backend.card.classes], np.float32)

    def naive(picture: Picture, mask: Mask) -> Picture:
        return (picture * 0.5 + palette[mask] * 0.5).astype(np.uint8)

    acts = {
        "labels": lambda run: answer_mask(answers[run % len(answers)], spec, height=height, width=width),
        "overlay": lambda run: painter.paint(pictures[run % len(pictures)], masks[run % len(masks)]),
        "numpy overlay": lambda run: naive(pictures[run % len(pictures)], masks[run % len(masks)]),
    }
    return {name: measure(act, runs=RUNS, warm_up=len(pictures)).median for name, act in acts.items()}


def picture(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Time one picture through `Predictor`, as it is and at the network's own size, and the network's own call on it, by turns."""
    backend = load_backend(Path(order["artifact"]), device="cpu")
    predictor, spec = Predictor(backend), backend.card.input
    spans: dict[str, list[float]] = {"whole": [], "fitted": [], "network": []}
    # By turns and picture by picture, so that a machine that slows down slows all alike.
    for one in frames_of(Path(order["video"])):
        acts = {
            "whole": partial(_call, predictor.mask, one),
            "fitted": partial(_call, predictor.mask, resize(one, spec.height, width=spec.width)),
            "network": partial(_call, backend.run, to_batch([one], spec)),
        }
        for name, act in acts.items():
            spans[name].append(measure(act, runs=3, warm_up=1).median)
    return {name: float(np.median(found)) for name, found in spans.items()}


def _call(act: Callable[[npt.NDArray[np.uint8]], object], one: npt.NDArray[np.uint8], _run: int) -> None:
    act(one)


def memory(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Tell by how many megabytes the process grows after its 200th frame, or the first half of a short run."""
    pace = Pace()
    pace.share_cores()
    backend = load_backend(Path(order["artifact"]), device="cpu", threads=pace.network_threads, spinning=False, callers=pace.workers)
    held: list[int] = []

    def watch(_: object) -> None:
        held.append(held_memory() or 0)

    gc.collect()
    outputs = nullcontext(Outputs(writers=(watch,), paths=()))
    source = Repeated(frames_of(Path(order["video"])), order["frames"])
    segment_all(source, outputs, backend=backend, drawing=Drawing(backend.card.classes), workers=pace.workers)
    first = min(FIRST, len(held) // 2)
    return {"frames": len(held), "first": first, "growth": (max(held[first:]) - max(held[:first])) / 1e6, "held": max(held) / 1e6}


def ours(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Time a picture of the network's size to its mask through an ONNX file, and keep the mask."""
    return timed_mask(order, Predictor(load_backend(Path(order["artifact"]), device="cpu")).mask)


def theirs(order: Mapping[str, Any]) -> Mapping[str, float]:
    """Do the same as PyTorch does it best."""
    # PyTorch takes seconds to import, and memory: only for whom it is needed.
    from .peers import torch_answer

    answer = torch_answer(Path(order["checkpoint"]))
    return timed_mask(order, lambda one: answer(np.ascontiguousarray(one[None, ..., ::-1]), *one.shape[:2]))


def timed_mask(order: Mapping[str, Any], to_mask: Callable[[Picture], Mask]) -> Mapping[str, float]:
    """Time a way from a picture to its mask."""
    one = read_picture(Path(order["picture"]))
    write_picture(Path(order["mask"]), to_mask(one))
    return {"median": measure(lambda _: to_mask(one), runs=RUNS, warm_up=3).median}


MOMENTS = {"drawing": drawing, "picture": picture, "memory": memory, "onnx": ours, "torch": theirs}

if __name__ == "__main__":
    serve(lambda order: MOMENTS[order["moment"]](order), sys.argv[1:])
