"""What the numbers mean that a network returns, and how they become logits of all classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segdeploy.card import MAX_CLASSES, LabelClass, Output
from segdeploy.errors import ConfigError, ModelError

from .label_sets import label_classes, numbered_classes, with_background

Kind = Literal["logits", "probabilities", "classes", "sigmoid"]
Raw = npt.NDArray[Any]
"""Output of a network for one image, as it is."""

SUM_TOLERANCE = 0.02
"""How far the probabilities of a pixel may sum up to something else than 1; float16 needs most."""

BACKGROUND = "background"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where rows, columns and channels lie in an output.

    Attributes:
        batch: Whether the first axis is that of the images.
        channels: Axis of the channels behind that one, 0 or 2; None where there is none.
    """

    batch: bool
    channels: Literal[0, 2] | None

    def planes(self, raw: Raw) -> Raw:
        """Return an output for one image as (C, h, w)."""
        output = raw[0] if self.batch else raw
        if self.channels is None:
            return np.asarray(output[None])
        return np.asarray(np.moveaxis(output, self.channels, 0))


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a network returns.

    Attributes:
        kind: "logits"; "probabilities", which sum up to 1; "classes", indices; or "sigmoid", a
            probability for each class by itself.
        layout: Where its channels lie.
        threshold: Where it has no channel of the background: the probability from which on a pixel
            belongs to a class; None where each class has a channel.
    """

    kind: Kind
    layout: Layout
    threshold: float | None = None

    @property
    def output(self) -> Output:
        """What the card of the adopted network says."""
        return "probabilities" if self.kind == "sigmoid" else self.kind

    def scores(self, planes: Raw) -> npt.NDArray[np.float32]:
        """Return the (K, h, w) float32 scores of all classes of the (C, h, w) ones returned."""
        values = planes.astype(np.float32)
        if self.threshold is None:
            return values
        if self.kind == "logits":
            values = values + np.float32(np.log((1 - self.threshold) / self.threshold))
            return np.concatenate([np.zeros_like(values[:1]), values])
        (low, _), (high, offset) = bend(self.threshold)
        merge = np.minimum if low > high else np.maximum
        values = merge(values * np.float32(low), values * np.float32(high) + np.float32(offset))
        return np.concatenate([1 - values.max(0, keepdims=True), values])


def bend(threshold: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the two lines of a map of [0, 1] onto itself that makes a threshold 0.5.

    Returns:
        Slope and offset below the threshold, and above it.
    """
    above = 0.5 / (1 - threshold)
    return (0.5 / threshold, 0.0), (above, 1 - above)


def find_layout(
    shape: Sequence[int], size: tuple[int, int], *, channels: set[int], source: object
) -> Layout:
    """Return the layout of an output, by the shape of the image and the likely numbers of channels.

    Args:
        shape: Shape of the output for one image.
        size: Height and width of the image.
        channels: Likely numbers of channels; empty where nothing is known.
        source: Name of the network, for the message.

    Raises:
        ModelError: It is no image.
    """
    options: list[tuple[Layout, tuple[int, int, int]]] = []
    for batch in (True, False):
        rest = tuple(shape[1:]) if batch else tuple(shape)
        if batch and (not shape or shape[0] != 1):
            continue
        if len(rest) == 2:
            options.append((Layout(batch=batch, channels=None), (1, *rest)))
        if len(rest) == 3:
            options.append((Layout(batch=batch, channels=0), rest))
            options.append((Layout(batch=batch, channels=2), (rest[2], rest[0], rest[1])))
    fitting = [
        (not channels or planes[0] in channels, layout)
        for layout, planes in options
        if planes[0] <= MAX_CLASSES and _has_aspect(planes[1:], size)
    ]
    if not fitting:
        msg = (
            f"{source} returns an output of shape {tuple(shape)} for an image of"
            f" {size[0]}x{size[1]}, and not logits (N, K, h, w) or classes (N, h, w); choose"
            " another with --output-name"
        )
        raise ModelError(msg)
    # The first of equals: with a batch, and channels before rows.
    return max(fitting, key=lambda option: option[0])[1]


