"""The interface of every runtime, the options it is loaded with, and wrappers around it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from msgspec.structs import replace

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.card import CARD_KEY, MAX_SIDE, InputSpec, ModelCard
from segdeploy.errors import CardError, ConfigError, ModelError
from segdeploy.system.budget import file_budget
from segdeploy.system.files import PART
from segdeploy.system.machine import MAX_THREADS

INPUT = "image"
"""Name of the input tensor of every exported file."""

CONFIDENCE = "confidence"
"""Name of the second output of an exported file that returns classes and their confidence."""


CHANNELS = 512
"""How many float32 channels of its input's size a network may hold at the same time."""

COPIES = 4
"""How many times a runtime may hold the weights: as they were read, and arranged for kernels."""


class Backend(Protocol):
    """A loaded network: a batch of images in, logits out."""

    @property
    def card(self) -> ModelCard:
        """Return the card that the artifact carries."""
        ...

    @property
    def device(self) -> str:
        """Return the runtime and device in use, such as "onnxruntime CPUExecutionProvider"."""
        ...

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output of the network for a batch of images.

        As many threads may call this at the same time as the backend was loaded for
        (`RuntimeOptions.callers`).

        Args:
            batch: (N, H, W, C) of the network's input size, channels and type; usually RGB, uint8.

        Returns:
            What `card.output` names: logits or probabilities, (N, K, h, w) float32, or classes,
            (N, H, W) uint8.

        Raises:
            ConfigError: The batch has another dtype, or a shape that the card does not allow.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """How a runtime executes a network.

    A runtime ignores an option that it has no use for: only ONNX Runtime's threads spin, and only
    OpenVINO reserves resources for each caller.

    Attributes:
        device: "auto", "cpu", "cuda", "cuda:n", or another name that the runtime knows.
        threads: Threads of one operator; all cores that the process may use where None. PyTorch
            sets them for the whole process.
        spinning: Whether idle threads keep their core busy: faster alone, slower as soon as other
            work needs the cores.
        callers: How many threads will call `Backend.run` at the same time, each with `threads` of
            its own.
        trust: Whether the file is loaded as it is: it may then take any memory and time, and
            TorchScript and .pt2 files may hold any operator, also one that reads and writes files.
            Others are checked first.
        probe: Whether a file of a runtime that crashes on damaged ones runs once in a process of
            its own first; needless for a file that this program just wrote.
        cache: Whether what a runtime prepares of a file is kept in the user's cache, so that it
            starts faster the next time.
    """

    device: str = "auto"
    threads: int | None = None
    spinning: bool = True
    callers: int = 1
    trust: bool = False
    probe: bool = True
    cache: bool = False

    def __post_init__(self) -> None:
        """Check the numbers of threads.

        Raises:
            ConfigError: One is less than 1, or more than a machine can have use for.
        """
        for name, count in (("threads", self.threads), ("callers", self.callers)):
            if count is not None and not 1 <= count <= MAX_THREADS:
                msg = f"{name} is {count}; choose a number from 1 to {MAX_THREADS}"
                raise ConfigError(msg)


