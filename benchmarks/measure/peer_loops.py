"""Plain loops around our artifacts, in PyTorch, ONNX Runtime and OpenVINO.

They are written with care: images resized to the network's input, uint8 until the network, logits
upsampled before the argmax, nothing computed twice. Their masks are those of `Predictor`, but for
rounding.

In the loop over a video OpenCV writes MPEG-4 (mp4v): pip's OpenCV has no encoder for H.264, which
takes longer.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Batch, Image, Logits, Mask
from segdeploy.backends.loading import read_card
from segdeploy.card import LabelClass, ModelCard
from segdeploy.errors import ModelError
from segdeploy.system.machine import cores

from ..results.row import Setting
from ..results.variant import SystemUnderTest, Variant

if TYPE_CHECKING:
    import torch

OPACITY = 0.5

Segment = Callable[[Batch, int, int], Mask]
"""Returns the mask, of a height and a width, of a batch of one RGB image of the network's size."""


def torch_loop(variant: Variant) -> SystemUnderTest:
    """Load a checkpoint in eager PyTorch, as `video_loops` compares it with `segdeploy run`."""
    path = Path(variant.artifact)
    segment = torch_eager(path, threads=variant.threads)
    return loop_system(variant, read_card(path), segment, device="torch cpu")


def torch_compile_loop(variant: Variant) -> SystemUnderTest:
    """Load a checkpoint through torch.compile; the compilation counts for the cold start."""
    import torch

    from segdeploy.models.checkpoint import load_checkpoint

    path = Path(variant.artifact)
    torch.set_num_threads(variant.threads or cores())
    network = load_checkpoint(path).network().eval().to(memory_format=torch.channels_last)
    compiled = torch.compile(network)

    def segment(batch: Batch, height: int, width: int) -> Mask:
        with torch.inference_mode():
            return torch_mask(compiled(torch.from_numpy(batch)), height, width)

    return loop_system(variant, read_card(path), segment, device="torch.compile cpu")


def onnx_loop(variant: Variant) -> SystemUnderTest:
    """Load an ONNX file in ONNX Runtime."""
    card = read_logits_card(variant)
    segment = onnx_session(Path(variant.artifact), threads=variant.threads)
    return loop_system(variant, card, segment, device="onnxruntime CPUExecutionProvider")


