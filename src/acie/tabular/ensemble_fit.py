"""Learning the networks of a location, with predictions of the rows each has not seen."""

__all__ = ["FOLDS", "fit_ensemble", "folds"]

import torch
from torch import Tensor

from acie.scm import NetworkLocation
from acie.tabular.network_fit import Rows, seeded
from acie.variables import Variable

#: Networks of a location. Every row is left out of the training of one of them.
FOLDS = 5
_CHECKS = 20
_EPOCHS = 200
_BATCH = 200
_RATE = 1e-2


def folds(count: int) -> Tensor:
    """The fold of every row, ``(row,)``; rows are taken to be in random order."""
    return torch.arange(count) % FOLDS


def fit_ensemble(
    parents: tuple[Variable, ...],
    rows: Rows,
    scaled: Tensor,
    generator: torch.Generator,
    steps: int,
) -> tuple[NetworkLocation, Tensor]:
    """Networks by least squares, each without the rows of its fold.

    Adam with one cycle of the learning rate. The rows of its fold choose the state of a network
    that is kept, so that few rows are not learned by heart.

    Arguments:
        parents: Declarations of the causes.
        rows: Rows to learn from, double, in random order.
        scaled: Their standardised values, ``(row,)``.
        generator: Source of randomness.
        steps: Largest number of gradient steps; all networks make them together.

    Returns:
        The networks, and for every row the prediction of the one that has not seen it, ``(row,)``.
    """
    location = seeded(generator, lambda: NetworkLocation(parents, members=FOLDS))
    location.features.standardise(rows.causes)
    inputs = location.features(rows.causes, scaled).float()
    values, fold = scaled.float(), folds(len(scaled))
    held = [(fold == member).nonzero().squeeze(-1) for member in range(FOLDS)]
    seen = [(fold != member).nonzero().squeeze(-1) for member in range(FOLDS)]
    # Members differ by one row at most in what they may see: a rectangle of indices.
    pool = torch.stack([index[: min(map(len, seen))] for index in seen])
    batch = min(_BATCH, max(16, pool.shape[1] // 4))
    steps = max(200, min(steps, _EPOCHS * pool.shape[1] // batch))
    parameters = list(location.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    best = torch.full((FOLDS,), float("inf"))
    kept = [parameter.detach().clone() for parameter in parameters]
    for step in range(steps):
        pick = torch.randint(pool.shape[1], (FOLDS, batch), generator=generator)
        index = pool.gather(1, pick)
        optimiser.zero_grad()
        error = location.each(inputs[index]) - values[index]
        error.square().mean(1).sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % max(1, steps // _CHECKS) == 0 or step + 1 == steps:
            best = _keep(location, parameters, kept, best, _errors(location, inputs, values, held))
    with torch.no_grad():
        for parameter, state in zip(parameters, kept, strict=True):
            parameter.copy_(state)
        location = location.double().requires_grad_(False)
        apart = torch.empty_like(scaled)
        for member, index in enumerate(held):
            apart[index] = location.each(inputs[index].double())[member]
    return location, apart


@torch.no_grad()
def _errors(
    location: NetworkLocation, inputs: Tensor, values: Tensor, held: list[Tensor]
) -> Tensor:
    """Mean square error of every member on the rows that it has not seen, ``(member,)``."""
    return torch.stack(
        [
            (location.each(inputs[index])[member] - values[index]).square().mean()
            for member, index in enumerate(held)
        ]
    )


@torch.no_grad()
def _keep(
    location: NetworkLocation,
    parameters: list[Tensor],
    kept: list[Tensor],
    best: Tensor,
    found: Tensor,
) -> Tensor:
    """Copy the members that improved into ``kept``; the best errors, ``(member,)``."""
    better = found < best
    for state, parameter in zip(kept, parameters, strict=True):
        state[better] = parameter[better]
    return torch.where(better, found, best)
