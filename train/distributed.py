"""The processes that train one network together, as `torchrun` starts them: one for each device."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed

from segdeploy.errors import DeviceError, InterruptedRun

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Which of how many processes this is.

    Attributes:
        rank: Number of this process, from 0; the first one writes and speaks.
        size: How many there are.
        local: Number of this process on its machine, which is that of its device.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def total(self, counts: Counts) -> Counts:
        """Return the sum of what all processes counted; whole numbers, so that it is exact."""
        if self.size == 1:
            return counts
        whole = torch.from_numpy(counts.copy())
        distributed.all_reduce(whole)
        total: Counts = whole.numpy()
        return total

    def mean(self, value: float) -> float:
        """Return the mean of the processes' values."""
        return value if self.size == 1 else sum(self.gather(value)) / self.size

    def any(self, *flags: bool) -> list[bool]:
        """Report for each question whether any process says yes."""
        return (
            list(flags)
            if self.size == 1
            else self.total(np.array(flags, np.int64)).astype(bool).tolist()
        )

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - anything that can be pickled
        """Return the values of all processes in their order, to each of them."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def device(self, chosen: torch.device) -> torch.device:
        """Return this process's device: of CUDA devices each process has its own.

        Raises:
            DeviceError: The machine has fewer devices than processes.
        """
        if self.size == 1 or chosen.type != "cuda":
            return chosen
        if self.local >= torch.cuda.device_count():
            msg = (
                f"process {self.local} has no device, since PyTorch has"
                f" {torch.cuda.device_count()}; lower --nproc-per-node"
            )
            raise DeviceError(msg)
        return torch.device("cuda", self.local)


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the other processes, where `torchrun` started several."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    # Gradients go by NCCL between CUDA devices; scores, flags and random states are small and lie
    # in the processors' memory.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(rank=distributed.get_rank(), size=size, local=int(os.environ["LOCAL_RANK"]))
    except InterruptedRun:
        distributed.destroy_process_group()
        raise
    # Not behind any other error: whoever fails alone would wait here for those that wait for it in
    # the middle of a step.
    distributed.destroy_process_group()
