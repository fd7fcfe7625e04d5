"""The loops that others would write around the same pictures, each as a thing that turns pictures into masks.

Two kinds: the same network in another loop, whose masks are judged like ours; and other libraries' networks with random weights, whose
work is theirs from picture to mask, and whose masks say nothing. All are written as a capable person would, by the library's own manual.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Mask, Picture
from segdeploy.backends.loading import read_card
from segdeploy.card import ModelCard
from segdeploy.errors import MissingExtraError, ModelError
from segdeploy.system.machine import cores

from ..results.row import Setting
from ..results.variant import Way
from .subject import Subject

Batch = npt.NDArray[np.uint8]
"""(1, H, W, 3) uint8, red-green-blue, of the network's size."""

Answer = Callable[[Batch, int, int], Mask]
"""From a batch of one picture to its mask of a height and a width."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One loop.

    Attributes:
        endings: Endings of the artifacts that it can be given.
        library: What it imports.
        make: Loads it.
        foreign: Whether it runs a network of its library's own, so that the artifact gives it nothing but a size.
    """

    endings: tuple[str, ...]
    library: str
    make: Callable[[Way], Subject]
    foreign: bool = False


def rival(way: Way) -> Subject:
    """Load the loop that a way names.

    Raises:
        MissingExtraError: Its library is not installed.
        ModelError: The artifact cannot be used.
    """
    found = RIVALS[way.peer]
    if find_spec(found.library) is None:
        raise MissingExtraError(found.library, "peers")
    return found.make(way)


def installed(endings: set[str]) -> tuple[list[str], list[str]]:
    """Give the loops for artifacts of these endings whose library is installed, and those whose library is not."""
    wanted = [name for name, one in RIVALS.items() if endings & set(one.endings)]
    here = [name for name in wanted if find_spec(RIVALS[name].library)]
    return here, [name for name in wanted if name not in here]


def small(picture: Picture, height: int, width: int) -> Batch:
    """Bring a picture to a network's size and order, as OpenCV's manual has it."""
    return np.ascontiguousarray(
        cv2.cvtColor(cv2.resize(picture, (width, height)), cv2.COLOR_BGR2RGB)[None], dtype=np.uint8
    )


def loop(way: Way, card: ModelCard, answer: Answer, *, device: str, ours: bool = True) -> Subject:
    """Wrap what answers one batch; the network alone is what gives a mask of the network's own size."""
    height, width = card.input.height, card.input.width
    setting = Setting(
        architecture=card.architecture,
        precision=card.precision,
        input=(height, width),
        device=device,
        threads=way.threads or cores(),
    )

    def masks(pictures: Sequence[Picture]) -> list[Mask]:
        return [answer(small(picture, height, width), *picture.shape[:2]) for picture in pictures]

    return Subject(
        setting=setting,
        card=card if ours else None,
        masks=masks,
        # One picture at a time, as loops go.
        prepare=lambda pictures: small(pictures[0], height, width),
        infer=lambda batch: answer(batch, height, width),
    )


def torch_loop(way: Way) -> Subject:
    """Run a checkpoint in PyTorch, as `segdeploy.benchmarks.studies.video_loops` does beside `run`."""
    import torch

    from .peer_loops import torch_answer

    answer = torch_answer(Path(way.artifact))
    torch.set_num_threads(way.threads or cores())
    return loop(way, read_card(Path(way.artifact)), answer, device="torch cpu")


def torch_compiled(way: Way) -> Subject:
    """Run a checkpoint through torch.compile, with the enlargement compiled too; compiling counts for the cold start."""
    import torch
    from torch.nn import functional

    from segdeploy.models.checkpoint import load_checkpoint

    torch.set_num_threads(way.threads or cores())
    network = (
        load_checkpoint(Path(way.artifact)).network().eval().to(memory_format=torch.channels_last)
    )
    compiled = torch.compile(network)

    def answer(batch: Batch, height: int, width: int) -> Mask:
        with torch.inference_mode():
            logits = functional.interpolate(
                compiled(torch.from_numpy(batch)),
                (height, width),
                mode="bilinear",
                align_corners=False,
            )
            return np.asarray(logits.argmax(1)[0].to(torch.uint8).numpy())

    return loop(way, read_card(Path(way.artifact)), answer, device="torch.compile cpu")


