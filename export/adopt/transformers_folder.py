"""Folders that `save_pretrained` of transformers wrote: config.json, weights, and a processor."""

import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from segdeploy.card import Resample
from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.foreign import offline
from segdeploy.models.networks.transformers_networks import MEMBERS, NO_DOWNLOAD
from segdeploy.models.registry import build

from .config import AdoptConfig, Adoption
from .convention import Convention, describe
from .found import Found, read_config
from .label_sets import indexed, label_classes
from .weights_source import adopt_found

CONFIG = "config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")

PROCESSOR_KEYS = (
    "crop_size",
    "do_center_crop",
    "do_flip_channel_order",
    "do_normalize",
    "do_rescale",
    "image_mean",
    "image_std",
    "keep_aspect_ratio",
    "resample",
    "rescale_factor",
    "size",
)
"""What is read of an image processor."""

RESAMPLES: Mapping[int, Resample] = {
    1: "pillow-lanczos",
    2: "pillow-bilinear",
    3: "pillow-bicubic",
}
"""Rules by the numbers of Pillow's filters, which processors store."""

NEEDLESS = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "id2label",
    "label2id",
    "num_labels",
    "torch_dtype",
    "transformers_version",
)
"""Entries of a configuration that follow from the classes, or that no network is built from."""

MAX_GROWTH = 8
"""How many times as large as its files a network may be: weights may be stored in 8 bits."""

SPARE_BYTES = 64 << 20
"""What a network of any size may take beside."""


def adopt_transformers(path: Path, config: AdoptConfig) -> Adoption:
    """Adopt a folder of transformers.

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

    Nothing is downloaded, and no code of the folder is executed.

    Raises:
        ModelError: It lacks something, or holds a network that is not supported.
    """
    values = read_config(path / CONFIG)
    kind = values.get("model_type")
    if kind not in MEMBERS:
        msg = (
            f"{path} is of the kind {str(kind)[:40]!r}, and networks of transformers that can be"
            f" adopted are {', '.join(MEMBERS)}"
        )
        raise ModelError(msg)
    labels = values.get("id2label")
    names = indexed(labels) if isinstance(labels, Mapping) else []
    channels = len(names) or _count(values.get("num_labels"))
    arguments = {key: value for key, value in values.items() if key not in NEEDLESS}
    weights = _read_weights(path, str(kind), arguments, channels)
    images = _read_processor(path)
    return Found(
        architecture=f"hf:{kind}",
        arguments=arguments,
        tables=[weights],
        channels=channels,
        classes=label_classes([str(name) for name in names]) if names else None,
        convention=images.convention,
        size=images.size,
        resample=images.resample,
        is_score=MEMBERS[str(kind)].is_query,
        notes=images.notes,
    )


def _count(value: object) -> int:
    """Return a number of classes; the library's default where none is stored."""
    return value if isinstance(value, int) and 0 < value < 256 else 2


