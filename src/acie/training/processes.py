"""The processes of a run: who does what, and waiting for one another."""

__all__ = ["Processes"]

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import distributed

from acie.training.devices import DevicePlan

Item = TypeVar("Item")


class Processes:
    """The group of processes that this one belongs to; a group of one needs no messages.

    Arguments:
        rank: Number of this process, from 0.
        size: How many there are.
        device: Where this one computes.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | str = "cpu") -> None:
        self.rank, self.size, self.device = rank, size, torch.device(device)

    @classmethod
    def start(cls, plan: DevicePlan) -> "Processes":
        """Start the others, or find them where a launcher (torchrun, SLURM, Ray) has.

        Without a launcher Lightning runs this program again, with the same arguments, once for
        each further process.
        """
        if distributed.is_available() and distributed.is_initialized():
            device = plan.device
            if device.type == "cuda":
                device = torch.device("cuda", torch.cuda.current_device())
            return cls(distributed.get_rank(), distributed.get_world_size(), device)
        if plan.processes == 1:
            return cls(device=plan.device)
        fabric = plan.launcher()
        fabric.launch()
        return cls(fabric.global_rank, fabric.world_size, fabric.device)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            cuda = distributed.get_backend() == "nccl"
            distributed.barrier(device_ids=[self.device.index] if cuda else None)

    def first(self, work: Callable[[], object]) -> None:
        """Work of the first process alone, for which the others wait."""
        if self.rank == 0:
            work()
        self.wait()

    def share(self, items: Sequence[Item]) -> list[Item]:
        """What this process has to do of what the first one sees to be done."""
        seen = [list(items)]
        if self.size > 1:
            # A list of files may have grown between two looks at it: one look counts.
            distributed.broadcast_object_list(seen, device=self._messages)
        return seen[0][self.rank :: self.size]

    def part(self, rows: int) -> slice:
        """The rows of this process, out of so many."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    @property
    def _messages(self) -> torch.device:
        return self.device if distributed.get_backend() == "nccl" else torch.device("cpu")
