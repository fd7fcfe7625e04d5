"""The self-test of an exported file: a built-in image, and the output expected for it.

The export stores the expected output in the metadata of the file; `verify` compares.
"""

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
from segdeploy.backends.base import RuntimeOptions, card_from_metadata
from segdeploy.backends.loading import ArtifactKind
from segdeploy.card import CHECKSUM_KEY, SELF_TEST_KEY, InputSpec, ModelCard
from segdeploy.errors import GateError, ModelError

POINTS = 16
"""Rows and columns at which logits are stored."""

LABELS = 96
"""Rows and columns at which labels are stored."""

AGREEMENT = 0.999
"""Smallest share of equal labels that passes."""

TOLERANCE = 0.01
"""Largest difference of a logit that passes, relative to the largest logit. Convolutions in TF32
on a GPU stay below half of it."""

MAX_BYTES = 4 * 1024 * 1024
"""Largest size of a stored output, in bytes."""


def built_in_image(height: int, width: int) -> Batch:
    """Return the built-in image: gradients, edges in all directions, discs, and grain.

    It is computed with integers only, so that it is the same on every machine.

    Returns:
        (1, height, width, 3) uint8, RGB.
    """
    y, x = np.indices((height, width), dtype=np.int32)
    cell = max(4, min(height, width) // 8)
    red = x * 255 // max(1, width - 1)
    green = y * 255 // max(1, height - 1)
    blue = (x // cell + y // cell) % 2 * 160 + (x + y) // cell % 3 * 40
    image: npt.NDArray[np.int32] = np.stack([red, green, blue], axis=-1)
    distance = (x % (4 * cell) - 2 * cell) ** 2 + (y % (4 * cell) - 2 * cell) ** 2
    image = np.where((distance < cell * cell)[..., None], 255 - image, image)
    grain = ((x * 7919) ^ (y * 104729)) // 64 % 32 - 16
    image = np.clip(image + grain[..., None], 0, 255)
    return np.asarray(image[None], dtype=np.uint8)


def built_in_batch(spec: InputSpec) -> Batch:
    """Return the built-in image as a network takes it: of its size, its channels and its type.

    Of images that are not red, green and blue of 8 bits, the numbers lie around the network's mean
    and differ from each other in all their bits.
    """
    colors = built_in_image(spec.height, spec.width)
    if spec.is_plain:
        return colors
    count = len(spec.channels)
    planes = [
        np.roll(colors[..., at % 3], 7 * (at // 3), axis=(1, 2)).astype(np.float64)
        for at in range(count)
    ]
    units = 4 * np.stack(planes, axis=-1) / 255 - 2
    low, high = (np.array(numbers) for numbers in spec.limits)
    numbers = low + (np.array(spec.mean) + units * np.array(spec.std)) * (high - low)
    if spec.dtype == "float32":
        return np.asarray(numbers, np.float32)
    whole = np.rint(numbers).clip(0, np.iinfo(spec.dtype).max)
    return np.asarray(whole, np.uint8 if spec.dtype == "uint8" else np.uint16)


@dataclass(frozen=True, kw_only=True)
class SelfTestResult:
    """How far the output for the built-in image agrees with the expected one.

    Attributes:
        difference: Largest difference of a logit or probability, relative to the largest one; None
            where the file returns classes.
        agreement: Share of equal labels, in [0, 1].
    """

    difference: float | None
    agreement: float


@dataclass(frozen=True, kw_only=True)
class ExpectedOutput:
    """The output of a network for the built-in image, sampled; it is stored as JSON.

    Attributes:
        shape: Channels, height and width of logits or probabilities; height and width of classes.
        logits: Logits or probabilities at a grid of at most 16x16 points of every channel: float32,
            little endian, base64; "" for classes.
        labels: Best class at a grid of at most 96x96 points: uint8, compressed by zlib, base64.
        tolerance: Largest difference of a logit that passes, relative to the largest logit.
        agreement: Smallest share of equal labels that passes, in [0, 1].
    """

    shape: tuple[int, ...]
    logits: str
    labels: str
    tolerance: float = TOLERANCE
    agreement: float = AGREEMENT

    @classmethod
    def of(
        cls, output: NetworkOutput, *, tolerance: float = TOLERANCE, agreement: float = AGREEMENT
    ) -> Self:
        """Return the expected output that is stored for an output.

        Args:
            output: Output for the built-in image of the network's input size: (1, K, h, w) float32,
                or classes, (1, H, W) uint8.
            tolerance: Largest difference of a logit that passes, relative to the largest logit.
            agreement: Smallest share of equal labels that passes, in [0, 1].
        """
        values, labels = _sample(output)
        return cls(
            shape=tuple(output.shape[1:]),
            logits=base64.b64encode(values.astype("<f4").tobytes()).decode(),
            labels=base64.b64encode(zlib.compress(labels.tobytes(), 9)).decode(),
            tolerance=tolerance,
            agreement=agreement,
        )

    def check(self, output: NetworkOutput, *, source: str) -> SelfTestResult:
        """Compare another output for the same image with this one.

        Args:
            output: (1, K, h, w) float32, or classes, (1, H, W) uint8.
            source: Name of the file that returned it, for the message.

        Raises:
            GateError: It differs by more than is allowed.
            ModelError: The stored output is damaged.
        """
        if output.shape != (1, *self.shape):
            msg = (
                f"{source} returns an output of shape {output.shape} for the built-in image, not"
                f" {(1, *self.shape)}; export it again"
            )
            raise GateError(msg)
        values, labels = _sample(output)
        expected, expected_labels = self._decode(values.shape, labels.shape, source)
        agreement = float((labels == expected_labels).mean())
        difference = _relative_difference(values, expected) if output.ndim == 4 else None
        # A comparison with NaN is false, so NaN counts as different.
        within = difference is None or difference <= self.tolerance
        if agreement < self.agreement or not within:
            logits = (
                ""
                if difference is None
                else f" and the logits differ by {difference:.2%} of the largest"
            )
            msg = (
                f"{source} does not return the output for the built-in image that it was exported"
                f" with: {agreement:.2%} of the labels are equal{logits}; export it again"
            )
            raise GateError(msg)
        return SelfTestResult(difference=difference, agreement=agreement)

    def _decode(
        self, points: tuple[int, ...], labels: tuple[int, ...], source: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        try:
            logits = np.frombuffer(base64.b64decode(self.logits, validate=True), "<f4")
            unpacked = zlib.decompressobj().decompress(
                base64.b64decode(self.labels, validate=True), LABELS * LABELS + 1
            )
            return logits.reshape(points), np.frombuffer(unpacked, np.uint8).reshape(labels)
        except (ValueError, binascii.Error, zlib.error) as error:
            msg = f"{source} has a damaged expected output ({error}); export it again"
            raise ModelError(msg) from error

    def to_json(self) -> str:
        """Return the expected output as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> Self:
        """Return the expected output in JSON text that `to_json` returned.

        Args:
            text: JSON text of unknown origin.
            source: Name of the file that contains it, for the message.

        Raises:
            ModelError: It is none, or a damaged one.
        """
        if len(text) > MAX_BYTES:
            msg = (
                f"{source} has an expected output of {len(text)} bytes, more than {MAX_BYTES};"
                " export it again"
            )
            raise ModelError(msg)
        try:
            return cls(**_typed(json.loads(text)))
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            msg = (
                f"{source} has a damaged expected output ({type(error).__name__}: {error});"
                " export it again"
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


def _sample(output: NetworkOutput) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return logits at few points, none of classes, and labels at more points."""
    if output.ndim == 3:
        return np.empty(0, np.float32), at_grid(np.asarray(output, np.uint8), LABELS)
    labels = at_grid(output.argmax(1), LABELS)
    return at_grid(output[0], POINTS).astype(np.float32), labels.astype(np.uint8)


def _relative_difference(
    values: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]
) -> float:
    """Return the largest difference, relative to the largest expected value."""
    largest = max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    return float(np.abs(values - expected).max() / largest)


def at_grid(planes: npt.NDArray[Any], points: int) -> npt.NDArray[Any]:
    """Return (K, h, w) planes at evenly spaced rows and columns, at most `points` of each."""
    rows, columns = (_evenly_spaced(size, points) for size in planes.shape[1:])
    return planes[:, rows[:, None], columns]


def _evenly_spaced(size: int, points: int) -> npt.NDArray[np.intp]:
    """Return the middles of at most `points` equal parts of a side."""
    count = min(size, points)
    return (2 * np.arange(count) + 1) * size // (2 * count)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found about a file that passed.

    Attributes:
        card: Its card.
        device: Runtime and device that ran it.
        result: How far its output agrees with the expected one.
    """

    card: ModelCard
    device: str
    result: SelfTestResult


def verify(
    path: Path,
    kind: ArtifactKind,
    *,
    device: str = "auto",
    trust: bool = False,
    probe: bool = True,
) -> Verification:
    """Verify an exported file: its checksum, its card, and its output for the built-in image.

    Args:
        path: The file.
        kind: Its kind, whatever its suffix.
        device: Where it runs.
        trust: Whether the file is loaded as it is; see `RuntimeOptions`.
        probe: Whether a file that may end the process runs once in another one first.

    Raises:
        GateError: The bytes or the output are not those of the export.
        ModelError: The file cannot be loaded, or was exported without an expected output.
        CardError: It has no usable card.
    """
    metadata = kind.read_metadata(path)
    card = card_from_metadata(metadata, source=str(path))
    if not {SELF_TEST_KEY, CHECKSUM_KEY} <= metadata.keys():
        msg = (
            f"{path} has no expected output and checksum to verify; verify what 'segdeploy"
            " export' wrote, or use 'segdeploy eval'"
        )
        raise ModelError(msg)
    if kind.checksum(path) != metadata[CHECKSUM_KEY]:
        msg = f"{path} was changed after it was exported: its checksum differs; export it again"
        raise GateError(msg)
    expected = ExpectedOutput.from_json(metadata[SELF_TEST_KEY], source=str(path))
    backend = kind.load(path, RuntimeOptions(device=device, trust=trust, probe=probe))
    output = backend.run(built_in_batch(card.input))
    result = expected.check(output, source=str(path))
    return Verification(card=card, device=backend.device, result=result)
