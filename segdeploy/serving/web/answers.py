"""What a client may ask of an image: its mask, color mask, overlay or confidence, or JSON."""

import base64
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import msgspec
import numpy as np
from PIL import Image as PillowImage

from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.card import LabelClass
from segdeploy.errors import RequestError
from segdeploy.imaging.header import DAMAGE, open_image
from segdeploy.imaging.io import decode_image, to_jpeg
from segdeploy.imaging.overlay import Painter, colorize
from segdeploy.imaging.postprocess import Confidence, output_to_confidence, output_to_mask
from segdeploy.imaging.preprocess import to_batch
from segdeploy.serving.engine.limits import Limits
from segdeploy.serving.engine.models import ServedModel
from segdeploy.serving.engine.scheduler import Work
from segdeploy.video.annotations import class_shares, polygon_annotations, rle_annotations

PNG, JPEG, JSON = "image/png", "image/jpeg", "application/json"

MEDIA_TYPES: Mapping[str, str] = {
    "mask": PNG,
    "color": PNG,
    "confidence": PNG,
    "overlay": JPEG,
    "json": JSON,
}
"""Media type of each form of an answer, by the values of `?as=`."""

ACCEPTED: Mapping[str, str] = {
    PNG: "mask",
    JPEG: "overlay",
    JSON: "json",
    "image/*": "mask",
    "*/*": "mask",
}
"""Form of an answer by what `Accept` names; the first that fits is taken."""

INCLUDED = ("shares", "rle", "polygons", "confidence", "mask")
"""Parts of a JSON answer, by the values of `?include=`."""

FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
"""Masks are long runs of equal numbers: run lengths make them smaller than zlib's default does, in
half of its time."""

JPEG_QUALITY = 90


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a client wants of an image.

    Attributes:
        form: A key of `MEDIA_TYPES`.
        included: Parts of a JSON answer.
        opacity: Opacity of an overlay's colors, in [0, 1].
    """

    form: str = "mask"
    included: Collection[str] = ("shares", "rle")
    opacity: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The body of a response."""

    body: bytes
    media_type: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """A segmented image.

    Attributes:
        image: (H, W, 3) uint8, blue-green-red, upright.
        mask: Class of each pixel, (H, W) uint8.
        output: Output of the network.
        model: The model.
    """

    image: Image
    mask: Mask
    output: NetworkOutput = field(repr=False)
    model: ServedModel

    @property
    def classes(self) -> Sequence[LabelClass]:
        """Return the classes of the model."""
        return self.model.card.classes

    def confidence(self) -> Confidence:
        """Return the confidence of each pixel, (H, W) uint8.

        Raises:
            RequestError: The model returns classes alone.
        """
        card = self.model.card
        if card.output == "classes":
            msg = f"the model {self.model.name} returns classes without confidence; leave it out"
            raise RequestError(msg, status=422)
        height, width = self.mask.shape
        return output_to_confidence(
            self.output, card.input, kind=card.output, height=height, width=width
        )


def segment(image: Image, model: ServedModel, work: Work) -> Segmentation:
    """Segment an image as `Predictor` does, with the times of the stages."""
    spec = model.card.input
    with work.stage("prepare"):
        batch = to_batch([image], spec)
    output = model.run(batch, work)
    with work.stage("mask"):
        height, width = image.shape[:2]
        mask = output_to_mask(output, spec, height=height, width=width)
    return Segmentation(image=image, mask=mask, output=output, model=model)


def answer_image(
    content: bytes, model: ServedModel, wanted: Wanted, limits: Limits
) -> Callable[[Work], Answer]:
    """Return the job that decodes, segments and encodes an image."""

    def do(work: Work) -> Answer:
        with work.stage("decode"):
            image = decode(content, limits)
        result = segment(image, model, work)
        with work.stage("encode"):
            return encode(result, wanted, milliseconds=work.seconds)

    return do


