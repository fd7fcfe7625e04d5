"""Files of weights: whose network they are is told, or recognized by torchvision's names."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segdeploy.card import LabelClass
from segdeploy.datasets.formats.voc import CLASSES as VOC
from segdeploy.errors import ConfigError
from segdeploy.models.registry import build
from segdeploy.system.plugins import load_plugin

from .config import AdoptConfig, Adoption
from .found import Found
from .label_sets import label_classes, named_classes
from .state_dict import fitted, read_file, unwrapped
from .weights_source import WRAPPED, adopt_found

TORCHVISION_SIZE = (520, 520)
"""Size that torchvision's own networks were trained at."""

HEADS = ("classifier.4.weight", "classifier.low_classifier.weight")
"""Names of the last weights of torchvision's networks, whose first axis is that of the classes."""


def adopt_weights(path: Path, config: AdoptConfig) -> Adoption:
    """Adopt a file of weights.

    Args:
        path: What `torch.save` or safetensors wrote.
        config: The options; the network is named, unless it is one of torchvision's.

    Raises:
        ConfigError: No network is named, or none of that name.
        ModelError: The file holds no weights, or not those of the network.
    """
    tables, meta = read_file(path)
    architecture = config.architecture
    if config.code is not None:
        if architecture is not None:
            msg = f"--model {architecture} and --code {config.code} both name a network; give one"
            raise ConfigError(msg)
        architecture = load_code(config.code)
    if architecture is not None:
        found = Found(
            architecture=architecture,
            arguments=config.arguments,
            tables=tables,
            classes=meta_classes(meta),
        )
        return adopt_found(path, found, config)
    recognized = next(_recognize(tables), None)
    if recognized is None:
        msg = (
            f"{path} holds weights and does not say of which network; name it with --model NAME, or"
            " with --code FILE.py:CLASS and --argument KEY=VALUE"
        )
        raise ConfigError(msg)
    return adopt_found(path, recognized, config)


def load_code(code: str) -> str:
    """Execute the file of a user's own network, and return the name of the network here.

    Args:
        code: "FILE.py:CLASS".

    Raises:
        ConfigError: It is something else, or the file cannot be executed.
    """
    file, colon, name = code.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        msg = f"{code!r} is not FILE.py:CLASS; write for example --code network.py:Net"
        raise ConfigError(msg)
    load_plugin(file)
    return f"code:{Path(file).stem}.{name}"


def meta_classes(meta: Mapping[str, Any]) -> tuple[LabelClass, ...] | None:
    """Return the classes in the metadata of mmsegmentation's checkpoints; None without."""
    inner = meta.get("dataset_meta")
    names = (inner if isinstance(inner, Mapping) else {}).get("classes") or meta.get("CLASSES")
    if not isinstance(names, list | tuple) or not names:
        return None
    try:
        return label_classes([str(name) for name in names])
    except ConfigError:
        return None


def _recognize(tables: Sequence[Mapping[str, Tensor]]) -> Iterator[Found]:
    """Yield the networks of torchvision that the weights fit."""
    # The import takes seconds, which weights of a named network do not need.
    from segdeploy.models.networks.torchvision_networks import NAMES

    for one in tables:
        for table in unwrapped(one):
            head = next((table[name] for name in HEADS if name in table), None)
            if head is None or head.ndim != 4:
                continue
            given = {f"{WRAPPED}{name}": value for name, value in table.items()}
            auxiliary = any(name.startswith("aux_classifier.") for name in table)
            kind = _kind_of(table)
            for name in (name for name in NAMES if name.startswith(kind)):
                arguments = {} if name.startswith("lraspp") else {"aux_loss": auxiliary}
                with torch.device("meta"):
                    network = build(f"torchvision:{name}", head.shape[0], **arguments)
                if fitted(network.state_dict(), given) is not None:
                    count = len(VOC)
                    yield Found(
                        architecture=f"torchvision:{name}",
                        arguments=arguments,
                        tables=[table],
                        channels=head.shape[0],
                        classes=named_classes("voc") if head.shape[0] == count else None,
                        size=TORCHVISION_SIZE,
                    )


def _kind_of(table: Mapping[str, Tensor]) -> str:
    """Return the first part of the names of torchvision's networks with such a head."""
    if HEADS[1] in table:
        return "lraspp"
    return "deeplabv3" if "classifier.0.project.0.weight" in table else "fcn"
