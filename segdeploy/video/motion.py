"""Outputs of the network for some frames of a video, carried to the others by optical flow.

Motion is measured between small gray images of two frames, so every codec, rotation and camera is
alike. The vectors of an H.264 stream were tried and lose more (docs/run.md): they are chosen to
save bits, and do not say which frame they refer to.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from itertools import islice
from threading import Lock
from typing import Self, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image, NetworkOutput
from segdeploy.card import InputSpec
from segdeploy.imaging.preprocess import fitted_size
from segdeploy.system.concurrency import DEPTH, in_batches
from segdeploy.video.frames import Frame

Gray = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Number = TypeVar("Number", np.uint8, np.float32)

MOST_EVERY = 10
"""Largest distance of two frames that the network runs on: beyond it little time is left to save,
and a group of full frames has to fit into memory."""

LONGER_SIDE = 256
"""Pixels of the longer side of a gray image. With 320 or 512, masks were no better."""

SHORTEST_SIDE = 32
"""Pixels of each side of a gray image at least: OpenCV's flow needs windows that fit."""

STILL = 4
"""Gray levels by which no 5x5 mean may differ in a frame that has not changed: noise and
compression stay below."""

UNEXPLAINED = 24
"""Gray levels by which a moved pixel differs where it does not show the same thing."""

MOST_UNEXPLAINED = 0.12
"""Share of such pixels from which the network runs on the frame itself."""

OUTSIDE = 64
"""Gray levels added where a pixel comes from beyond the edge of the other frame."""


def to_gray(image: Image) -> Gray:
    """Return a small gray image of a frame, made of its green, with sides of 32 to 256 pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, LONGER_SIDE / max(height, width))
    size = tuple(max(SHORTEST_SIDE, round(side * scale)) for side in (width, height))
    # Half of the detail is enough for means of areas, and reading all pixels costs ten times more.
    step = max(1, int(0.5 / scale))
    green = np.ascontiguousarray(image[::step, ::step, 1])
    return np.asarray(cv2.resize(green, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def is_unchanged(gray: Gray, other: Gray) -> bool:
    """Return whether nothing moved between two frames."""
    return int(cv2.blur(cv2.absdiff(gray, other), (5, 5)).max()) < STILL


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """Where each pixel of a frame lies in another one.

    Attributes:
        flow: (h, w, 2) float32, the distance in pixels of the gray images, to the right and down.
        residual: (h, w) float32, gray levels by which what lies there differs.
    """

    flow: Floats
    residual: Floats

    @classmethod
    def between(cls, gray: Gray, other: Gray) -> Self:
        """Measure the motion from one frame to another by their gray images of one size.

        Kroeger et al. 2016, Fast Optical Flow using Dense Inverse Search, arXiv 1603.03590.
        """
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        # An array in place of None would be where the search begins.
        found = search.calc(gray, other, None)  # type: ignore[call-overload]
        flow = np.asarray(found, dtype=np.float32)
        height, width = gray.shape
        across, down = _targets(flow)
        difference = cv2.absdiff(_sample(other, across, down), gray)
        residual = cv2.blur(difference, (5, 5)).astype(np.float32)
        residual[(across < 0) | (down < 0) | (across > width - 1) | (down > height - 1)] += OUTSIDE
        return cls(flow=flow, residual=residual)

    def at(self, height: int, width: int, *, covered: tuple[float, float]) -> Self:
        """Return the motion in pixels of an output of the network.

        Args:
            height: Height of the output.
            width: Width of the output.
            covered: Rows and columns of the output that the image covers, from the top left.
        """
        rows, columns = (
            side / part for side, part in zip(self.residual.shape, covered, strict=True)
        )
        across, down = np.meshgrid(
            ((np.arange(width) + 0.5) * columns - 0.5).astype(np.float32),
            ((np.arange(height) + 0.5) * rows - 0.5).astype(np.float32),
        )
        scale = np.array([1 / columns, 1 / rows], np.float32)
        return replace(
            self,
            flow=_sample(self.flow, across, down) * scale,
            residual=_sample(self.residual, across, down),
        )

    def move(self, output: NetworkOutput) -> NetworkOutput:
        """Return the other frame's output moved to this frame; the motion is of the output's size.

        Planes are interpolated, class indices are not.
        """
        across, down = _targets(self.flow)
        if output.ndim == 3:
            labels = np.asarray(output[0], dtype=np.uint8)
            return _sample(labels, across, down, cv2.INTER_NEAREST)[None]
        planes = np.asarray(output[0], dtype=np.float32)
        return np.stack([_sample(plane, across, down) for plane in planes])[None]


def _targets(flow: Floats) -> tuple[Floats, Floats]:
    """Return the column and the row that each pixel's motion leads to."""
    height, width = flow.shape[:2]
    across, down = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    return across + flow[..., 0], down + flow[..., 1]


