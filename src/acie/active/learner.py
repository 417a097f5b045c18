"""The loop of active learning: choose, label, update."""

__all__ = ["ActiveLearner", "Round"]

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from acie.active.regression import GaussianProcess, RegressionPool
from acie.active.selector import UncertaintySelector
from acie.errors import ConfigurationError


@dataclass(frozen=True, eq=False)
class Round:
    """The state after one round.

    Arguments:
        labelled: Number of labels so far.
        index: Positions in the pool labelled in this round.
    """

    labelled: int
    index: Tensor


@dataclass(eq=False)
class ActiveLearner:
    """Learns a function from as few labels as possible.

    The labels are what costs: an observation, or a simulation. The first batch is random, because
    nothing is known yet; every further one is chosen by the selector with what has been learnt.

    Arguments:
        pool: Inputs that can be labelled, of about unit variance, ``(candidate, input)``.
        label: ``positions in the pool -> labels``: observes or simulates.
        selector: Chooses the batches.
        model: The learner; refitted after each batch.
        targets: Inputs at which predictions are wanted; the pool when left out.

    Example:
        >>> x = torch.linspace(-2, 2, 50, dtype=torch.float64)[:, None]
        >>> learner = ActiveLearner(x, lambda index: x[index, 0].sin())
        >>> rounds = list(learner.run(12, 4, torch.Generator().manual_seed(0)))
        >>> rounds[-1].labelled
        12
    """

    pool: Tensor
    label: Callable[[Tensor], Tensor]
    selector: UncertaintySelector = field(default_factory=UncertaintySelector)
    model: GaussianProcess = field(default_factory=GaussianProcess)
    targets: Tensor | None = None

    def run(
        self, budget: int, batch: int, generator: torch.Generator, first: int | None = None
    ) -> Iterator[Round]:
        """Label until the budget is spent; yields after every update of the model.

        Arguments:
            budget: Number of labels in all.
            batch: Labels per round.
            generator: Source of all randomness.
            first: Labels of the random first round; a batch when left out.

        Raises:
            ConfigurationError: The budget exceeds the pool, or is smaller than the first batch.
        """
        first = batch if first is None else first
        if not (2 <= first <= budget <= len(self.pool) and batch >= 1):
            raise ConfigurationError(
                "budget", expected=f"2 <= first batch <= budget <= {len(self.pool)}, the pool",
                found=f"first batch {first}, budget {budget}, batch {batch}",
            )  # fmt: skip
        chosen = torch.randperm(len(self.pool), generator=generator)[:first]
        index = chosen
        labels = self.label(index)
        while True:
            self.model.fit(self.pool[index], labels)
            yield Round(len(index), chosen)
            if len(index) >= budget:
                return
            free = torch.ones(len(self.pool), dtype=torch.bool)
            free[index] = False
            rest = free.nonzero()[:, 0]
            targets = self.pool if self.targets is None else self.targets
            candidates = RegressionPool(self.model, self.pool[rest], targets)
            count = min(batch, budget - len(index))
            chosen = rest[self.selector.select(candidates, count, generator).index]
            index = torch.cat([index, chosen])
            labels = torch.cat([labels, self.label(chosen)])
