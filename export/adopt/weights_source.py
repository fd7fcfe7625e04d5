"""Adoption of networks of PyTorch: weights, or the folder of a library, become a checkpoint."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs
from torch import Tensor, nn

from segdeploy.arrays import Batch
from segdeploy.backends.pytorch import EagerBackend
from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.errors import ConfigError, ModelError, SegdeployError
from segdeploy.inference.self_test import built_in_image
from segdeploy.models.checkpoint import Checkpoint, check_shapes, save_checkpoint
from segdeploy.models.deployed import Deployed
from segdeploy.models.registry import build, check_size

from ..proof import open_proof_images
from .answers import check_threshold, name_classes
from .config import AdoptConfig, Adoption
from .convention import Moments
from .finding import find_convention, open_labeled
from .found import Found
from .label_sets import named_classes
from .observation import observe, warnings
from .state_dict import check_numbers, fitted, unwrapped

WRAPPED = "network."
"""What a library's network has before its names here."""

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)

Moment = tuple[Moments, Moments]


def adopt_found(path: Path, found: Found, config: AdoptConfig) -> Adoption:
    """Write a checkpoint of a network that a source found.

    Args:
        path: What is adopted.
        found: The network and its weights.
        config: The options.

    Raises:
        ConfigError: The options do not fit.
        ModelError: The weights are not those of the network, or it fails on an image.
    """
    _refuse_useless(path, config)
    target = config.target(path, ".pt")
    named = named_classes(config.classes) or found.classes
    channels, weights = _fit_weights(path, found, named)
    check_numbers(weights, path)
    size = config.imgsz or found.size
    if size is None:
        msg = (
            f"{path} does not tell the size of its images; choose it with --imgsz, for example 512"
        )
        raise ConfigError(msg)
    classes, is_added = name_classes(
        "logits", channels, named, background=config.background, source=path
    )
    card = ModelCard(
        architecture=found.architecture,
        arguments=found.arguments,
        classes=classes,
        input=InputSpec(
            height=size[0],
            width=size[1],
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            fit=config.fit or found.fit,
            resample=found.resample,
        ),
        threshold=check_threshold(config.threshold, is_background_added=is_added),
    )
    network = Checkpoint(card=card, weights=weights, state={}).network().network
    check_size(network, size, name=str(path))
    card = structs.replace(card, input=_with_stride(card.input, network, path))
    _check_output(network, card, path)
    images = open_proof_images(
        card,
        dataset=config.dataset,
        data=config.data,
        files=config.files,
        most=config.proof_images,
    )
    finding = find_convention(
        card,
        config.told,
        known=found.convention,
        fixed=None,
        samples=open_labeled(card, dataset=config.dataset, data=config.data),
        make_backend=lambda tried: _backend(network, tried),
        norm_moments=lambda batches, specs: norm_moments(network, batches, specs),
        images=images,
    )
    card = structs.replace(
        card,
        input=finding.convention.apply(card.input),
        conversion={"adopted_from": path.name, "convention": finding.sentence},
    )
    backend = _backend(network, card)
    seen = observe(backend, images, name=path)
    found_warnings = warnings(seen, backend, is_score=found.is_score)
    save_checkpoint(target, Checkpoint(card=card, weights=weights, state={}))
    return Adoption(
        path=target, card=card, finding=finding, warnings=(*found.notes, *found_warnings)
    )


def _refuse_useless(path: Path, config: AdoptConfig) -> None:
    """Raise a ConfigError for options that would have no effect."""
    for name, value in (
        ("--dynamic", config.dynamic),
        ("--output-name", config.output_name),
        ("--stride", config.stride),
    ):
        if value:
            msg = f"{name} cannot be used with {path}: it is for ONNX files; leave it out"
            raise ConfigError(msg)
    if config.answers not in {"auto", "logits"}:
        msg = (
            f"--answers {config.answers} cannot be used with {path}: a checkpoint's network returns"
            " logits; let the network return what comes before its softmax or sigmoid"
        )
        raise ConfigError(msg)


def _fit_weights(
    path: Path, found: Found, named: Sequence[LabelClass] | None
) -> tuple[int, dict[str, Tensor]]:
    """Return the number of channels of a network, and its weights under its own names.

    Raises:
        ModelError: There are none that fit it.
        ConfigError: The network cannot be built.
    """
    tables = [table for one in found.tables for table in unwrapped(one)]
    nearest: tuple[int, Mapping[str, Tensor], Mapping[str, Tensor]] | None = None
    for channels in _possible_channels(found, named, tables):
        with torch.device("meta"):
            expected = build(found.architecture, channels, **found.arguments).state_dict()
        wrapped = WRAPPED if ":" in found.architecture else ""
        for table in tables:
            given = {f"{wrapped}{name}": value for name, value in table.items()}
            weights = fitted(expected, given)
            if weights is not None:
                return _channels_of(found, channels, weights), weights
            shared = sum(
                name in expected and expected[name].shape == value.shape
                for name, value in given.items()
            )
            if nearest is None or shared > nearest[0]:
                nearest = shared, expected, given
    assert nearest is not None, "there is a table and a number of channels"
    check_shapes(
        nearest[1],
        nearest[2],
        problem=f"the weights of {path} do not fit {found.architecture}",
        hint="check --model, --argument and --classes",
    )
    msg = f"the weights of {path} do not fit {found.architecture}; check --model and --argument"
    raise ModelError(msg)


