"""The loops that others would write around the same images, each as a thing that turns images into masks.

Two kinds: the same network in another loop, whose masks are judged like ours; and other libraries'
networks with random weights, whose work is theirs from image to mask, and whose masks say
nothing. All are written as a capable person would, by the library's own manual.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image, Mask
from segdeploy.backends.loading import read_card
from segdeploy.card import ModelCard
from segdeploy.errors import MissingExtraError, ModelError
from segdeploy.system.machine import cores

from ..results.row import Setting
from ..results.variant import Variant
from .subject import SystemUnderTest

Batch = npt.NDArray[np.uint8]
"""(1, H, W, 3) uint8, red-green-blue, of the network's size."""

Answer = Callable[[Batch, int, int], Mask]
"""From a batch of one image to its mask of a height and a width."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One loop.

    Attributes:
        endings: Endings of the artifacts that it can be given.
        library: What it imports.
        make: Loads it.
        foreign: Whether it runs a network of its library's own, so that the artifact gives it
            nothing but a size.
    """

    endings: tuple[str, ...]
    library: str
    make: Callable[[Variant], SystemUnderTest]
    foreign: bool = False


def peer(way: Variant) -> SystemUnderTest:
    """Load the loop that a way names.

    Raises:
        MissingExtraError: Its library is not installed.
        ModelError: The artifact cannot be used.
    """
    found = PEERS[way.peer]
    if find_spec(found.library) is None:
        raise MissingExtraError(found.library, "peers")
    return found.make(way)


def installed(endings: set[str]) -> tuple[list[str], list[str]]:
    """Return the loops for artifacts of these endings whose library is installed, and those whose library is not."""
    wanted = [name for name, one in PEERS.items() if endings & set(one.endings)]
    here = [name for name in wanted if find_spec(PEERS[name].library)]
    return here, [name for name in wanted if name not in here]


def small(image: Image, height: int, width: int) -> Batch:
    """Bring an image to a network's size and order, as OpenCV's manual has it."""
    return np.ascontiguousarray(
        cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB)[None], dtype=np.uint8
    )


def loop(
    way: Variant, card: ModelCard, answer: Answer, *, device: str, ours: bool = True
) -> SystemUnderTest:
    """Wrap what answers one batch.

    The network alone is what gives a mask of the network's own size.
    """
    height, width = card.input.height, card.input.width
    setting = Setting(
        architecture=card.architecture,
        precision=card.precision,
        input=(height, width),
        device=device,
        threads=way.threads or cores(),
    )

    def masks(images: Sequence[Image]) -> list[Mask]:
        return [answer(small(image, height, width), *image.shape[:2]) for image in images]

    return SystemUnderTest(
        setting=setting,
        card=card if ours else None,
        masks=masks,
        # One image at a time, as loops go.
        prepare=lambda images: small(images[0], height, width),
        infer=lambda batch: answer(batch, height, width),
    )


def torch_loop(way: Variant) -> SystemUnderTest:
    """Run a checkpoint in PyTorch, as `segdeploy.benchmarks.studies.video_loops` does beside `run`."""
    import torch

    from .peer_loops import torch_answer

    answer = torch_answer(Path(way.artifact))
    torch.set_num_threads(way.threads or cores())
    return loop(way, read_card(Path(way.artifact)), answer, device="torch cpu")


def torch_compiled(way: Variant) -> SystemUnderTest:
    """Run a checkpoint through torch.compile, with the enlargement compiled too.

    Compiling counts for the cold start.
    """
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


def onnx_loop(way: Variant) -> SystemUnderTest:
    """Run an ONNX file in ONNX Runtime, which takes all of the host's cores unless it is told.

    OpenCV enlarges the logits.
    """
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


def openvino_loop(way: Variant) -> SystemUnderTest:
    """Run an ONNX file in OpenVINO, for the shortest time of one image.

    OpenCV enlarges the logits.
    """
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


