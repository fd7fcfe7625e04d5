"""Set-up of a run: seeds, threads, determinism, and the model card before the first step."""

import os
import subprocess
from pathlib import Path

import torch
from torch import nn

from segdeploy import models
from segdeploy.backends.pytorch import device_name
from segdeploy.card import MAX_SIDE, ModelCard, Training
from segdeploy.datasets.dataset import Dataset, fingerprint
from segdeploy.errors import ConfigError
from segdeploy.models.channels import RGB
from segdeploy.models.registry import check_size, named
from segdeploy.system.machine import cores, memory_limit, versions
from segdeploy.system.schema import shown

from .bands import input_spec
from .distributed import Processes
from .recipe import Recipe

UNBUILDABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What networks, also those of plugins, raise for arguments that they did not expect."""

COPIES = 2
"""Weights and their gradients, the least that a training holds."""


def seed_everything(recipe: Recipe, device: torch.device, processes: Processes) -> None:
    """Set the seed, the threads, and whether the device must be deterministic."""
    torch.manual_seed(recipe.seed)
    if device.type == "cpu":
        shared = max(1, cores() // processes.size)
        torch.set_num_threads(recipe.threads if recipe.threads > 0 else shared)
        return
    if device.index is not None:
        # Otherwise what names no device, such as pinned memory, also takes memory of the first one.
        torch.cuda.set_device(device)
    # Shapes stay the same from step to step, so that trying all algorithms once pays; which is the
    # fastest varies from run to run.
    torch.backends.cudnn.benchmark = not recipe.deterministic
    if recipe.deterministic:
        # cuBLAS reads this variable when it is first used, and PyTorch requires it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)


def build_network(recipe: Recipe, *, classes: int, channels: int = RGB) -> nn.Module:
    """Build a network with random weights, once it is known that the machine can hold it.

    Args:
        recipe: Names the network and its arguments.
        classes: Number of classes, K.
        channels: Channels of the images that it takes.

    Raises:
        ConfigError: There is no such network, it cannot be built with these arguments, or training
            it takes more memory than there is.
    """
    arguments = recipe.arguments
    try:
        # On the meta device weights take no memory, and no random number is drawn.
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            state = models.build(recipe.model, classes, channels=channels, **arguments).state_dict()
    except UNBUILDABLE as error:
        msg = (
            f"the network {recipe.model!r} cannot be built with {shown(dict(arguments))}"
            f" ({' '.join(str(error).split())[:200]}); change its arguments"
        )
        raise ConfigError(msg) from error
    needed = COPIES * sum(weight.nbytes for weight in state.values())
    memory = memory_limit()
    if memory is not None and needed > memory:
        msg = (
            f"training {recipe.model!r} with {shown(dict(arguments))} takes at least"
            f" {needed / 2**30:.3g} GiB and this machine has {memory / 2**30:.3g} GiB; choose a"
            " smaller network"
        )
        raise ConfigError(msg)
    return models.build(recipe.model, classes, channels=channels, **arguments)


def build_card(recipe: Recipe, network: nn.Module, train: Dataset, val: Dataset) -> ModelCard:
    """Return the card of a network before its first step.

    Raises:
        ConfigError: The size of the input does not fit the network.
    """
    height, width = recipe.imgsz
    for size in (recipe.imgsz, recipe.train_size):
        check_size(network, size, name=named(recipe.model, recipe.arguments))
    stride = network.stride
    assert isinstance(stride, int)
    if height % stride or width % stride or max(height, width) > MAX_SIDE:
        msg = (
            f"imgsz is {height},{width}; each side must be a multiple of {stride} for"
            f" {recipe.model}, up to {MAX_SIDE}"
        )
        raise ConfigError(msg)
    training = Training(
        dataset=recipe.dataset,
        data_hash=fingerprint(train=train, val=val),
        recipe=recipe.to_dict(),
        versions=dict(versions()),
        seed=recipe.seed,
        epochs=0,
        commit=commit(),
        split=train.rule if recipe.final else val.rule,
        folder=str(Path(recipe.data).absolute()) if recipe.data else "",
    )
    return ModelCard(
        architecture=recipe.model,
        arguments=dict(recipe.arguments),
        classes=train.classes,
        input=input_spec(recipe, stride=stride),
        training=training,
    )


def describe(
    train: Dataset, val: Dataset, device: torch.device, recipe: Recipe, processes: Processes
) -> str:
    """Return how many images a run has, and where it is trained, for the user."""
    chosen = " (chosen, since --device is auto)" if recipe.device == "auto" else ""
    threads = f" with {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    others = f" and {processes.size - 1} more" if processes.size > 1 else ""
    return (
        f"{len(train)} images, {len(val)} to validate, on"
        f" {device_name(device)}{others}{threads}{chosen}"
    )


def commit() -> str:
    """Return the commit of the checkout that holds this code; "" for an installed package."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - wherever git is
            cwd=checkout,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
