"""Peers: other libraries and plain loops, measured beside segdeploy.

Two kinds: the same network in a loop around one of our artifacts (`peer_loops`), whose masks are
scored like ours; and other libraries' own networks with random weights, which run from image to
mask as the library's documentation shows, and whose masks are not scored.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from msgspec.structs import replace

from segdeploy.arrays import Batch, Image, Mask
from segdeploy.backends.loading import read_card
from segdeploy.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard
from segdeploy.errors import MissingExtraError
from segdeploy.system.machine import cores

from ..results.row import Setting
from ..results.variant import SystemUnderTest, Variant
from .peer_loops import (
    loop_system,
    onnx_loop,
    openvino_loop,
    torch_compile_loop,
    torch_loop,
    torch_mask,
)

ULTRALYTICS_MODEL = "yolo26n-sem"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Code outside segdeploy that turns images into masks.

    Attributes:
        suffixes: Suffixes of the artifacts that it takes.
        library: Name of the module that it imports.
        load: Loads it.
        own_network: Whether it runs a network of its library, so that only the input size and the
            classes are the artifact's.
    """

    suffixes: tuple[str, ...]
    library: str
    load: Callable[[Variant], SystemUnderTest]
    own_network: bool = False


def load_peer(variant: Variant) -> SystemUnderTest:
    """Load the peer that a variant names.

    Raises:
        MissingExtraError: Its library is not installed.
        ModelError: The artifact cannot be used.
    """
    peer = PEERS[variant.peer]
    if find_spec(peer.library) is None:
        raise MissingExtraError(peer.library, "peers")
    return peer.load(variant)


def available_peers(suffixes: set[str]) -> tuple[list[str], list[str]]:
    """Return the names of the peers for artifacts of these suffixes.

    Returns:
        Those whose library is installed, and those whose library is missing.
    """
    fitting = [name for name, peer in PEERS.items() if suffixes & set(peer.suffixes)]
    installed = [name for name in fitting if find_spec(PEERS[name].library)]
    return installed, [name for name in fitting if name not in installed]


def smp_deeplab(variant: Variant) -> SystemUnderTest:
    """Load segmentation-models-pytorch's DeepLabV3+ with MobileNetV2."""
    import segmentation_models_pytorch as smp
    import torch

    card = own_network_card(variant, "smp DeepLabV3+ MobileNetV2", stride=32)
    torch.set_num_threads(variant.threads or cores())
    network = smp.DeepLabV3Plus(
        "mobilenet_v2", encoder_weights=None, classes=len(card.classes)
    ).eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def segment(batch: Batch, height: int, width: int) -> Mask:
        with torch.inference_mode():
            scaled = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
            return torch_mask(network((scaled - mean) / std), height, width)

    return loop_system(variant, card, segment, device="torch cpu", own_network=True)


def transformers_segformer(variant: Variant) -> SystemUnderTest:
    """Load transformers' image-segmentation pipeline with SegFormer-B0.

    It returns a mask of each class that occurs, of the image's size.
    """
    import torch
    import transformers
    from PIL import Image as PillowImage

    card = own_network_card(variant, "SegFormer-B0", stride=32)
    torch.set_num_threads(variant.threads or cores())
    network = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(num_labels=len(card.classes))
    ).eval()
    processor = transformers.SegformerImageProcessor(
        size={"height": card.input.height, "width": card.input.width}
    )
    pipeline: Any = transformers.pipeline(
        "image-segmentation", model=network, image_processor=processor, device="cpu"
    )

    def segment(image: Image) -> Mask:
        rgb = PillowImage.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        mask = np.zeros(image.shape[:2], np.uint8)
        for entry in pipeline(rgb, subtask="semantic"):
            mask[np.asarray(entry["mask"]) > 0] = network.config.label2id[entry["label"]]
        return mask

    return library_system(variant, card, segment, device="transformers cpu")


def ultralytics_semantic(variant: Variant) -> SystemUnderTest:
    """Load Ultralytics' semantic task, run with `predict`, with its smallest network."""
    # Otherwise it reports to its authors that it is used.
    os.environ.setdefault("YOLO_OFFLINE", "true")
    import torch
    from ultralytics import YOLO

    card = own_network_card(variant, ULTRALYTICS_MODEL, stride=32)
    torch.set_num_threads(variant.threads or cores())
    network: Any = YOLO(f"{ULTRALYTICS_MODEL}.yaml", task="semantic")
    size = [card.input.height, card.input.width]

    def segment(image: Image) -> Mask:
        (result,) = network.predict(image, imgsz=size, device="cpu", verbose=False)
        return np.asarray(result.semantic_mask.data.cpu().numpy(), dtype=np.uint8)

    return library_system(variant, card, segment, device="ultralytics cpu")


def library_system(
    variant: Variant, card: ModelCard, segment: Callable[[Image], Mask], *, device: str
) -> SystemUnderTest:
    """Return a library that takes images of any size as a system under test.

    Its network alone cannot be timed apart from the rest.
    """
    setting = Setting(
        architecture=card.architecture,
        precision=card.precision,
        input=(card.input.height, card.input.width),
        device=device,
        threads=variant.threads or cores(),
    )
    return SystemUnderTest(
        setting=setting,
        card=None,
        masks=lambda images: [segment(image) for image in images],
        prepare=lambda images: images[0],
        infer=segment,
    )


def own_network_card(variant: Variant, architecture: str, *, stride: int) -> ModelCard:
    """Return the artifact's card for another network, its input size rounded up to the stride."""
    card = read_card(Path(variant.artifact))
    height, width = (-(-side // stride) * stride for side in (card.input.height, card.input.width))
    return replace(
        card,
        architecture=architecture,
        precision="fp32",
        input=replace(card.input, height=height, width=width),
    )


CHECKPOINT, ONNX = (".pt",), (".onnx",)

PEERS: Mapping[str, Peer] = {
    "torch loop": Peer(suffixes=CHECKPOINT, library="torch", load=torch_loop),
    "torch.compile": Peer(suffixes=CHECKPOINT, library="torch", load=torch_compile_loop),
    "onnxruntime loop": Peer(suffixes=ONNX, library="onnxruntime", load=onnx_loop),
    "openvino loop": Peer(suffixes=ONNX, library="openvino", load=openvino_loop),
    "segmentation-models-pytorch": Peer(
        suffixes=CHECKPOINT + ONNX,
        library="segmentation_models_pytorch",
        load=smp_deeplab,
        own_network=True,
    ),
    "transformers pipeline": Peer(
        suffixes=CHECKPOINT + ONNX,
        library="transformers",
        load=transformers_segformer,
        own_network=True,
    ),
    "ultralytics": Peer(
        suffixes=CHECKPOINT + ONNX,
        library="ultralytics",
        load=ultralytics_semantic,
        own_network=True,
    ),
}
