"""Rows with missing values: draws of what is missing, given all that is known."""

__all__ = ["complete_rows"]

from collections.abc import Mapping

import torch
from torch import Tensor

from acie.scm import StructuralCausalModel


def complete_rows(
    scm: StructuralCausalModel,
    values: Mapping[str, Tensor],
    count: int,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], Tensor]:
    r"""Equally weighted draws of complete rows, by likelihood weighting.

    Missing values are drawn from their mechanisms, causes first; every draw has the weight

    .. math:: w = \prod_{v\ \mathrm{observed}} p(v \mid \mathrm{pa}(v)) ,

    and draws are resampled systematically. That values are missing must not depend on what they
    would have been, given what is observed.

    References:
        Fung & Chang 1989, UAI 5: likelihood weighting.

    Arguments:
        scm: The model.
        values: Values by name, NaN where missing, each ``(row,)``.
        count: Draws per row.
        generator: Source of randomness.

    Returns:
        Values of every variable, ``(count, row)`` where some are missing and ``(1, row)`` where
        none is, and the effective share of the draws, ``(row,)``, which is 1 for a row without
        missing values.
    """
    rows = next(iter(values.values())).shape[0]
    state: dict[str, Tensor] = {}
    weight = torch.zeros(count, rows, dtype=torch.float64)
    # A weight that is the same for all draws cancels; only what hangs on a draw is computed.
    open_rows = torch.zeros(rows, dtype=torch.bool)
    for name, mechanism in scm.mechanisms.items():
        parents = {parent: state[parent] for parent in scm.graph.parents(name)}
        value = values[name].unsqueeze(0)
        hole = values[name].isnan()
        if bool(open_rows.any()):
            index = torch.nonzero(open_rows & ~hole)[:, 0]
            some = {parent: v[:, index] for parent, v in parents.items()}
            weight[:, index] += mechanism.log_prob(value[:, index], some)
        if bool(hole.any()):
            index = torch.nonzero(hole)[:, 0]
            some = {parent: v[:, index] for parent, v in parents.items()}
            noise = mechanism.sample_noise((count, len(index)), generator)
            value = value.repeat(count, 1)
            # Where no cause is drawn, the parents have one sample and the noise has many.
            value[:, index] = mechanism.assign(noise, some)
            open_rows = open_rows | hole
        state[name] = value
    if not bool(open_rows.any()):
        return state, torch.ones(rows, dtype=torch.float64)
    shares = weight.nan_to_num(-torch.inf).softmax(0).nan_to_num(1.0 / count)
    confidence = 1.0 / (count * shares.square().sum(0))
    confidence[~open_rows] = 1.0
    index = torch.nonzero(open_rows)[:, 0]
    chosen = _systematic(shares[:, index], generator)
    state = {
        name: value if value.shape[0] == 1 else _resampled(value, index, chosen)
        for name, value in state.items()
    }
    return state, confidence.clamp(max=1.0)


def _systematic(shares: Tensor, generator: torch.Generator) -> Tensor:
    """Indices of systematic resampling of every column, shape as of ``shares``."""
    count, rows = shares.shape
    edges = shares.cumsum(0).T.contiguous()
    start = torch.rand(rows, 1, generator=generator, dtype=shares.dtype)
    places = (torch.arange(count, dtype=shares.dtype) + start) / count
    found = torch.searchsorted(edges, places * edges[:, -1:]).clamp(max=count - 1)
    # Shuffled, because discrete noise that is drawn later must not follow the order.
    order = torch.rand(rows, count, generator=generator).argsort(1)
    return found.gather(1, order).T


def _resampled(value: Tensor, index: Tensor, chosen: Tensor) -> Tensor:
    value = value.clone()
    value[:, index] = value[:, index].gather(0, chosen)
    return value
