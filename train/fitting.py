"""The batch that fits into a device's memory."""

from collections.abc import Callable

import torch


def largest_batch(learn: Callable[[int], object], batch: int) -> int:
    """Find by halving how many pictures can be learned from at once, after so many could not; 0 where not even one can.

    Args:
        learn: Takes a whole step with so many pictures; whatever it changes is of no use any more.
        batch: How many did not fit.
    """
    while batch := batch // 2:
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


def advice(batch: int, fitting: int, *, accumulate: int, device: str) -> str:
    """Say what does not fit and what would.

    Args:
        batch: Pictures that did not fit.
        fitting: Pictures that do; 0 for none.
        accumulate: Batches in a step until now.
        device: Name of the device.
    """
    if not fitting:
        return f"not even one picture fits into the memory of {device}; lower --imgsz or --crop, or choose a smaller network"
    steps = -(-batch * accumulate // fitting)
    return (
        f"a batch of {batch} does not fit into the memory of {device}, and {fitting} does, as trying by halves showed; train with "
        f"--batch {fitting}, and with --accumulate {steps} for steps of the same size"
    )
