"""Card before the first step; seed, threads, determinism."""

import os
import subprocess
from pathlib import Path

import torch
from torch import nn

from segdeploy.card import MAX_SIDE, InputSpec, ModelCard, Training
from segdeploy.datasets.dataset import Dataset, fingerprint
from segdeploy.errors import ConfigError
from segdeploy.system.machine import cores, versions

from .distributed import Processes
from .recipe import Recipe


def make_card(recipe: Recipe, network: nn.Module, train: Dataset, val: Dataset) -> ModelCard:
    """Write down what the network is and what it learns from.

    Raises:
        ConfigError: The input's size does not fit the network.
    """
    height, width = recipe.imgsz
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
    )
    spec = InputSpec(height=height, width=width, mean=recipe.mean, std=recipe.std, stride=stride)
    return ModelCard(
        architecture=recipe.model,
        arguments=dict(recipe.arguments),
        classes=train.classes,
        input=spec,
        training=training,
    )


def check_batch(
    recipe: Recipe, network: nn.Module, *, images: int, processes: int, shared: bool
) -> None:
    """See that every process has an image of each batch, and the norms more than one to take means of where they need it.

    Args:
        recipe: Gives the images of all processes in one step.
        network: Says how many its norms need, in its attribute `least_batch`; one where it has
            none.
        images: How many there are to train on; a batch holds no more.
        processes: How many share a batch.
        shared: Whether their norms take means over all of it, and not over the part of each.

    Raises:
        ConfigError: There are too few.
    """
    least = getattr(network, "least_batch", 1)
    needed = max(least, processes) if shared else least * processes
    held = min(recipe.batch, images)
    if held >= needed:
        return
    why = (
        f"{recipe.model} pools whole images, whose norm needs {least} at least"
        if least > 1
        else "each takes one at least"
    )
    among = f" for {processes} processes" if processes > 1 else ""
    cures = [f"--batch {needed}"] if recipe.batch < needed else []
    if images < needed:
        cures.append(f"--overfit {needed}" if recipe.overfit else "more images")
    msg = f"batch is {held}{among} and {why}; take {' and '.join(cures)}"
    raise ConfigError(msg)


def commit() -> str:
    """Return the commit of the checkout that this code lies in.

    "" for an installed package or where there is no git.
    """
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return ""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True
        )  # noqa: S607 - wherever git is
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def settle(recipe: Recipe, device: torch.device, processes: Processes) -> None:
    """Set seed, threads, and how far the device may trade the same bits for speed."""
    torch.manual_seed(recipe.seed)
    if device.type == "cpu":
        torch.set_num_threads(
            recipe.threads if recipe.threads > 0 else max(1, cores() // processes.size)
        )
        return
    if device.index is not None:
        # Else what names no device, as pinned memory does, would take memory of the first one too.
        torch.cuda.set_device(device)
    # Sizes stay the same from step to step, so that trying all ways of a convolution once pays;
    # which wins is a matter of chance.
    torch.backends.cudnn.benchmark = not recipe.deterministic
    if recipe.deterministic:
        # Asked for by cuBLAS, which reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
