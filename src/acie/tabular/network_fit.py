"""Learning by gradient steps: splines and probabilities."""

__all__ = ["Rows", "fit_probabilities", "fit_spline", "seeded", "select", "train"]

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acie.scm import FlowMechanism, LearnedProbabilities
from acie.variables import Variable

_CHECKS = 20
_EPOCHS = 200


@dataclass(frozen=True)
class Rows:
    """The rows that one mechanism can learn from.

    Arguments:
        value: Physical values of the variable, ``(row,)``.
        causes: Physical values of its causes, each ``(row,)``.
    """

    value: Tensor
    causes: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.value)

    def take(self, index: Tensor) -> "Rows":
        """Some of the rows."""
        return Rows(self.value[index], {name: v[index] for name, v in self.causes.items()})

    def float(self) -> "Rows":
        """In single precision, for training."""
        return Rows(self.value.float(), {name: v.float() for name, v in self.causes.items()})


def train(
    module: nn.Module,
    loss: Callable[[Rows], Tensor],
    fitted: Rows,
    checked: Rows,
    generator: torch.Generator,
    steps: int,
    rate: float = 1e-2,
    batch: int = 1000,
) -> nn.Module:
    """Adam with one cycle of the learning rate; the best state on the checked rows is kept.

    Arguments:
        module: What is trained, in place.
        loss: Mean loss of rows.
        fitted: Rows that the steps see, single precision.
        checked: Rows that choose the state.
        generator: Chooses the batches.
        steps: Number of steps.
        rate: Largest learning rate.
        batch: Rows of a step, fewer when there are few.
    """
    # Few rows are seen often enough in fewer steps.
    batch = min(batch, max(16, len(fitted) // 4))
    steps = max(200, min(steps, _EPOCHS * len(fitted) // batch))
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    best, kept = float("inf"), None
    for step in range(steps):
        index = torch.randint(len(fitted), (batch,), generator=generator)
        optimiser.zero_grad()
        loss(fitted.take(index)).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % max(1, steps // _CHECKS) == 0 or step + 1 == steps:
            with torch.no_grad():
                found = float(loss(checked))
            if found < best:
                best, kept = found, copy.deepcopy(module.state_dict())
    if kept is not None:
        module.load_state_dict(kept)
    return module


def seeded(generator: torch.Generator, build: Callable[[], nn.Module]) -> nn.Module:
    """A module whose initial weights come from the generator."""
    # They come from the global state of torch, which is put back.
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def fit_spline(
    variable: Variable,
    parents: tuple[Variable, ...],
    fitted: Rows,
    checked: Rows,
    generator: torch.Generator,
    steps: int,
) -> FlowMechanism:
    """A conditional spline flow by maximum likelihood.

    Arguments:
        variable: The variable, for its natural scale.
        parents: Declarations of the causes.
        fitted: Rows to learn from, double.
        checked: Rows that choose the state.
        generator: Source of randomness.
        steps: Largest number of gradient steps.
    """
    flow = seeded(
        generator, lambda: FlowMechanism(parents, variable.transform, hidden=(64, 64, 64))
    )
    flow.standardise(fitted.value, fitted.causes)

    def loss(part: Rows) -> Tensor:
        return -flow.log_prob(part.value, part.causes).mean()

    train(flow, loss, fitted.float(), checked.float(), generator, steps, rate=5e-3, batch=500)
    return flow.double().requires_grad_(False)


def fit_probabilities(
    variable: Variable,
    parents: tuple[Variable, ...],
    fitted: Rows,
    checked: Rows,
    generator: torch.Generator,
    hidden: tuple[int, ...],
    steps: int,
) -> LearnedProbabilities:
    """Probabilities of the values of a discrete variable, by maximum likelihood."""
    count = len(variable.values)
    table = seeded(generator, lambda: LearnedProbabilities(parents, count, hidden))
    table.features.standardise(fitted.causes)
    levels = torch.tensor(variable.values)
    # Half a count for every value: a value that is rare is not thereby impossible.
    index = torch.bucketize(fitted.value.float(), levels)
    share = (torch.bincount(index, minlength=count) + 0.5) / (len(fitted) + 0.5 * count)
    with torch.no_grad():
        table.linear[-1].bias.copy_(share.log())
    if not parents:
        return table.double().requires_grad_(False)

    def loss(part: Rows) -> Tensor:
        logs = table(part.causes, part.value)
        chosen = torch.bucketize(part.value, levels)
        return -logs.gather(-1, chosen[:, None]).mean()

    train(table, loss, fitted.float(), checked.float(), generator, steps)
    return table.double().requires_grad_(False)


def select(scores: list[Tensor], margin: float = 2.0) -> int:
    """The candidate to keep: the first unless a later one is clearly better.

    Candidates come from the fewest assumptions on the data to the most. A later one replaces the
    one kept when its mean held-out log likelihood is larger by ``margin`` standard errors of the
    difference of the same rows, which guards against choosing by chance.

    Arguments:
        scores: Held-out log likelihood of every row, one tensor per candidate.
        margin: In standard errors.
    """
    kept = 0
    for number in range(1, len(scores)):
        gain = scores[number] - scores[kept]
        error = gain.std() / len(gain) ** 0.5
        # A row that the kept candidate finds impossible makes the gain infinite.
        if not bool(scores[kept].isfinite().all()) or float(gain.mean()) > margin * float(error):
            kept = number
    return kept
