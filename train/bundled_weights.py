"""Weights of the bundled network as the start of a training, rebuilt from its ONNX file.

Its batch norms were folded into the convolutions. They are put back with the statistics that the
images of the training have there, so that the network returns the same, and trains as one whose
norms were never folded.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from segdeploy import assets, models
from segdeploy.backends.onnx_metadata import GRAPH, fields, read_message, read_metadata
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.datasets.dataset import Dataset, evenly_spaced
from segdeploy.errors import ModelError
from segdeploy.imaging.contrast import as_color
from segdeploy.imaging.preprocess import to_batch
from segdeploy.models.checkpoint import shapes_of

INITIALIZER = 5
"""Field of a graph that holds one of its tensors; onnx.proto numbers these and the following."""

DIMENSION, NAME, RAW_DATA = 1, 8, 9

PREFIX, FOLDED_BIAS = "network.", "_bias"
"""Before the names of the network's tensors; behind that of a weight with its norm folded in."""

IMAGES = 8
"""Images from which the statistics of the norms are taken."""


def is_bundled(weights: str) -> bool:
    """Return whether weights are named that are bundled; int8 ones cannot be trained.

    Raises:
        ModelError: They are in int8.
    """
    if weights == assets.STREET_INT8:
        msg = f"{weights} is quantized and cannot be trained; start from --weights {assets.STREET}"
        raise ModelError(msg)
    return weights == assets.STREET


def bundled_card() -> ModelCard:
    """Return the card of the bundled network.

    Raises:
        ModelError: This installation has no bundled models.
    """
    path = assets.locate(assets.STREET)
    return ModelCard.from_json(read_metadata(path)[CARD_KEY], source=str(path))


def load_bundled(network: nn.Module, train: Dataset, *, card: ModelCard) -> list[str]:
    """Load the bundled weights into a network, and return the names of tensors left random.

    These are the auxiliary head, which no file has, and with other classes the last layer.

    Args:
        network: Of the card's architecture and arguments, with random weights.
        train: The images to train on, some of which go through the network.
        card: What `bundled_card` returned.

    Raises:
        ModelError: The weights do not fit.
    """
    path = assets.locate(assets.STREET)
    found = dict(_tensors(path))
    own = network.state_dict()
    same = [entry.name for entry in card.classes] == [entry.name for entry in train.classes]
    loaded = {name: tensor for name, tensor in found.items() if name in own}
    shapes = shapes_of(own)
    if not same:
        loaded = {name: one for name, one in loaded.items() if shapes[name] == tuple(one.shape)}
    if not loaded or any(shapes[name] != tuple(one.shape) for name, one in loaded.items()):
        msg = (
            f"the weights of {assets.STREET} fit {card.architecture} with {dict(card.arguments)}"
            " only; leave out other arguments"
        )
        raise ModelError(msg)
    network.load_state_dict({**own, **loaded})
    folded = {
        name.removesuffix(f".weight{FOLDED_BIAS}"): bias
        for name, bias in found.items()
        if name.endswith(FOLDED_BIAS) and name not in own
    }
    norms = _unfold(network, folded, _images(train, card), card=card)
    return sorted(
        name
        for name, parameter in network.named_parameters()
        if name not in loaded and name.rpartition(".")[0] not in norms
    )


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield name and values of the network's tensors in an ONNX file."""
    [graph] = [value for number, value in fields(memoryview(read_message(path))) if number == GRAPH]
    assert isinstance(graph, memoryview)
    for number, value in fields(graph):
        if number != INITIALIZER or not isinstance(value, memoryview):
            continue
        shape, name, raw = [], "", b""
        for part, content in fields(value):
            if part == DIMENSION and isinstance(content, int):
                shape.append(content)
            elif part == NAME and isinstance(content, memoryview):
                name = bytes(content).decode()
            elif part == RAW_DATA and isinstance(content, memoryview):
                raw = bytes(content)
        if name.startswith(PREFIX):
            values = np.frombuffer(raw, "<f4").reshape(shape).copy()
            yield name.removeprefix(PREFIX), torch.from_numpy(values)


def _images(train: Dataset, card: ModelCard) -> Tensor:
    # Of images of other bands, norms see what a viewer would.
    images = [as_color(train[index].image) for index in evenly_spaced(len(train), IMAGES)]
    return torch.from_numpy(to_batch(images, card.input))


def _unfold(
    network: nn.Module, biases: Mapping[str, Tensor], images: Tensor, *, card: ModelCard
) -> set[str]:
    """Put the batch norms behind folded convolutions back, and return their names.

    Args:
        network: Its convolutions have the folded weights.
        biases: What each folded norm adds, by the name of its convolution.
        images: (N, H, W, 3) uint8 RGB.
        card: Mean and deviation of the input.
    """
    named = list(network.named_modules())
    hooks: list[RemovableHandle] = []
    norms = set()
    for (name, module), (following, norm) in pairwise(named):
        if isinstance(module, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and name in biases:
            hooks.append(norm.register_forward_pre_hook(_Identity(biases[name])))
            norms.add(following)
    deployed = models.Deployed(network, card.input.mean, card.input.std).eval()
    try:
        with torch.no_grad():
            deployed(images)
    finally:
        for hook in hooks:
            hook.remove()
    return norms


class _Identity:
    """Lets a norm keep the mean and deviation of its features, and add a bias."""

    def __init__(self, bias: Tensor) -> None:
        self._bias = bias

    def __call__(self, norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        [features] = inputs
        variance, mean = torch.var_mean(features, (0, 2, 3), correction=0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(self._bias + mean)