def openvino_loop(variant: Variant) -> SystemUnderTest:
    """Load an ONNX file in OpenVINO, optimized for the latency of one image."""
    import openvino

    card = read_logits_card(variant)
    core = openvino.Core()
    network = core.read_model(variant.artifact)
    network.reshape({"image": [1, card.input.height, card.input.width, 3]})
    compiled = core.compile_model(
        network,
        "CPU",
        {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": variant.threads or cores()},
    )

    def segment(batch: Batch, height: int, width: int) -> Mask:
        return opencv_mask(compiled(batch)[0], height, width)

    return loop_system(variant, card, segment, device="openvino CPU")


def torch_eager(checkpoint: Path, *, threads: int | None = None) -> Segment:
    """Return a checkpoint in eager PyTorch: float32, inference mode, channels last.

    Args:
        checkpoint: The file.
        threads: Threads of PyTorch, in the whole process; one per core where None.
    """
    import torch

    from segdeploy.models.checkpoint import load_checkpoint

    torch.set_num_threads(threads or cores())
    network = load_checkpoint(checkpoint).network().eval().to(memory_format=torch.channels_last)

    def segment(batch: Batch, height: int, width: int) -> Mask:
        with torch.inference_mode():
            return torch_mask(network(torch.from_numpy(batch)), height, width)

    return segment


def onnx_session(artifact: Path, *, threads: int | None = None) -> Segment:
    """Return an ONNX file in an ONNX Runtime session with its defaults.

    Args:
        artifact: The file.
        threads: Threads of the session; all of the host's cores, the default, where None.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(
        str(artifact), options, providers=["CPUExecutionProvider"]
    )

    def segment(batch: Batch, height: int, width: int) -> Mask:
        return opencv_mask(session.run(None, {"image": batch})[0], height, width)

    return segment


def read_logits_card(variant: Variant) -> ModelCard:
    """Read the card of a file that returns logits, which a plain loop can upsample.

    Raises:
        ModelError: The file returns something else.
    """
    card = read_card(Path(variant.artifact))
    if card.output != "logits":
        msg = (
            f"{variant.artifact} returns {card.output} and a plain loop upsamples logits; export it"
            " with --output logits"
        )
        raise ModelError(msg)
    return card


def loop_system(
    variant: Variant, card: ModelCard, segment: Segment, *, device: str, own_network: bool = False
) -> SystemUnderTest:
    """Return a loop as a system under test.

    Its network alone cannot be timed apart from the argmax, so the time to a mask of the network's
    input size is reported instead.

    Args:
        variant: What was requested.
        card: Card of the network.
        segment: Runs the network.
        device: What runs it.
        own_network: Whether the network is a library's own, with random weights.
    """
    height, width = card.input.height, card.input.width
    setting = Setting(
        architecture=card.architecture,
        precision=card.precision,
        input=(height, width),
        device=device,
        threads=variant.threads or cores(),
    )

    def masks(images: Sequence[Image]) -> list[Mask]:
        return [
            segment(to_network_batch(image, height, width), *image.shape[:2]) for image in images
        ]

    return SystemUnderTest(
        setting=setting,
        card=None if own_network else card,
        masks=masks,
        # Such loops run one image at a time.
        prepare=lambda images: to_network_batch(images[0], height, width),
        infer=lambda batch: segment(batch, height, width),
    )


def to_network_batch(image: Image, height: int, width: int) -> Batch:
    """Resize an image and convert it to RGB with OpenCV, (1, height, width, 3) uint8."""
    resized = cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(resized[None], dtype=np.uint8)


def torch_mask(logits: "torch.Tensor", height: int, width: int) -> Mask:
    """Upsample (1, K, h, w) logits with PyTorch and return the best class of each pixel."""
    import torch
    from torch.nn import functional

    upsampled = functional.interpolate(
        logits, (height, width), mode="bilinear", align_corners=False
    )
    return np.asarray(upsampled.argmax(1)[0].to(torch.uint8).numpy(), dtype=np.uint8)


def opencv_mask(logits: Logits, height: int, width: int) -> Mask:
    """Upsample (1, K, h, w) logits with OpenCV and return the best class of each pixel."""
    planes = cv2.resize(
        np.ascontiguousarray(logits[0].transpose(1, 2, 0)),
        (width, height),
        interpolation=cv2.INTER_LINEAR,
    )
    return np.asarray(planes.argmax(2), dtype=np.uint8)


def overlay(image: Image, mask: Mask, colors: npt.NDArray[np.uint8]) -> Image:
    """Blend an image with the colors of its mask."""
    return np.asarray(cv2.addWeighted(image, 1 - OPACITY, colors[mask], OPACITY, 0), dtype=np.uint8)


def palette(classes: tuple[LabelClass, ...]) -> npt.NDArray[np.uint8]:
    """Return the colors of the classes, (K, 3) BGR."""
    return np.array([entry.color[::-1] for entry in classes], np.uint8)


def run_over_video(video: Path, target: Path, artifact: Path, segment: Segment) -> int:
    """Write the overlay of each frame of a video, and return the number of frames."""
    card = read_card(artifact)
    colors = palette(card.classes)
    source = cv2.VideoCapture(str(video))
    width, height = (
        int(source.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    fourcc, fps = cv2.VideoWriter.fourcc(*"mp4v"), source.get(cv2.CAP_PROP_FPS)
    sink = cv2.VideoWriter(str(target), fourcc, fps, (width, height))
    count = 0
    while True:
        decoded, frame = source.read()
        if not decoded:
            break
        image = np.asarray(frame, dtype=np.uint8)
        batch = to_network_batch(image, card.input.height, card.input.width)
        sink.write(overlay(image, segment(batch, height, width), colors))
        count += 1
    source.release()
    sink.release()
    return count