class WrappedBackend:
    """A backend around another one; a subclass overrides what it changes."""

    def __init__(self, inner: Backend, *, card: ModelCard | None = None) -> None:
        """Wrap a backend.

        Args:
            inner: Runs the network; its resources stay its own.
            card: The card to show instead of the inner one, for example of another input size.
        """
        self._inner = inner
        self._card = card or inner.card

    @property
    def card(self) -> ModelCard:
        """Return the card of the network."""
        return self._card

    @property
    def device(self) -> str:
        """Return the runtime and device of the inner backend."""
        return self._inner.device

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output of the inner backend."""
        return self._inner.run(batch)


def at_size(backend: Backend, size: tuple[int, int] | None) -> Backend:
    """Return a backend whose card asks for images of another size.

    Args:
        backend: A loaded network.
        size: Height and width in pixels; None for its own.

    Raises:
        ConfigError: The network does not take images of this size.
    """
    spec = backend.card.input
    if size is None or size == (spec.height, spec.width):
        return backend
    height, width = size
    if not spec.dynamic:
        msg = (
            f"the file takes images of {spec.height}x{spec.width} only; export it with --dynamic,"
            " or leave out --imgsz"
        )
        raise ConfigError(msg)
    if any(side > MAX_SIDE or side % spec.stride for side in size):
        msg = (
            f"the size is {height},{width}; each side must be a multiple of {spec.stride} and at"
            f" most {MAX_SIDE}"
        )
        raise ConfigError(msg)
    changed = replace(spec, height=height, width=width)
    return WrappedBackend(backend, card=replace(backend.card, input=changed))


def empty_batch(spec: InputSpec, count: int = 1) -> Batch:
    """Return a batch of black images that a network takes.

    Args:
        spec: Size, channels and type.
        count: Number of images.
    """
    return np.zeros((count, spec.height, spec.width, len(spec.channels)), spec.dtype)


def check_batch(batch: Batch, card: ModelCard) -> None:
    """Check that a network accepts a batch.

    Raises:
        ConfigError: The batch has another dtype, or a shape that the card does not allow.
    """
    spec = card.input
    channels = len(spec.channels)
    if batch.dtype != spec.dtype:
        meant = "uint8, RGB, 0 to 255" if spec.is_plain else f"{spec.dtype}, as files store it"
        msg = f"the batch is {batch.dtype}; the network takes {meant}"
        raise ConfigError(msg)
    if batch.ndim == 4 and batch.shape[0] > 0 and batch.shape[3] == channels:
        height, width = batch.shape[1:3]
        sides_fit = spec.dynamic and all(
            0 < side <= MAX_SIDE and side % spec.stride == 0 for side in (height, width)
        )
        if sides_fit or (height, width) == (spec.height, spec.width):
            return
    sides = f"multiples of {spec.stride}" if spec.dynamic else f"{spec.height}x{spec.width}"
    msg = (
        f"the batch has shape {batch.shape}; the network takes (N, H, W, {channels}) with H and W"
        f" {sides}"
    )
    raise ConfigError(msg)


def companion_of(path: Path, suffix: str) -> Path:
    """Return the file with another suffix, also beside one that still has a temporary name."""
    if path.suffix == PART:
        return path.with_suffix("").with_suffix(f"{suffix}{PART}")
    return path.with_suffix(suffix)


def card_from_metadata(metadata: Mapping[str, str], *, source: str) -> ModelCard:
    """Return the card in the metadata of an artifact.

    Args:
        metadata: Keys and texts that the file carries.
        source: Name of the file, for the message.

    Raises:
        CardError: There is none, or one that cannot be used.
    """
    if CARD_KEY not in metadata:
        msg = f"{source} has no card; was it written by 'segdeploy export'?"
        raise CardError(msg)
    return ModelCard.from_json(metadata[CARD_KEY], source=source)


def network_budget(pixels: int, size: int) -> int:
    """Return how many bytes of memory a network may take for its weights and its tensors.

    Args:
        pixels: Pixels of all images that are in it at the same time.
        size: Size of its files, in bytes.

    Raises:
        ConfigError: The environment variable with the budget holds something else than a size.
    """
    return file_budget(size) + COPIES * size + CHANNELS * 4 * pixels


def check_output(output: NetworkOutput, batch: Batch, card: ModelCard, *, source: str) -> None:
    """Refuse an array that is not what a network of this card returns for a batch.

    Args:
        output: What a runtime returned.
        batch: What it was given.
        card: Card of the file.
        source: The file, as the beginning of the message.

    Raises:
        ModelError: Type or shape contradict the card.
    """
    if card.output == "classes":
        fits = output.dtype == np.uint8 and output.shape == batch.shape[:3]
    else:
        fits = (
            output.dtype == np.float32
            and output.ndim == 4
            and output.shape[:2] == (len(batch), len(card.classes))
            and min(output.shape) > 0
        )
    if not fits:
        msg = (
            f"{source} returns {output.dtype} of the shape {output.shape}, which contradicts its"
            " card; export it again"
        )
        raise ModelError(msg)
