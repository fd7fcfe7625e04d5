"""A foreign ONNX file, float images in NCHW and logits or classes out, made one of ours.

A card, and uint8 images into the graph.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from msgspec import structs
from onnx import TensorProto, helper

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.loading import KINDS
from segdeploy.backends.onnx_metadata import read_metadata
from segdeploy.backends.onnx_runtime import FAILURES
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError, ModelError
from segdeploy.system.files import replacing

from .external_model import wrap_graph
from .proof import sizes
from .writer import Artifact, Proving, finish

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True, kw_only=True)
class ExternalModel:
    """A foreign file, as it was found.

    Attributes:
        path: The file.
        model: Its graph, with the weights.
        taken: Name of its input.
        given: Name of its first output; others are dropped.
        half: Whether its input is float16.
        sides: Height and width of its input, in pixels; None where it takes any.
    """

    path: Path
    model: onnx.ModelProto
    taken: str
    given: str
    half: bool
    sides: tuple[int, int] | None

    @property
    def precision(self) -> str:
        """Kind of numbers that it computes with."""
        quantized = any(node.op_type == "QuantizeLinear" for node in self.model.graph.node)
        return "int8" if quantized else "fp16" if self.half else "fp32"


def read_foreign(path: Path) -> ExternalModel:
    """Read a foreign file.

    Raises:
        ModelError: It is missing, damaged, points outside its folder, or does not take float
            images in NCHW.
    """
    read_metadata(path)
    try:
        model = onnx.load(path)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        msg = (
            f"{path} cannot be read ({' '.join(str(error).split())[:200]}); are its weights"
            " beside it?"
        )
        raise ModelError(msg) from error
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    sides = [side.dim_value for side in inputs[0].type.tensor_type.shape.dim] if inputs else []
    kinds = [value.type.tensor_type.elem_type for value in inputs]
    if (
        len(inputs) != 1
        or len(sides) != 4
        or sides[0] > 1
        or sides[1] not in (0, 3)
        or kinds[0] not in FLOATS
    ):
        found = ", ".join(
            f"{value.name} of {TensorProto.DataType.Name(kind)}"
            for value, kind in zip(inputs, kinds, strict=True)
        )
        msg = (
            f"{path} takes {found or 'nothing'}, {sides}; a network that can be adopted takes one"
            " batch of float images, (N, 3, H, W)"
        )
        raise ModelError(msg)
    return ExternalModel(
        path=path,
        model=model,
        taken=inputs[0].name,
        given=model.graph.output[0].name,
        half=inputs[0].type.tensor_type.elem_type == TensorProto.FLOAT16,
        sides=(sides[2], sides[3]) if sides[2] and sides[3] else None,
    )


class OriginalBackend:
    """The foreign file as its makers run it.

    Numbers prepared outside of it, one image after the other.
    """

    device = "onnxruntime on numbers prepared by numpy"

    def __init__(self, foreign: ExternalModel, card: ModelCard, *, bgr: bool) -> None:
        """Open the file.

        Args:
            foreign: The file.
            card: What it is.
            bgr: Whether it takes blue-green-red.

        Raises:
            ModelError: ONNX Runtime does not run it.
        """
        self.card = card
        self._foreign = foreign
        self._bgr = bgr
        try:
            self._session = onnxruntime.InferenceSession(
                foreign.path, providers=["CPUExecutionProvider"]
            )
        except FAILURES as error:
            reason = " ".join(str(error).split())[:200]
            msg = (
                f"{foreign.path} is nothing that ONNX Runtime {onnxruntime.__version__} runs"
                f" ({reason}); convert it anew"
            )
            raise ModelError(msg) from error

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer (N, H, W, 3) uint8 RGB images as the adopted file shall.

        Raises:
            ModelError: The file fails on them, or answers classes that nobody named.
        """
        answers = [self._fitted(self.raw(one), batch.shape[1], batch.shape[2]) for one in batch]
        answer: NetworkOutput = np.stack(answers)
        return answer

    def raw(
        self, image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        """Answer one image, (H, W, 3) uint8 RGB, with what the file gives for it."""
        spec, (height, width) = self.card.input, image.shape[:2]
        numbers = (image / 255 - np.array(spec.mean)) / np.array(spec.std)
        planes = (numbers[..., ::-1] if self._bgr else numbers).transpose(2, 0, 1)[None]
        inputs = {
            self._foreign.taken: planes.astype(np.float16 if self._foreign.half else np.float32)
        }
        try:
            answer = np.atleast_1d(self._session.run([self._foreign.given], inputs)[0])[0]
        except FAILURES as error:
            reason = " ".join(str(error).split())[:200]
            mend = (
                "choose another --stride, or leave out --dynamic"
                if spec.dynamic
                else "choose another --imgsz"
            )
            msg = f"{self._foreign.path} fails on an image of {height}x{width} ({reason}); {mend}"
            raise ModelError(msg) from error
        return np.asarray(answer)

    def _fitted(
        self, answer: np.ndarray[tuple[int, ...], np.dtype[np.generic]], height: int, width: int
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        if self.card.output != "classes":
            return answer.astype(np.float32)
        highest = int(answer.max())
        if highest >= len(self.card.classes) or answer.min() < 0:
            msg = (
                f"{self._foreign.path} answers {answer.min()} to {highest}, and --classes names 0"
                f" to {len(self.card.classes) - 1}; name all"
            )
            raise ModelError(msg)
        plane = answer.reshape(answer.shape[-2:]).astype(np.uint8)
        return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST))


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """A foreign file with our front, that is not yet proven.

    Attributes:
        model: The graph.
    """

    model: onnx.ModelProto

    def write(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write the file, and the texts that it shall carry, by their keys."""
        helper.set_model_props(self.model, dict(texts))
        path.write_bytes(self.model.SerializeToString())

    def first_diverging(self, path: Path, batch: Batch) -> str:  # noqa: ARG002 - all layers but the first and the last are the foreign file's own
        """Report where a difference can come from."""
        return "the preparation of the image, which is all that was added"


def detect_layout(
    original: OriginalBackend, card: ModelCard, *, path: Path
) -> tuple[ModelCard, tuple[int, ...]]:
    """Find out what a foreign file answers, and give its card with that, and the shape of its answer to one image.

    Raises:
        ModelError: It gives neither logits of that many classes, nor classes; or it fails on a size
            that it shall take.
    """
    answer, *_ = [original.raw(np.zeros((*sides, 3), np.uint8)) for sides in sizes(card.input)]
    height, width = answer.shape[-2:] if answer.ndim >= 2 else (0, 0)
    whole = np.issubdtype(answer.dtype, np.integer)
    if whole and answer.size == height * width:
        return structs.replace(card, output="classes"), answer.shape
    if not whole and answer.ndim == 3 and len(answer) == len(card.classes):
        return structs.replace(card, output="logits"), answer.shape
    wanted = f"logits (N, {len(card.classes)}, h, w) or whole numbers (N, h, w)"
    msg = (
        f"{path} answers an image with {answer.dtype} of shape {answer.shape}, and not with"
        f" {wanted}; check --classes, or its outputs"
    )
    raise ModelError(msg)


def adopt(
    foreign: ExternalModel, card: ModelCard, target: Path, *, bgr: bool, proving: Proving
) -> Artifact:
    """Return a foreign file a card and our front, prove that it answers as before, and write it.

    Args:
        foreign: The file.
        card: Its classes and its input, with the mean and deviation that it was trained with.
        target: Name of the new file.
        bgr: Whether it takes blue-green-red.
        proving: How it is proven.

    Raises:
        ConfigError: The target is the foreign file itself.
        ModelError: It is no network that can be adopted.
        ProofError: The new file answers otherwise than the foreign one.
    """
    if target.resolve() == foreign.path.resolve():
        msg = f"{target} is the file to be adopted itself; choose another name with -o"
        raise ConfigError(msg)
    original = OriginalBackend(foreign, card, bgr=bgr)
    known, answered = detect_layout(original, card, path=foreign.path)
    original.card = structs.replace(
        known, precision=foreign.precision, conversion={"adopted_from": foreign.path.name}
    )
    model = wrap_graph(
        foreign.model,
        original.card,
        taken=foreign.taken,
        given=foreign.given,
        answered=answered,
        bgr=bgr,
    )
    candidate = Adopted(model=model)
    with replacing(target) as part:
        return finish(
            target,
            part,
            candidate,
            kind=KINDS[".onnx"],
            reference=original,
            card=original.card,
            proving=proving,
        )
