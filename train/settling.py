"""What PyTorch is told once, before a run."""

import os

import torch

from segdeploy.machine import cores

from .processes import Processes
from .recipe import Recipe


def settle(recipe: Recipe, device: torch.device, processes: Processes) -> None:
    """Set seed, threads, and how far the device may trade the same bits for speed."""
    torch.manual_seed(recipe.seed)
    if device.type == "cpu":
        torch.set_num_threads(recipe.threads if recipe.threads > 0 else max(1, cores() // processes.size))
        return
    if device.index is not None:
        # Else what names no device, as pinned memory does, would take memory of the first one too.
        torch.cuda.set_device(device)
    # Sizes stay the same from step to step, so that trying all ways of a convolution once pays; which wins is a matter of chance.
    torch.backends.cudnn.benchmark = not recipe.deterministic
    if recipe.deterministic:
        # Asked for by cuBLAS, which reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
