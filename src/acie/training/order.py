"""The order in which simulations are seen: the same for any number of processes."""

__all__ = ["GlobalBatches"]

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from acie.errors import ConfigurationError
from acie.training.processes import Processes


class GlobalBatches(Sampler[Tensor]):
    """The share of one process in a shuffled epoch.

    One permutation of all rows is cut into batches; each batch is cut into the parts that are
    computed after one another, and each part into the shares of the processes. A sum over parts
    and processes is therefore a sum over the same rows in every setting, and a rest that does not
    fill a batch is left out for this epoch.

    Arguments:
        rows: Number of rows.
        batch: Rows per optimiser step, of all processes.
        generator: Of the permutation; the same in every process.
        accumulate: Parts of a batch.
        processes: Who shares the work.
    """

    def __init__(
        self,
        rows: int,
        batch: int,
        generator: torch.Generator,
        accumulate: int = 1,
        processes: Processes | None = None,
    ) -> None:
        group = Processes() if processes is None else processes
        steps = rows // batch
        if steps == 0:
            raise ConfigurationError(
                "batch",
                expected=f"at most {rows}, the rows to train on in the first epoch",
                found=str(batch),
                remedy="Simulate more before the first epoch (initial), or keep fewer aside.",
            )
        order = torch.randperm(rows, generator=generator)[: steps * batch]
        shares = order.view(steps, accumulate, group.size, -1)
        self._batches = shares[:, :, group.rank].flatten(0, 1)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._batches)