def _has_aspect(sides: tuple[int, int], size: tuple[int, int]) -> bool:
    """Return whether an output covers the image: at one stride, or a nearly whole number of it."""
    (rows, columns), (height, width) = sides, size
    if not (0 < rows <= 4 * height and 0 < columns <= 4 * width):
        return False
    # Rounding changes a side by less than two rows or columns.
    return abs(rows * width - columns * height) <= 2 * max(height, width) * max(
        1, rows / height, columns / width
    )


def find_kind(outputs: Sequence[Raw], *, last: str, told: Kind | Literal["auto"]) -> Kind:
    """Return what the numbers of an output mean.

    Args:
        outputs: (C, h, w) of some images.
        last: Last operator of the graph that computes something, such as "Softmax"; "" where it is
            not known.
        told: What the user says; "auto" to look at the numbers.
    """
    if told != "auto":
        return told
    one_channel = all(len(output) == 1 for output in outputs)
    if one_channel and (outputs[0].dtype.kind in "iub" or last in {"ArgMax", "ArgMin"}):
        return "classes"
    lowest, highest = _range(outputs)
    if not (lowest >= 0 and highest <= 1 + SUM_TOLERANCE):
        return "logits"
    if one_channel or last in {"Sigmoid", "HardSigmoid"}:
        return "sigmoid"
    sums = [np.abs(output.astype(np.float32).sum(0) - 1).max() for output in outputs]
    return "probabilities" if max(sums) <= SUM_TOLERANCE else "logits"


def _range(outputs: Sequence[Raw]) -> tuple[float, float]:
    return min(float(one.min()) for one in outputs), max(float(one.max()) for one in outputs)


def name_classes(
    kind: Kind,
    channels: int,
    named: tuple[LabelClass, ...] | None,
    *,
    background: str | None,
    source: object,
) -> tuple[tuple[LabelClass, ...], bool]:
    """Return the classes of a network, and whether the first of them has no channel.

    Args:
        kind: What it returns.
        channels: Number of its channels.
        named: Classes that the user or the file names; None for none.
        background: Name of a background that has no channel; None for none.
        source: Name of the network, for the message.

    Raises:
        ModelError: The names do not fit the channels.
        ConfigError: A name cannot be used.
    """
    if kind == "classes":
        if named is None:
            msg = f"{source} returns classes and does not name them; name them with --classes"
            raise ModelError(msg)
        return named, False
    count = channels if named is None else len(named)
    if channels == 1 and count <= 2:
        if named is not None and count == 2:
            return named, True
        own = named or label_classes(["foreground"])
        return with_background(background or BACKGROUND, own), True
    if background is not None:
        names = [entry.name for entry in named or ()]
        if count == channels + 1 and names[0] == background:
            return named or (), True
        if count == channels and background not in names:
            return with_background(background, named or numbered_classes(channels)), True
    elif count == channels:
        return named or numbered_classes(channels), False
    elif count == channels + 1 and kind == "sigmoid":
        return named or (), True
    also = f" and --background is {background!r}" if background is not None else ""
    msg = (
        f"{source} returns {channels} channels, and --classes names {count}{also}; name one for"
        " each channel, and with --background one that has none"
    )
    raise ModelError(msg)


def check_threshold(threshold: float | None, *, is_background_added: bool) -> float | None:
    """Return the threshold that applies, 0.5 where none is told.

    Raises:
        ConfigError: One is told, and each class has a channel.
    """
    if is_background_added:
        return 0.5 if threshold is None else threshold
    if threshold is not None:
        msg = (
            f"--threshold {threshold} has no effect: each class has a channel, and the best one"
            " wins; leave it out, or name a background that has none with --background"
        )
        raise ConfigError(msg)
    return None
