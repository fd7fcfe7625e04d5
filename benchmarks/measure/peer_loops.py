"""The loops that people write.

A video through a network to an overlay video, with OpenCV around PyTorch or ONNX Runtime.

They are written as a capable person would: at the network's own size, uint8 until the network,
masks enlarged before the best class is taken, nothing computed twice. OpenCV writes MPEG-4 (mp4v),
since pip's OpenCV has no encoder for H.264, which takes longer.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch.nn import functional

from segdeploy.arrays import Image, Mask
from segdeploy.backends.loading import read_card
from segdeploy.card import LabelClass
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.system.machine import cores

OPACITY = 0.5

Answer = Callable[[npt.NDArray[np.uint8], int, int], Mask]
"""From a batch of one image, (1, H, W, 3) uint8 red-green-blue, to its mask of a height and a
width."""


def torch_answer(checkpoint: Path) -> Answer:
    """Run a checkpoint as PyTorch does it best in float32.

    In inference mode, channels last, one thread a core.
    """
    torch.set_num_threads(cores())
    network = load_checkpoint(checkpoint).network().eval().to(memory_format=torch.channels_last)

    def answer(batch: npt.NDArray[np.uint8], height: int, width: int) -> Mask:
        with torch.inference_mode():
            logits = functional.interpolate(
                network(torch.from_numpy(batch)),
                (height, width),
                mode="bilinear",
                align_corners=False,
            )
            return np.asarray(logits.argmax(1)[0].to(torch.uint8).numpy(), dtype=np.uint8)

    return answer


def onnx_answer(artifact: Path) -> Answer:
    """Run an ONNX file in a session as it comes, which takes all of the host's cores.

    OpenCV enlarges the logits.
    """
    session = onnxruntime.InferenceSession(str(artifact), providers=["CPUExecutionProvider"])

    def answer(batch: npt.NDArray[np.uint8], height: int, width: int) -> Mask:
        (logits,) = session.run(None, {"image": batch})
        planes = cv2.resize(
            np.ascontiguousarray(logits[0].transpose(1, 2, 0)),
            (width, height),
            interpolation=cv2.INTER_LINEAR,
        )
        return np.asarray(planes.argmax(2), dtype=np.uint8)

    return answer


def overlay(image: Image, mask: Mask, colors: npt.NDArray[np.uint8]) -> Image:
    """Lay a palette over an image."""
    return np.asarray(cv2.addWeighted(image, 1 - OPACITY, colors[mask], OPACITY, 0), dtype=np.uint8)


def palette(classes: tuple[LabelClass, ...]) -> npt.NDArray[np.uint8]:
    """Return the classes' colors, (K, 3) blue-green-red."""
    return np.array([entry.color[::-1] for entry in classes], np.uint8)


def show(video: Path, target: Path, artifact: Path, answer: Answer) -> int:
    """Run the loop over a video, and give how many frames it wrote."""
    card = read_card(artifact)
    colors = palette(card.classes)
    source = cv2.VideoCapture(str(video))
    width, height = (
        int(source.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    sink = cv2.VideoWriter(
        str(target), cv2.VideoWriter.fourcc(*"mp4v"), source.get(cv2.CAP_PROP_FPS), (width, height)
    )
    count = 0
    while True:
        found, image = source.read()
        if not found:
            break
        small = cv2.cvtColor(
            cv2.resize(image, (card.input.width, card.input.height)), cv2.COLOR_BGR2RGB
        )
        mask = answer(np.ascontiguousarray(small[None], dtype=np.uint8), height, width)
        sink.write(overlay(np.asarray(image, dtype=np.uint8), mask, colors))
        count += 1
    source.release()
    sink.release()
    return count
