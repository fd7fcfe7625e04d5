"""Folders that `save_pretrained` of segmentation-models-pytorch wrote: config.json and weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdeploy.card import IMAGENET_MEAN, IMAGENET_STD
from segdeploy.errors import ModelError
from segdeploy.models.networks.smp_networks import NAMES

from .config import AdoptConfig, Adoption
from .convention import Convention, describe
from .found import Found, read_config
from .state_dict import read_file
from .weights_source import adopt_found

CONFIG = "config.json"
CLASS_KEY = "_model_class"
HALF_ENCODERS = ("inceptionv4", "inceptionresnetv2", "xception", "tu-xception", "tu-inception")
"""Encoders that were trained on images in [-1, 1]."""

DPN_MEAN = (124 / 255, 117 / 255, 104 / 255)
DPN_STD = (1 / (0.0167 * 255),) * 3
"""What dual path networks were trained with."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def adopt_smp(path: Path, config: AdoptConfig) -> Adoption:
    """Adopt a folder of segmentation-models-pytorch.

    Args:
        path: The folder.
        config: The options.

    Raises:
        ConfigError: The options do not fit it.
        ModelError: It lacks something, or holds a network that is not supported.
    """
    return adopt_found(path, read_folder(path), config)


def read_folder(path: Path) -> Found:
    """Return the network, the weights and the preprocessing of a folder.

    Raises:
        ModelError: It lacks something, or holds a network that is not supported.
    """
    values = read_config(path / CONFIG)
    name = values.get(CLASS_KEY)
    if name not in NAMES:
        msg = f"{path} holds {str(name)[:40]!r}, and smp's networks are {', '.join(NAMES)}"
        raise ModelError(msg)
    channels = values.get("classes", 1)
    if values.get("in_channels", 3) != 3 or not isinstance(channels, int):
        msg = f"{path} holds a network of other inputs than color images, or of no classes"
        raise ModelError(msg)
    weights = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if weights is None:
        msg = f"{path} holds no weights ({' or '.join(WEIGHTS)}); save the network again"
        raise ModelError(msg)
    tables, _ = read_file(weights)
    given = ("in_channels", "classes", "activation", "encoder_weights", CLASS_KEY)
    return Found(
        architecture=f"smp:{name}",
        arguments={key: value for key, value in values.items() if key not in given},
        tables=tables,
        channels=channels,
        convention=_convention(values),
        resample="linear",
    )


def _convention(values: Mapping[str, Any]) -> Convention | None:
    """Return what the encoder's pretrained weights want; None where there are none.

    The library asks its hub for it; these are the values there.
    """
    name, weights = values.get("encoder_name"), values.get("encoder_weights")
    if not isinstance(name, str) or not isinstance(weights, str):
        return None
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if name.startswith(HALF_ENCODERS) or weights == "advprop":
        mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    elif name.startswith("dpn"):
        mean, std = DPN_MEAN, DPN_STD
    return Convention(name=describe(mean, std), mean=mean, std=std)