def card_with_logits(way: Variant) -> ModelCard:
    """Read the card of a file whose answers a plain loop can enlarge.

    Raises:
        ModelError: The file answers no logits.
    """
    card = read_card(Path(way.artifact))
    if card.output != "logits":
        msg = (
            f"{way.artifact} answers {card.output}; a plain loop enlarges logits, so export it with"
            " --output logits"
        )
        raise ModelError(msg)
    return card


def smp_loop(way: Variant) -> SystemUnderTest:
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


def transformers_pipeline(way: Variant) -> SystemUnderTest:
    """Run transformers' image-segmentation pipeline on SegFormer-B0.

    It gives a mask of each class that it finds, of the image's size.
    """
    import torch
    import transformers
    from PIL import Image as PillowImage

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

    def mask(image: Image) -> Mask:
        classes = np.zeros(image.shape[:2], np.uint8)
        for found in pipeline(
            PillowImage.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)), subtask="semantic"
        ):
            classes[np.asarray(found["mask"]) > 0] = network.config.label2id[found["label"]]
        return classes

    return own_way(way, card, mask, device="transformers cpu")


def own_way(
    way: Variant, card: ModelCard, mask: Callable[[Image], Mask], *, device: str
) -> SystemUnderTest:
    """Wrap a library that takes images of any size and does all else itself.

    Its network alone cannot be told from the rest.
    """
    setting = Setting(
        architecture=card.architecture,
        precision=card.precision,
        input=(card.input.height, card.input.width),
        device=device,
        threads=way.threads or cores(),
    )
    return SystemUnderTest(
        setting=setting,
        card=None,
        masks=lambda images: [mask(image) for image in images],
        prepare=lambda images: images[0],
        infer=mask,
    )


def ultralytics_predict(way: Variant) -> SystemUnderTest:
    """Run Ultralytics' semantic task with `predict`, on its smallest network."""
    import torch
    from ultralytics import YOLO

    card = foreign(way, ULTRALYTICS, 32)
    torch.set_num_threads(way.threads or cores())
    network: Any = YOLO(f"{ULTRALYTICS}.yaml", task="semantic")
    size = [card.input.height, card.input.width]

    def mask(image: Image) -> Mask:
        (found,) = network.predict(image, imgsz=size, device="cpu", verbose=False)
        return np.asarray(found.semantic_mask.data.cpu().numpy(), dtype=np.uint8)

    return own_way(way, card, mask, device="ultralytics cpu")


ULTRALYTICS = "yolo26n-sem"


def foreign(way: Variant, architecture: str, stride: int) -> ModelCard:
    """Return a card that says another network at the artifact's size, or the next larger one that the stride divides."""
    card = read_card(Path(way.artifact))
    height, width = (-(-side // stride) * stride for side in (card.input.height, card.input.width))
    return replace(
        card,
        architecture=architecture,
        precision="fp32",
        input=replace(card.input, height=height, width=width),
    )


CHECKPOINT, ONNX = (".pt",), (".onnx",)

PEERS: Mapping[str, Peer] = {
    "torch loop": Peer(endings=CHECKPOINT, library="torch", make=torch_loop),
    "torch.compile": Peer(endings=CHECKPOINT, library="torch", make=torch_compiled),
    "onnxruntime loop": Peer(endings=ONNX, library="onnxruntime", make=onnx_loop),
    "openvino loop": Peer(endings=ONNX, library="openvino", make=openvino_loop),
    "segmentation-models-pytorch": Peer(
        endings=CHECKPOINT + ONNX,
        library="segmentation_models_pytorch",
        make=smp_loop,
        foreign=True,
    ),
    "transformers pipeline": Peer(
        endings=CHECKPOINT + ONNX, library="transformers", make=transformers_pipeline, foreign=True
    ),
    "ultralytics": Peer(
        endings=CHECKPOINT + ONNX, library="ultralytics", make=ultralytics_predict, foreign=True
    ),
}
