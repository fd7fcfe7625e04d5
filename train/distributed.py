"""Processes that train one network together, as `torchrun` starts them: one per device."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from segdeploy.errors import DeviceError, InterruptedRun

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among all that train together.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        local: Number of this process on its machine, which is the number of its device.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages: the first one."""
        return self.rank == 0

    def sum(self, counts: Counts) -> Counts:
        """Return the sum of all processes' counts; of integers, so that it is exact."""
        if self.size == 1:
            return counts
        tensor = torch.from_numpy(counts.copy())
        distributed.all_reduce(tensor)
        total: Counts = tensor.numpy()
        return total

    def mean(self, value: float) -> float:
        """Return the mean of all processes' values."""
        return value if self.size == 1 else sum(self.gather(value)) / self.size

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process."""
        if self.size == 1:
            return list(flags)
        return [count > 0 for count in self.sum(np.array(flags, np.int64)).tolist()]

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - anything that can be pickled
        """Return the values of all processes, in the order of their ranks, to each of them."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def device(self, chosen: torch.device) -> torch.device:
        """Return this process's device: each process has a CUDA device of its own.

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


SINGLE_PROCESS = Processes()


@contextmanager
def process_group() -> Iterator[Processes]:
    """Join the other processes, where `torchrun` started several.

    Yields:
        This process among them; `SINGLE_PROCESS` without torchrun.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield SINGLE_PROCESS
        return
    # NCCL sums gradients between CUDA devices; scores, flags and random states are small and lie
    # in the CPU's memory.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(rank=distributed.get_rank(), size=size, local=int(os.environ["LOCAL_RANK"]))
    except InterruptedRun:
        distributed.destroy_process_group()
        raise
    # Not after any other error: a process that fails alone would wait here for the others, which
    # wait for it in the middle of a step.
    distributed.destroy_process_group()


def data_parallel(network: nn.Module, device: torch.device) -> DistributedDataParallel:
    """Return a network whose gradients are averaged over all processes."""
    cuda = device.type == "cuda"
    with warnings.catch_warnings():
        # PyTorch 2.15 renames broadcast_buffers; versions before do not know the new name.
        warnings.simplefilter("ignore", FutureWarning)
        # SyncBatchNorm has the same statistics everywhere; other norms take those of the first
        # process.
        return DistributedDataParallel(
            network,
            device_ids=[device] if cuda else None,
            broadcast_buffers=not cuda,
            gradient_as_bucket_view=True,
        )
