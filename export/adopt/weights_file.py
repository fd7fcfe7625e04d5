"""Files of weights: whose network they are is told, or recognized by torchvision's names."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError
from segdeploy.models.registry import build

from .config import AdoptConfig, Adoption
from .found import Found
from .label_sets import VOC, label_classes, named_classes
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
    if config.architecture is not None:
        found = Found(
            architecture=config.architecture,
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
            for name in NAMES:
                arguments = {} if name.startswith("lraspp") else {"aux_loss": auxiliary}
                with torch.device("meta"):
                    network = build(f"torchvision:{name}", head.shape[0], **arguments)
                if fitted(network.state_dict(), given) is not None:
                    count = len(VOC.split(","))
                    yield Found(
                        architecture=f"torchvision:{name}",
                        arguments=arguments,
                        tables=[table],
                        channels=head.shape[0],
                        classes=named_classes("voc") if head.shape[0] == count else None,
                        size=TORCHVISION_SIZE,
                    )