def _read_weights(
    path: Path, kind: str, arguments: Mapping[str, Any], channels: int
) -> Mapping[str, Tensor]:
    """Return the weights under the names of today's library, which renames those of older ones.

    Raises:
        ModelError: They are missing, damaged, or not those of the network.
    """
    size = sum(file.stat().st_size for pattern in WEIGHTS for file in path.glob(pattern))
    if not size:
        msg = f"{path} holds no weights ({' or '.join(WEIGHTS)}); save the network again"
        raise ModelError(msg)
    try:
        with torch.device("meta"):
            network = build(f"hf:{kind}", channels, **arguments)
    except ConfigError as error:
        msg = f"{path} cannot be used: {error}"
        raise ModelError(msg) from error
    needed = sum(value.nbytes for value in network.state_dict().values())
    if needed > MAX_GROWTH * size + SPARE_BYTES:
        msg = (
            f"{path} describes a network of {needed} bytes, and its weights have {size}; save the"
            " network again"
        )
        raise ModelError(msg)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        with offline():
            loaded, report = getattr(transformers, MEMBERS[kind].name).from_pretrained(
                path,
                config=transformers.CONFIG_MAPPING[kind].from_dict(
                    {**read_config(path / CONFIG), **NO_DOWNLOAD}
                ),
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except pickle.UnpicklingError as error:
        msg = (
            f"the weights in {path} hold more than tensors and were not loaded; save them as"
            " safetensors"
        )
        raise ModelError(msg) from error
    # The library raises whatever its readers and its own code raise for damaged files.
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        msg = f"the weights in {path} cannot be read ({reason}); save the network again"
        raise ModelError(msg) from error
    for problem in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if names := sorted(map(str, report.get(problem) or ())):
            word = problem.removesuffix("_keys")
            msg = f"the weights in {path} do not fit hf:{kind}: {names[0]} is {word}; save it again"
            raise ModelError(msg)
    weights: Mapping[str, Tensor] = loaded.state_dict()
    return weights


@dataclass(frozen=True, kw_only=True)
class _Images:
    """What a processor does with images."""

    convention: Convention | None = None
    size: tuple[int, int] | None = None
    resample: Resample = "pillow-bilinear"
    notes: tuple[str, ...] = ()


def _read_processor(path: Path) -> _Images:
    """Return what the processor of a folder does; nothing where it has none.

    The library fills in what the file leaves out: each class has defaults of its own.

    Raises:
        ModelError: It cannot be used.
    """
    if not any((path / name).is_file() for name in PROCESSORS):
        return _Images(notes=(f"{path} has no {PROCESSORS[0]}, which tells its images",))
    try:
        with offline():
            processor = transformers.AutoImageProcessor.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
    # The library raises whatever its readers and its own code raise for damaged files.
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        msg = f"the image processor in {path} cannot be used ({reason}); save it again"
        raise ModelError(msg) from error
    values = {key: _plain(getattr(processor, key, None)) for key in PROCESSOR_KEYS}
    notes = []
    if values.get("do_center_crop"):
        notes.append("its processor crops the middle of an image; here the whole is resized")
    size, keeps_aspect = _size(values)
    if keeps_aspect:
        notes.append(
            "its processor keeps the aspect ratio of images; choose --imgsz of the ratio of yours"
        )
    rule = _filter(values.get("resample"))
    if rule not in RESAMPLES:
        notes.append(f"its processor resizes by Pillow's filter {rule}; here it is bilinear")
    return _Images(
        convention=_convention(values, path),
        size=size,
        resample=RESAMPLES.get(rule, "pillow-bilinear"),
        notes=tuple(notes),
    )


def _plain(value: object) -> object:
    """Return a size as a mapping: the library has a class of its own for it."""
    if isinstance(value, Mapping) or not hasattr(value, "shortest_edge"):
        return value
    return {key: getattr(value, key, None) for key in ("height", "width", "shortest_edge")}


def _size(values: Mapping[str, Any]) -> tuple[tuple[int, int] | None, bool]:
    """Return the size that images are resized to, and whether it depends on their shape."""
    size = values.get("crop_size") if values.get("do_center_crop") else values.get("size")
    if isinstance(size, int):
        return (size, size), False
    if not isinstance(size, Mapping):
        return None, False
    height, width = size.get("height"), size.get("width")
    if isinstance(height, int) and isinstance(width, int):
        return (height, width), bool(values.get("keep_aspect_ratio"))
    edge = size.get("shortest_edge")
    return ((edge, edge), True) if isinstance(edge, int) else (None, True)


def _filter(value: object) -> int:
    """Return the number of a filter of Pillow; bilinear where none is stored."""
    return int(value) if isinstance(value, int) else 2


def _convention(values: Mapping[str, Any], path: Path) -> Convention:
    """Return what a processor multiplies, subtracts and divides by.

    Raises:
        ModelError: It is no number.
    """
    factor = values.get("rescale_factor") if values.get("do_rescale") else 1.0
    normalize = values.get("do_normalize")
    mean = _three(values.get("image_mean") if normalize else 0.0)
    std = _three(values.get("image_std") if normalize else 1.0)
    if not isinstance(factor, int | float) or factor <= 0 or not (mean and std) or min(std) <= 0:
        msg = f"{path} has a rescale_factor, mean or std that is no number above 0; correct it"
        raise ModelError(msg)
    # (x * factor - mean) / std, with x up to 255, becomes (x / 255 - mean') / std'.
    unit = 255 * factor
    first, second = ((of[0] / unit, of[1] / unit, of[2] / unit) for of in (mean, std))
    bgr = bool(values.get("do_flip_channel_order"))
    return Convention(name=describe(first, second), mean=first, std=second, bgr=bgr)


def _three(value: object) -> list[float]:
    """Return three finite numbers, of which one stands for all; nothing for something else."""
    numbers = value if isinstance(value, list | tuple) else [value] * 3
    finite = [
        float(number)
        for number in numbers
        if isinstance(number, int | float) and math.isfinite(number)
    ]
    return finite if len(finite) == len(numbers) == 3 else []