def decode(content: bytes, limits: Limits) -> Image:
    """Return an image of a client; its size is checked before its pixels are decoded.

    Raises:
        RequestError: It is no image of a known format, or has too many pixels.
        DataError: It is damaged.
    """
    width, height = image_size(content)
    if width * height > limits.pixels:
        msg = (
            f"the image has {width}x{height} pixels, more than {limits.pixels}; make it smaller, or"
            " start the server with a larger --max-pixels"
        )
        raise RequestError(msg, status=413)
    return decode_image(content, name="the image")


def image_size(content: bytes) -> tuple[int, int]:
    """Return width and height of an image by its header.

    Raises:
        RequestError: It is no image of a known format.
    """
    try:
        with open_image(io.BytesIO(content)) as image:
            return image.size
    except PillowImage.DecompressionBombError as error:
        msg = f"the image has too many pixels ({error}); make it smaller"
        raise RequestError(msg, status=413) from error
    except DAMAGE as error:
        msg = (
            f"the body, {len(content)} bytes, is no image of a known format; send JPEG, PNG, WebP,"
            " TIFF, BMP, GIF or PPM"
        )
        raise RequestError(msg, status=415) from error


def encode(result: Segmentation, wanted: Wanted, *, milliseconds: Mapping[str, float]) -> Answer:
    """Return an answer in the wanted form.

    Args:
        result: The segmented image.
        wanted: The form.
        milliseconds: Seconds of each stage so far, told in JSON in milliseconds.
    """
    return Answer(body=_body(result, wanted, milliseconds), media_type=MEDIA_TYPES[wanted.form])


def _body(result: Segmentation, wanted: Wanted, seconds: Mapping[str, float]) -> bytes:
    match wanted.form:
        case "mask":
            return to_png(result.mask)
        case "color":
            return to_png(colorize(result.mask, result.classes))
        case "confidence":
            return to_png(result.confidence())
        case "overlay":
            painter = Painter(result.classes, opacity=wanted.opacity)
            return to_jpeg(painter.paint(result.image, result.mask), quality=JPEG_QUALITY)
    values = describe(result, wanted.included)
    values["milliseconds"] = {name: round(1000 * value, 3) for name, value in seconds.items()}
    return msgspec.json.encode(values)


def to_png(image: Image | Mask) -> bytes:
    """Return an image or a mask as PNG, fast."""
    done, content = cv2.imencode(".png", image, FAST_PNG)
    assert done, "OpenCV writes any image as PNG"
    return content.tobytes()


def describe(result: Segmentation, included: Collection[str]) -> dict[str, Any]:
    """Return a segmented image as JSON's values.

    Args:
        result: The segmented image.
        included: Which of `INCLUDED`.
    """
    mask, classes = result.mask, result.classes
    values: dict[str, Any] = {
        "model": result.model.name,
        "width": mask.shape[1],
        "height": mask.shape[0],
    }
    if "shares" in included:
        values["shares"] = class_shares(mask, classes)
    annotations = {"rle": rle_annotations, "polygons": polygon_annotations}
    for part, annotate in annotations.items():
        if part in included:
            values[part] = [
                {**fields, "category": classes[fields["category_id"] - 1].name}
                for fields in annotate(mask, len(classes))
            ]
    if "mask" in included:
        values["mask"] = base64.b64encode(to_png(mask)).decode()
    if "confidence" in included:
        confidence = result.confidence()
        values["confidence"] = {
            "mean": mean_confidence(mask, confidence, classes),
            "png": base64.b64encode(to_png(confidence)).decode(),
        }
    return values


def mean_confidence(
    mask: Mask, confidence: Confidence, classes: Sequence[LabelClass]
) -> Mapping[str, float]:
    """Return the mean confidence of the pixels of each class that occurs, in [0, 1]."""
    counts = np.bincount(mask.ravel(), minlength=256)
    sums = np.bincount(mask.ravel(), weights=confidence.ravel(), minlength=256)
    return {
        entry.name: round(float(sums[index] / counts[index]) / 255, 4)
        for index, entry in enumerate(classes)
        if counts[index]
    }