def _sample(
    array: npt.NDArray[Number], across: Floats, down: Floats, method: int = cv2.INTER_LINEAR
) -> npt.NDArray[Number]:
    """Return what lies at some positions of an array, beyond its edges that of the edge."""
    sampled = cv2.remap(array, across, down, method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, dtype=array.dtype)


def blend(parts: Sequence[tuple[Motion, NetworkOutput]]) -> NetworkOutput:
    """Return the mean of moved outputs, weighted by how well the motion of each explains a pixel.

    Of class indices, the better one is taken.
    """
    if len(parts) == 1:
        return parts[0][1]
    (first, one), (second, other) = parts
    if one.ndim == 3:
        return np.where(first.residual <= second.residual, one, other)
    share = (second.residual + 1) / (first.residual + second.residual + 2)
    return np.asarray(one * share + other * (1 - share), dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Keyframe:
    """A frame that the network runs on.

    Attributes:
        gray: Its gray image.
        output: The network's output, once it is there.
    """

    gray: Gray
    output: "Future[NetworkOutput]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Frames from behind one keyframe up to the next one.

    Attributes:
        frames: The frames; the last one is the keyframe `after`, if there is one.
        grays: Their gray images.
        before: The keyframe before them; None at the beginning.
        after: The keyframe at their end; None for a camera's frame that is not one.
    """

    frames: Sequence[Frame]
    grays: Sequence[Gray]
    before: Keyframe | None
    after: Keyframe | None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def keyframes(self) -> Sequence[Keyframe]:
        """The keyframes before the frames and at their end."""
        return [key for key in (self.before, self.after) if key]


@dataclass(frozen=True, kw_only=True)
class MotionCounts:
    """How the outputs of a video's frames came about.

    Attributes:
        network: Frames that the network ran on.
        carried: Frames that outputs were carried to.
        unchanged: Those of them in which nothing had moved.
        changed: Frames that the network ran on because too little of them was in its keyframes.
    """

    network: int = 0
    carried: int = 0
    unchanged: int = 0
    changed: int = 0

    @property
    def summary(self) -> str:
        """A sentence with the counts."""
        parts = [f"the network ran on {self.network} of {self.network + self.carried} frames"]
        if self.changed:
            parts.append(f"{self.changed} of them because too much had changed")
        if self.unchanged:
            parts.append(f"in {self.unchanged} of the others nothing had moved")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, int]:
        """Return the counts as JSON values."""
        return asdict(self)


Infer = Callable[[Sequence[Frame]], tuple[NetworkOutput, Mapping[str, float]]]
"""Returns the network's outputs of some frames, (N, K, h, w), and the seconds that stages took."""

Known = Sequence[tuple[Gray, NetworkOutput]]
"""Keyframes: their gray images and the network's outputs."""

Carry = Callable[[Frame, Gray, Known], NetworkOutput | None]
"""What `MotionCarrier.carry` does."""


class MotionCarrier:
    """Runs the network on every n-th frame, and carries its outputs to the frames between.

    In a file, a frame gets what explains it better of the keyframes before and after it; from a
    camera, of the one before. A frame that neither explains is given to the network.

    Attributes:
        every: Distance of two keyframes.
        counts: What was done so far.
    """

    def __init__(self, every: int, spec: InputSpec, *, live: bool) -> None:
        """Start without a frame.

        Args:
            every: Distance of two keyframes, 2 to `MOST_EVERY`.
            spec: How an image is fitted into the network's input.
            live: Whether the source does not wait, so that the next keyframe is not waited for.
        """
        self.every = every
        self.counts = MotionCounts()
        self._spec = spec
        self._live = live
        self._lock = Lock()

    @property
    def depth(self) -> int:
        """How many groups may wait between two threads: about as many frames as elsewhere."""
        return max(1, DEPTH // self.every)

    def groups(self, frames: Iterable[Frame]) -> Iterator[Group]:
        """Return the frames in order in groups, each of which knows the keyframe before it."""
        before: Keyframe | None = None
        for number, part in enumerate(self._parts(iter(frames))):
            grays = [to_gray(frame.image) for frame in part]
            is_keyed = not self._live or number % self.every == 0
            after = Keyframe(gray=grays[-1], output=Future()) if is_keyed else None
            yield Group(frames=part, grays=grays, before=before, after=after)
            before = after or before

    def _parts(self, frames: Iterator[Frame]) -> Iterator[list[Frame]]:
        """Return the first frame alone, then those up to each keyframe, or one by one if live."""
        yield from in_batches(islice(frames, 1), 1)
        yield from in_batches(frames, 1 if self._live else self.every)

    def outputs(
        self, groups: Sequence[Group], *, infer: Infer, carry: Carry
    ) -> Iterator[tuple[Frame, NetworkOutput, Mapping[str, float]]]:
        """Return each frame of some groups, in order, with its output and its stages' seconds.

        Groups may be worked on in several threads at once if they are begun in order: one may wait
        for the network's output of an earlier one.

        Args:
            groups: Successive groups.
            infer: Runs the network.
            carry: `carry` of this object, maybe measured.
        """
        keyed = [(group.frames[-1], group.after) for group in groups if group.after]
        seconds: Mapping[str, float] = {}
        if keyed:
            seconds = self._run_keyframes(keyed, infer)
        for group in groups:
            known = [(key.gray, key.output.result()) for key in group.keyframes]
            between = len(group) - bool(group.after)
            for frame, gray in zip(group.frames[:between], group.grays, strict=False):
                output = carry(frame, gray, known)
                yield (frame, *infer([frame])) if output is None else (frame, output, {})
            if group.after:
                yield group.frames[-1], known[-1][1], seconds

    def _run_keyframes(
        self, keyed: Sequence[tuple[Frame, Keyframe]], infer: Infer
    ) -> Mapping[str, float]:
        """Run the network on keyframes at once, and return the seconds that its stages took."""
        try:
            outputs, seconds = infer([frame for frame, _ in keyed])
        except BaseException as error:
            for _, key in keyed:
                key.output.set_exception(error)
            raise
        for number, (_, key) in enumerate(keyed):
            key.output.set_result(outputs[number : number + 1])
        self._count(network=len(keyed))
        return seconds

    def carry(self, frame: Frame, gray: Gray, known: Known) -> NetworkOutput | None:
        """Return the output of a frame from keyframes; None where they do not explain it."""
        for other, output in known:
            if is_unchanged(gray, other):
                self._count(carried=1, unchanged=1)
                return output
        motions = [Motion.between(gray, other) for other, _ in known]
        best = np.minimum.reduce([motion.residual for motion in motions])
        if np.mean(best > UNEXPLAINED) > MOST_UNEXPLAINED:
            self._count(network=1, changed=1)
            return None
        self._count(carried=1)
        size = frame.image.shape[:2]
        moved = [
            self._move(motion, output, size)
            for motion, (_, output) in zip(motions, known, strict=True)
        ]
        return blend(moved)

    def _move(
        self, motion: Motion, output: NetworkOutput, size: tuple[int, int]
    ) -> tuple[Motion, NetworkOutput]:
        """Return the motion at the size of an output, and the output moved by it."""
        height, width = output.shape[-2:]
        fitted = fitted_size(self._spec, size[0], width=size[1])
        covered = height * fitted[0] / self._spec.height, width * fitted[1] / self._spec.width
        sized = motion.at(height, width, covered=covered)
        return sized, sized.move(output)

    def _count(self, **more: int) -> None:
        with self._lock:
            values = asdict(self.counts)
            self.counts = MotionCounts(
                **{name: values[name] + more.get(name, 0) for name in values}
            )
