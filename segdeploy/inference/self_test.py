"""Built-in image, stored answer, verify(file)."""

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import card_from_metadata
from segdeploy.backends.loading import ArtifactKind
from segdeploy.card import SELF_TEST_KEY, CHECKSUM_KEY, ModelCard
from segdeploy.errors import GateError, ModelError

POINTS = 16
"""At how many rows and columns the logits are kept."""

LABELS = 96
"""At how many rows and columns the labels are kept."""

AGREEMENT = 0.999
"""Share of the labels that must be met."""

TOLERANCE = 0.01
"""Largest difference of a logit, as a share of the largest logit: convolutions in TF32 on a GPU
stay under half of it."""

MAX_BYTES = 4 * 1024 * 1024


def built_in_image(height: int, width: int) -> Batch:
    """Draw the built-in image: gradients, edges in all directions, discs, and grain.

    It is made of whole numbers only, so that every machine draws the same.

    Returns:
        (1, height, width, 3) uint8, red-green-blue.
    """
    y, x = np.indices((height, width), dtype=np.int32)
    cell = max(4, min(height, width) // 8)
    red = x * 255 // max(1, width - 1)
    green = y * 255 // max(1, height - 1)
    blue = (x // cell + y // cell) % 2 * 160 + (x + y) // cell % 3 * 40
    image: npt.NDArray[np.int32] = np.stack([red, green, blue], axis=-1)
    away = (x % (4 * cell) - 2 * cell) ** 2 + (y % (4 * cell) - 2 * cell) ** 2
    image = np.where((away < cell * cell)[..., None], 255 - image, image)
    grain = ((x * 7919) ^ (y * 104729)) // 64 % 32 - 16
    image = np.clip(image + grain[..., None], 0, 255)
    return np.asarray(image[None], dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class SelfTestResult:
    """How well an answer meets the expected one.

    Attributes:
        difference: Largest difference of a logit or probability, as a share of the largest; None of
            classes alone.
        agreement: Share of equal labels, in [0, 1].
    """

    difference: float | None
    agreement: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a network answers to the built-in image.

    Attributes:
        shape: Channels, height and width of the logits or probabilities; height and width of
            classes.
        logits: Logits or probabilities at a grid of at most 16x16 points of every channel: float32,
            little endian, base64; "" of classes.
        labels: Best class at a grid of at most 96x96 points: uint8, compressed by zlib, base64.
        tolerance: Largest difference of a logit that passes, as a share of the largest logit.
        agreement: Smallest share of equal labels that passes.
    """

    shape: tuple[int, ...]
    logits: str
    labels: str
    tolerance: float = TOLERANCE
    agreement: float = AGREEMENT

    @classmethod
    def of(
        cls, answer: NetworkOutput, *, tolerance: float = TOLERANCE, agreement: float = AGREEMENT
    ) -> Self:
        """Keep an answer to the built-in image of the network's size.

        Args:
            answer: (1, K, h, w) float32, or classes, (1, H, W) uint8.
            tolerance: Largest difference of a logit that shall pass, as a share of the largest
                logit.
            agreement: Smallest share of equal labels that shall pass.
        """
        values, labels = _sampled(answer)
        return cls(
            shape=tuple(answer.shape[1:]),
            logits=base64.b64encode(values.astype("<f4").tobytes()).decode(),
            labels=base64.b64encode(zlib.compress(labels.tobytes(), 9)).decode(),
            tolerance=tolerance,
            agreement=agreement,
        )

    def check(self, answer: NetworkOutput, *, source: str) -> SelfTestResult:
        """Compare another answer to the same image with this one.

        Args:
            answer: (1, K, h, w) float32, or classes, (1, H, W) uint8.
            source: Name of what answered, for the message.

        Raises:
            GateError: It differs by more than is allowed.
            ModelError: This answer is damaged.
        """
        if answer.shape != (1, *self.shape):
            msg = (
                f"{source} answers the built-in image with an array of shape {answer.shape}, not"
                f" {(1, *self.shape)}; export it again"
            )
            raise GateError(msg)
        values, labels = _sampled(answer)
        expected, expected_labels = self._decode(values.shape, labels.shape, source)
        same = float((labels == expected_labels).mean())
        difference = _relative(values, expected) if answer.ndim == 4 else None
        # Not "greater": a value that is no number must count as different.
        if same < self.agreement or (difference is not None and not difference <= self.tolerance):
            beside = (
                ""
                if difference is None
                else f" and the logits differ by {difference:.2%} of the largest"
            )
            found = f"{same:.2%} of the labels are equal{beside}"
            msg = (
                f"{source} answers the built-in image otherwise than it was exported: {found};"
                " export it again"
            )
            raise GateError(msg)
        return SelfTestResult(difference=difference, agreement=same)

    def _decode(
        self, points: tuple[int, ...], labels: tuple[int, ...], source: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        try:
            values = np.frombuffer(base64.b64decode(self.logits, validate=True), "<f4").reshape(
                points
            )
            unpacked = zlib.decompressobj().decompress(
                base64.b64decode(self.labels, validate=True), LABELS * LABELS + 1
            )
            return values, np.frombuffer(unpacked, np.uint8).reshape(labels)
        except (ValueError, binascii.Error, zlib.error) as error:
            msg = f"{source} carries a damaged answer ({error}); export it again"
            raise ModelError(msg) from error

    def to_json(self) -> str:
        """Write the answer as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> Self:
        """Read what `to_json` wrote.

        Args:
            text: Foreign JSON text.
            source: Name of the file that carries it, for the message.

        Raises:
            ModelError: It is no answer, or a damaged one.
        """
        if len(text) > MAX_BYTES:
            msg = (
                f"{source} carries an answer of {len(text)} bytes, more than {MAX_BYTES}; export it"
                " again"
            )
            raise ModelError(msg)
        try:
            return cls(**_typed(json.loads(text)))
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            msg = (
                f"{source} carries a damaged answer ({type(error).__name__}: {error}); export it"
                " again"
            )
            raise ModelError(msg) from error


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **values,
        "shape": tuple(int(side) for side in values["shape"]),
        "logits": str(values["logits"]),
        "labels": str(values["labels"]),
        "tolerance": float(values["tolerance"]),
        "agreement": float(values["agreement"]),
    }


def _sampled(answer: NetworkOutput) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return the values at a grid of few points, none of classes, and the labels at a grid of more."""
    if answer.ndim == 3:
        return np.empty(0, np.float32), at_grid(np.asarray(answer, np.uint8), LABELS)
    return at_grid(answer[0], POINTS).astype(np.float32), at_grid(answer.argmax(1), LABELS).astype(
        np.uint8
    )


def _relative(values: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Return the largest difference, as a share of the largest expected value."""
    return float(
        np.abs(values - expected).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    )


def at_grid(planes: npt.NDArray[Any], points: int) -> npt.NDArray[Any]:
    """Pick evenly spread rows and columns of (K, h, w) planes, at most `points` of each, without interpolation."""
    rows, columns = (_spread(size, points) for size in planes.shape[1:])
    return planes[:, rows[:, None], columns]


def _spread(size: int, points: int) -> npt.NDArray[np.intp]:
    count = min(size, points)
    return (2 * np.arange(count) + 1) * size // (2 * count)


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found about a file that passed.

    Attributes:
        card: Its card.
        device: What ran it.
        met: How well the stored answer was met.
    """

    card: ModelCard
    device: str
    met: SelfTestResult


def verify(path: Path, kind: ArtifactKind, *, device: str = "auto") -> Verified:
    """Check an exported file by what it carries.

    Its checksum, its card, and its answer to the built-in image.

    Args:
        path: The file.
        kind: What it is, whatever its ending.
        device: Where it runs.

    Raises:
        GateError: The bytes or the answer are not those of the export.
        ModelError: The file cannot be loaded, or was exported without an answer.
        CardError: It carries no usable card.
    """
    texts = kind.read_metadata(path)
    card = card_from_metadata(texts, source=str(path))
    if not {SELF_TEST_KEY, CHECKSUM_KEY} <= texts.keys():
        msg = (
            f"{path} carries no answer and checksum to verify; verify what 'segdeploy export'"
            " wrote, or use 'segdeploy eval'"
        )
        raise ModelError(msg)
    if kind.checksum(path) != texts[CHECKSUM_KEY]:
        msg = f"{path} was changed after it was exported: its checksum is another; export it again"
        raise GateError(msg)
    answer = Answer.from_json(texts[SELF_TEST_KEY], source=str(path))
    backend = kind.load(path, device=device)
    given = backend.run(built_in_image(card.input.height, card.input.width))
    return Verified(card=card, device=backend.device, met=answer.check(given, source=str(path)))