def _possible_channels(
    found: Found, named: Sequence[LabelClass] | None, tables: Sequence[Mapping[str, Tensor]]
) -> list[int]:
    """Return the numbers of channels that a network may have, the likely ones first."""
    if found.channels is not None:
        return [found.channels]
    if named is not None:
        count = len(named)
        return [count, *([count - 1] if count > 1 else [])]
    sizes = [
        value.shape[0]
        for table in tables
        for value in reversed(list(table.values()))
        if value.ndim in (1, 4)
    ]
    return list(dict.fromkeys(size for size in sizes if 0 < size < 256))[:MOST_TRIED]


MOST_TRIED = 12
"""Largest number of channels that are tried where nothing names the classes."""


def _channels_of(found: Found, channels: int, weights: Mapping[str, Tensor]) -> int:
    """Return the number of channels of built weights; a user's own class is run to tell it."""
    if not found.architecture.startswith("code:"):
        return channels
    network = build(found.architecture, channels, **found.arguments)
    network.load_state_dict(dict(weights))
    side = 32 * max(1, int(getattr(network, "stride", 1)))
    with torch.no_grad():
        try:
            return int(network.eval()(torch.zeros(1, 3, side, side)).shape[1])
        except SegdeployError:
            raise
        # A user's own code raises anything.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            msg = f"{found.architecture} fails on an image of {side}x{side}: {reason}; correct it"
            raise ModelError(msg) from error


def _with_stride(spec: InputSpec, network: nn.Module, path: Path) -> InputSpec:
    stride = getattr(network, "stride", spec.stride)
    if spec.height % stride or spec.width % stride:
        msg = (
            f"{path} takes multiples of {stride}, and --imgsz is {spec.height},{spec.width}; choose"
            " another size"
        )
        raise ModelError(msg)
    return structs.replace(spec, stride=stride)


def _check_output(network: nn.Module, card: ModelCard, path: Path) -> None:
    """Run a network on the built-in image.

    Raises:
        ModelError: It fails on an image of that size, or returns something else than logits.
    """
    height, width = card.input.height, card.input.width
    try:
        output = _backend(network, card).run(built_in_image(height, width))
    except SegdeployError:
        raise
    # The code of a library, or of a user, raises anything.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{path} fails on an image of {height}x{width} ({reason}); choose another --imgsz"
        raise ModelError(msg) from error
    if output.ndim != 4 or output.shape[1] != len(card.classes):
        msg = (
            f"{path} returns an output of shape {output.shape}, and --classes names"
            f" {len(card.classes)}; name one for each channel"
        )
        raise ModelError(msg)


def _backend(network: nn.Module, card: ModelCard) -> EagerBackend:
    return EagerBackend(Deployed.of(network, card).eval(), card)


def norm_moments(
    network: nn.Module, batches: Sequence[Batch], specs: Sequence[InputSpec]
) -> list[list[Moment]]:
    """Return for each convention what the batch norms of a network see, and have stored.

    Args:
        network: In evaluation mode.
        batches: A few images, each (1, H, W, 3) uint8 RGB.
        specs: The conventions.
    """
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    if not any(norm.running_mean is not None for norm in norms):
        return []
    return [list(_moments_of(network, norms, batches, spec)) for spec in specs]


def _moments_of(
    network: nn.Module, norms: Sequence[Any], batches: Sequence[Batch], spec: InputSpec
) -> Iterator[Moment]:
    seen: dict[int, list[Tensor]] = {index: [] for index in range(len(norms))}

    def keep(index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: seen[index].append(inputs[0].detach().float())

    hooks = [norm.register_forward_pre_hook(keep(index)) for index, norm in enumerate(norms)]
    deployed = Deployed(network, spec.mean, spec.std, bgr=spec.bgr).eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                deployed(torch.from_numpy(np.ascontiguousarray(batch)))
    finally:
        for hook in hooks:
            hook.remove()
    for norm, values in zip(norms, seen.values(), strict=True):
        if values and norm.running_mean is not None:
            flat = torch.cat([value.transpose(0, 1).flatten(1) for value in values], dim=1)
            yield (
                (flat.mean(1).numpy(), flat.var(1).numpy()),
                (norm.running_mean.numpy(), norm.running_var.numpy()),
            )
