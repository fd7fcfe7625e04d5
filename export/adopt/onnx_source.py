"""Adoption of an ONNX file of another project: it gets a card, and takes uint8 images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from msgspec import structs
from onnx import helper

from segdeploy.arrays import Batch, Image, Logits, Mask, NetworkOutput
from segdeploy.backends.loading import KINDS
from segdeploy.backends.onnx_runtime import FAILURES
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError, ModelError
from segdeploy.system.files import replacing

from ..proof import input_sizes
from ..writer import Artifact, ProofSettings, write_and_prove
from .onnx_graph import ExternalModel, wrap_graph

Output = npt.NDArray[np.generic]
"""Output of an external file for one image: logits (K, h, w), or classes (h, w) or (1, h, w)."""


def adopt(
    external: ExternalModel, card: ModelCard, target: Path, *, bgr: bool, settings: ProofSettings
) -> Artifact:
    """Wrap an external file, prove that its output is the same as before, and write it.

    Args:
        external: The file.
        card: Its classes and its input, with the mean and deviation that it was trained with.
        target: Name of the new file.
        bgr: Whether it takes BGR.
        settings: How it is proven.

    Raises:
        ConfigError: The target is the external file itself.
        ModelError: It is not a network that can be adopted.
        ProofError: The output of the new file is different.
    """
    if target.resolve() == external.path.resolve():
        msg = f"{target} is the file to be adopted itself; choose another name with -o"
        raise ConfigError(msg)
    original = OriginalBackend(external, card, bgr=bgr)
    detected, output_shape = detect_output(original, card, path=external.path)
    detected = structs.replace(
        detected, precision=external.precision, conversion={"adopted_from": external.path.name}
    )
    original.card = detected
    model = wrap_graph(external, detected, output_shape=output_shape, bgr=bgr)
    with replacing(target) as part:
        return write_and_prove(
            target,
            part,
            AdoptedCandidate(model=model),
            kind=KINDS[".onnx"],
            reference=original,
            card=detected,
            settings=settings,
        )


def choose_size(
    external: ExternalModel, *, imgsz: tuple[int, int] | None, stride: int, dynamic: bool
) -> tuple[int, int]:
    """Return the height and the width of the new file's input, in pixels.

    Args:
        external: The file.
        imgsz: The requested size; the file's where None.
        stride: Number of which height and width are multiples.
        dynamic: Whether other sizes must be accepted too.

    Raises:
        ConfigError: The file does not accept that size, or the size is not a multiple of the
            stride.
    """
    path, fixed = external.path, external.size
    if fixed is not None and (dynamic or imgsz not in (None, fixed)):
        option = "--dynamic" if dynamic else "--imgsz"
        msg = f"{path} takes images of {fixed[0]}x{fixed[1]} only; leave out {option}"
        raise ConfigError(msg)
    size = imgsz or fixed
    if size is None:
        msg = (
            f"{path} takes images of any size; choose the usual one with --imgsz, for example"
            " --imgsz 512,1024"
        )
        raise ConfigError(msg)
    if any(side % stride for side in size):
        msg = (
            f"the input of {path} is {size[0]}x{size[1]}, and --stride is {stride}; both sides must"
            " be multiples of it"
        )
        raise ConfigError(msg)
    return size


class OriginalBackend:
    """An external file as its authors run it, one image after the other.

    The image is normalized by numpy, outside of the graph.

    Attributes:
        card: The card.
        device: Runtime and device, for reports.
    """

    device = "onnxruntime, normalized by numpy"

    def __init__(self, external: ExternalModel, card: ModelCard, *, bgr: bool) -> None:
        """Load the file.

        Args:
            external: The file.
            card: Its card.
            bgr: Whether it takes BGR.

        Raises:
            ModelError: ONNX Runtime does not run it.
        """
        self.card = card
        self._external = external
        self._bgr = bgr
        try:
            self._session = onnxruntime.InferenceSession(
                external.path, providers=["CPUExecutionProvider"]
            )
        except FAILURES as error:
            reason = " ".join(str(error).split())[:200]
            msg = (
                f"{external.path} cannot be run by ONNX Runtime {onnxruntime.__version__}"
                f" ({reason}); convert it again"
            )
            raise ModelError(msg) from error

    def run(self, batch: Batch) -> NetworkOutput:
        """Return for (N, H, W, 3) uint8 RGB images what the adopted file must return.

        Raises:
            ModelError: The file fails on them, or returns classes that have no name.
        """
        height, width = batch.shape[1:3]
        outputs: list[npt.NDArray[Any]] = [
            self._to_card(self.run_image(image), height, width) for image in batch
        ]
        return np.stack(outputs)

    def run_image(self, image: Image) -> Output:
        """Return the file's output for one (H, W, 3) uint8 RGB image.

        Raises:
            ModelError: The file fails on it.
        """
        spec, (height, width) = self.card.input, image.shape[:2]
        normalized = (image / 255 - np.array(spec.mean)) / np.array(spec.std)
        planes = (normalized[..., ::-1] if self._bgr else normalized).transpose(2, 0, 1)[None]
        dtype = np.float16 if self._external.half else np.float32
        try:
            outputs = self._session.run(
                [self._external.output_name], {self._external.input_name: planes.astype(dtype)}
            )
        except FAILURES as error:
            reason = " ".join(str(error).split())[:200]
            remedy = (
                "choose another --stride, or leave out --dynamic"
                if spec.dynamic
                else "choose another --imgsz"
            )
            msg = (
                f"{self._external.path} fails on an image of {height}x{width} ({reason}); {remedy}"
            )
            raise ModelError(msg) from error
        return np.asarray(np.atleast_1d(outputs[0])[0])

    def _to_card(self, output: Output, height: int, width: int) -> NetworkOutput:
        """Return float32 logits, or uint8 classes resized to the input."""
        if self.card.output != "classes":
            logits: Logits = output.astype(np.float32)
            return logits
        lowest, highest = output.min(), output.max()
        if lowest < 0 or highest >= len(self.card.classes):
            msg = (
                f"{self._external.path} returns {lowest} to {highest}, and --classes names 0 to"
                f" {len(self.card.classes) - 1}; name all"
            )
            raise ModelError(msg)
        plane: Mask = output.reshape(output.shape[-2:]).astype(np.uint8)
        resized = cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST)
        return np.asarray(resized, dtype=np.uint8)


def detect_output(
    original: OriginalBackend, card: ModelCard, *, path: Path
) -> tuple[ModelCard, tuple[int, ...]]:
    """Return the card with what the file returns, and the shape of its output for one image.

    Raises:
        ModelError: It returns neither logits of that many classes, nor classes; or it fails on a
            size that it must accept.
    """
    output, *_ = [
        original.run_image(np.zeros((*size, 3), np.uint8)) for size in input_sizes(card.input)
    ]
    height, width = output.shape[-2:] if output.ndim >= 2 else (0, 0)
    is_integer = np.issubdtype(output.dtype, np.integer)
    if is_integer and output.size == height * width:
        return structs.replace(card, output="classes"), output.shape
    if not is_integer and output.ndim == 3 and len(output) == len(card.classes):
        return structs.replace(card, output="logits"), output.shape
    msg = (
        f"{path} returns {output.dtype} of shape {output.shape} for an image, and not logits (N,"
        f" {len(card.classes)}, h, w) or integers (N, h, w); check --classes, or its outputs"
    )
    raise ModelError(msg)


@dataclass(frozen=True, kw_only=True)
class AdoptedCandidate:
    """A wrapped external file that is not yet proven.

    Attributes:
        model: The graph.
    """

    model: onnx.ModelProto

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file with the metadata in it."""
        helper.set_model_props(self.model, dict(metadata))
        path.write_bytes(self.model.SerializeToString())

    def first_diverging(self, path: Path, batch: Batch) -> str:  # noqa: ARG002 - an interface
        """Return the only layers in which a difference can arise."""
        return "the preprocessing of the image, which is all that was added"