def onnx_loop(way: Way) -> Subject:
    """Run an ONNX file in ONNX Runtime, which takes all of the host's cores unless it is told; OpenCV enlarges the logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = way.threads or 0
    session = onnxruntime.InferenceSession(
        way.artifact, options, providers=["CPUExecutionProvider"]
    )

    def answer(batch: Batch, height: int, width: int) -> Mask:
        return enlarged(session.run(None, {"image": batch})[0], height, width)

    return loop(way, card_with_logits(way), answer, device="onnxruntime CPUExecutionProvider")


def enlarged(logits: npt.NDArray[np.float32], height: int, width: int) -> Mask:
    """Enlarge every plane of (1, K, h, w) logits with OpenCV, and take the best class."""
    planes = cv2.resize(
        np.ascontiguousarray(logits[0].transpose(1, 2, 0)),
        (width, height),
        interpolation=cv2.INTER_LINEAR,
    )
    return np.asarray(planes.argmax(2), dtype=np.uint8)


def openvino_loop(way: Way) -> Subject:
    """Run an ONNX file in OpenVINO, for the shortest time of one picture; OpenCV enlarges the logits."""
    import openvino

    card = card_with_logits(way)
    shape = [1, card.input.height, card.input.width, 3]
    core = openvino.Core()
    network = core.read_model(way.artifact)
    network.reshape({"image": shape})
    compiled = core.compile_model(
        network,
        "CPU",
        {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": way.threads or cores()},
    )

    def answer(batch: Batch, height: int, width: int) -> Mask:
        return enlarged(compiled(batch)[0], height, width)

    return loop(way, card, answer, device="openvino CPU")


def card_with_logits(way: Way) -> ModelCard:
    """Read the card of a file whose answers a plain loop can enlarge.

    Raises:
        ModelError: The file answers no logits.
    """
    card = read_card(Path(way.artifact))
    if card.output != "logits":
        msg = f"{way.artifact} answers {card.output}; a plain loop enlarges logits, so export it with --output logits"
        raise ModelError(msg)
    return card


def smp_loop(way: Way) -> Subject:
    """Run segmentation-models-pytorch's DeepLabV3+ on MobileNetV2, at the artifact's size or the next that 32 divides."""
    import segmentation_models_pytorch as smp
    import torch
    from torch.nn import functional

    card = foreign(way, "smp DeepLabV3+ MobileNetV2", 32)
    torch.set_num_threads(way.threads or cores())
    network = smp.DeepLabV3Plus(
        "mobilenet_v2", encoder_weights=None, classes=len(card.classes)
    ).eval()
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )

    def answer(batch: Batch, height: int, width: int) -> Mask:
        with torch.inference_mode():
            numbers = (torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255 - mean) / std
            logits = functional.interpolate(
                network(numbers), (height, width), mode="bilinear", align_corners=False
            )
            return np.asarray(logits.argmax(1)[0].to(torch.uint8).numpy())

    return loop(way, card, answer, device="torch cpu", ours=False)


def transformers_pipeline(way: Way) -> Subject:
    """Run transformers' image-segmentation pipeline on SegFormer-B0; it gives a mask of each class that it finds, of the picture's size."""
    import torch
    import transformers
    from PIL import Image

    card = foreign(way, "SegFormer-B0", 32)
    torch.set_num_threads(way.threads or cores())
    network = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(num_labels=len(card.classes))
    ).eval()
    processor = transformers.SegformerImageProcessor(
        size={"height": card.input.height, "width": card.input.width}
    )
    pipeline: Any = transformers.pipeline(
        "image-segmentation", model=network, image_processor=processor, device="cpu"
    )

    def mask(picture: Picture) -> Mask:
        classes = np.zeros(picture.shape[:2], np.uint8)
        for found in pipeline(
            Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)), subtask="semantic"
        ):
            classes[np.asarray(found["mask"]) > 0] = network.config.label2id[found["label"]]
        return classes

    return own_way(way, card, mask, device="transformers cpu")


def own_way(way: Way, card: ModelCard, mask: Callable[[Picture], Mask], *, device: str) -> Subject:
    """Wrap a library that takes pictures of any size and does all else itself; its network alone cannot be told from the rest."""
    setting = Setting(
        architecture=card.architecture,
        precision=card.precision,
        input=(card.input.height, card.input.width),
        device=device,
        threads=way.threads or cores(),
    )
    return Subject(
        setting=setting,
        card=None,
        masks=lambda pictures: [mask(picture) for picture in pictures],
        prepare=lambda pictures: pictures[0],
        infer=mask,
    )


def ultralytics_predict(way: Way) -> Subject:
    """Run Ultralytics' semantic task with `predict`, on its smallest network."""
    import torch
    from ultralytics import YOLO

    card = foreign(way, ULTRALYTICS, 32)
    torch.set_num_threads(way.threads or cores())
    network: Any = YOLO(f"{ULTRALYTICS}.yaml", task="semantic")
    size = [card.input.height, card.input.width]

    def mask(picture: Picture) -> Mask:
        (found,) = network.predict(picture, imgsz=size, device="cpu", verbose=False)
        return np.asarray(found.semantic_mask.data.cpu().numpy(), dtype=np.uint8)

    return own_way(way, card, mask, device="ultralytics cpu")


ULTRALYTICS = "yolo26n-sem"


def foreign(way: Way, architecture: str, stride: int) -> ModelCard:
    """Give a card that says another network at the artifact's size, or the next larger one that the stride divides."""
    card = read_card(Path(way.artifact))
    height, width = (-(-side // stride) * stride for side in (card.input.height, card.input.width))
    return replace(
        card,
        architecture=architecture,
        precision="fp32",
        input=replace(card.input, height=height, width=width),
    )


CHECKPOINT, ONNX = (".pt",), (".onnx",)

RIVALS: Mapping[str, Rival] = {
    "torch loop": Rival(endings=CHECKPOINT, library="torch", make=torch_loop),
    "torch.compile": Rival(endings=CHECKPOINT, library="torch", make=torch_compiled),
    "onnxruntime loop": Rival(endings=ONNX, library="onnxruntime", make=onnx_loop),
    "openvino loop": Rival(endings=ONNX, library="openvino", make=openvino_loop),
    "segmentation-models-pytorch": Rival(
        endings=CHECKPOINT + ONNX,
        library="segmentation_models_pytorch",
        make=smp_loop,
        foreign=True,
    ),
    "transformers pipeline": Rival(
        endings=CHECKPOINT + ONNX, library="transformers", make=transformers_pipeline, foreign=True
    ),
    "ultralytics": Rival(
        endings=CHECKPOINT + ONNX, library="ultralytics", make=ultralytics_predict, foreign=True
    ),
}
