"""Adoption of PyTorch weights of another project: they become a checkpoint."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import structs
from torch import Tensor

from segdeploy.card import ModelCard
from segdeploy.errors import ModelError
from segdeploy.models.checkpoint import (
    Checkpoint,
    is_state_dict,
    read_tensors,
    save_checkpoint,
)

KEYS = ("state_dict", "model_state_dict", "model", "weights", "net")
"""Keys under which trainers store the weights."""

HINT = "save them with torch.save(network.state_dict(), ...)"


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Return weights by their names; only tensors and plain values are built from the file.

    Raises:
        ModelError: The file is missing or damaged, holds other objects, or no weights.
    """
    content = read_tensors(path, hint=HINT)
    tables = []
    if isinstance(content, dict):
        tables = [content, *(content[key] for key in KEYS if key in content)]
    for table in tables:
        if table and is_state_dict(table):
            # DistributedDataParallel adds the prefix to every name.
            return {str(name).removeprefix("module."): value for name, value in table.items()}
    msg = f"{path} holds no weights; {HINT}"
    raise ModelError(msg)


def adopt_weights(path: Path, card: ModelCard, target: Path) -> None:
    """Write a checkpoint of weights.

    Args:
        path: File of the weights.
        card: The network, its arguments, classes and input; the stride becomes the network's.
        target: Name of the checkpoint.

    Raises:
        ModelError: The file holds no weights, or not those of the network; or the input's size is
            not a multiple of the network's stride.
    """
    checkpoint = Checkpoint(card=card, weights=read_weights(path), state={})
    spec = card.input
    stride = getattr(checkpoint.network().network, "stride", spec.stride)
    if spec.height % stride or spec.width % stride:
        msg = (
            f"{card.architecture} takes multiples of {stride}, and --imgsz is"
            f" {spec.height},{spec.width}; choose another size"
        )
        raise ModelError(msg)
    card = structs.replace(card, input=structs.replace(spec, stride=stride))
    save_checkpoint(target, Checkpoint(card=card, weights=checkpoint.weights, state={}))
