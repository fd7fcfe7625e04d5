"""The batch that fits into a device's memory."""

from collections.abc import Callable

import torch


def largest_batch(learn: Callable[[int], object], batch: int, *, least: int = 1) -> int:
    """Find by halving how many pictures can be learned from at once, after so many could not; 0 where not even the least number can.

    Args:
        learn: Takes a whole step with so many pictures; whatever it changes is of no use any more.
        batch: How many did not fit.
        least: How many the network's norms need.
    """
    while (batch := batch // 2) >= least:
        if fits(learn, batch):
            return batch
    return 0


def fits(learn: Callable[[int], object], batch: int) -> bool:
    """Tell whether a step with so many pictures has enough memory; some norms cannot learn from a single one."""
    torch.cuda.empty_cache()
    try:
        learn(batch)
    except (torch.OutOfMemoryError, ValueError):
        return False
    return True


def advice(batch: int, fitting: int, *, least: int = 1, accumulate: int, device: str) -> str:
    """Say what does not fit and what would.

    Args:
        batch: Pictures that did not fit.
        fitting: Pictures that do; 0 for none.
        least: How many the network's norms need.
        accumulate: Batches in a step until now.
        device: Name of the device.
    """
    if not fitting:
        few = "one picture fits" if least == 1 else f"{least} pictures, which this network needs, fit"
        return f"not even {few} into the memory of {device}; lower --imgsz or --crop, or choose a smaller network"
    steps = -(-batch * accumulate // fitting)
    return (
        f"a batch of {batch} does not fit into the memory of {device}, and {fitting} does, as trying by halves showed; train with "
        f"--batch {fitting}, and with --accumulate {steps} for steps of the same size"
    )
