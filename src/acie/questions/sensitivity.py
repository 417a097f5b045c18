"""How much an answer depends on the assumptions, beside how much it depends on the data."""

__all__ = ["Sensitivity", "SensitivityRow", "galaxy_sensitivity", "population_sensitivity"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acie.questions.galaxies import COVERS, GalaxyDraws
from acie.scm import StructuralCausalModel
from acie.scm.effects import contrast
from acie.scm.intervals import Estimate
from acie.scm.outcomes import Outcome
from acie.scm.variants import Variant

#: Fewer effective draws than this say nothing; the alternative is refused.
SMALLEST = 10.0
#: So is one that leaves a smaller share of the effective draws than this: what the few say then
#: depends on the tail of the posterior, which draws from its bulk do not know.
SMALLEST_SHARE = 0.2


@dataclass(frozen=True)
class SensitivityRow:
    """The answer under one other assumption.

    Arguments:
        name: Name of the alternative.
        description: The assumption.
        effect: The answer; ``None`` when refused.
        size: Effective number of distinct draws after weighting; infinite without weighting.
        note: Why it was refused; empty otherwise.
    """

    name: str
    description: str
    effect: Estimate | None
    size: float
    note: str = ""


@dataclass(frozen=True)
class Sensitivity:
    """The answer under the model, and under the alternatives.

    Arguments:
        statistical: The answer under the model, with its own interval.
        rows: The answers under the alternatives.
        size: Number of distinct draws behind the statistical answer, as Kish counts them;
            infinite for a population.
    """

    statistical: Estimate
    rows: tuple[SensitivityRow, ...]
    size: float = math.inf

    @property
    def interval(self) -> tuple[float, float]:
        """Smallest and largest central value over the model and the alternatives."""
        values = [e.value for e in self._answers()]
        return min(values), max(values)

    @property
    def envelope(self) -> tuple[float, float]:
        """Smallest lower and largest upper end: assumptions and data together."""
        return min(e.low for e in self._answers()), max(e.high for e in self._answers())

    @property
    def refused(self) -> tuple[str, ...]:
        """Alternatives that the draws cannot speak about."""
        return tuple(row.name for row in self.rows if row.effect is None)

    def _answers(self) -> list[Estimate]:
        return [self.statistical, *(row.effect for row in self.rows if row.effect is not None)]


def galaxy_sensitivity(
    scm: StructuralCausalModel,
    draws: GalaxyDraws,
    do: Any,
    outcome: Outcome,
    variants: Sequence[Variant],
    hold: Sequence[str] = (),
    level: float = 0.68,
) -> Sensitivity:
    """The effect on one galaxy under other assumptions.

    An alternative changes the prior as well as the prediction. The draws are weighted by the
    ratio of the two prior densities (the likelihood does not depend on the causal model), their
    noise is abducted again, and the action is predicted with the alternative mechanisms.

    Arguments:
        scm: The model that the draws came from.
        draws: Posterior draws.
        do: The action.
        outcome: A variable, or a read-out.
        variants: The alternatives.
        hold: Descendants that keep their factual value.
        level: Share of the draws in each interval.
    """
    base = contrast(scm, do, outcome, values=draws.values, noise=draws.noise, hold=hold)
    statistical = base.spread(level, effective=draws.take(base.index).effective)
    statistical = Estimate(**{**statistical.__dict__, "covers": COVERS})
    size = _effective_size(draws.values, torch.ones(len(draws), dtype=torch.float64))
    rows = [_one(scm, draws, do, outcome, variant, hold, level, size) for variant in variants]
    return Sensitivity(statistical, tuple(rows), size)


def _one(
    scm: StructuralCausalModel,
    draws: GalaxyDraws,
    do: Any,
    outcome: Outcome,
    variant: Variant,
    hold: Sequence[str],
    level: float,
    whole: float,
) -> SensitivityRow:
    ratio = variant.log_ratio(scm, draws.values)
    possible = ratio.isfinite()
    weights = (ratio - ratio[possible].max()).exp() if bool(possible.any()) else possible * 0.0
    weights = torch.where(possible, weights, 0.0)
    size = _effective_size(draws.values, weights)
    if size < max(SMALLEST, SMALLEST_SHARE * whole):
        note = f"{size:.0f} of {whole:.0f} effective draws are left; ask for more draws"
        return SensitivityRow(variant.name, variant.description, None, size, note)
    kept = draws.take(possible.nonzero()[:, 0])
    values = variant.complete(kept.values)
    if variant.changed:
        generator = torch.Generator().manual_seed(0)
        again = variant.model.abduct(values, generator)
        # Only changed mechanisms have other noise; thresholds keep the noise drawn before.
        noise = {n: again[n] if n in variant.changed else kept.noise[n] for n in again}
    else:
        noise = kept.noise
    found = contrast(variant.model, do, outcome, values=values, noise=noise, hold=hold)
    effect = found.spread(level, weights[possible][found.index], effective=size)
    effect = Estimate(**{**effect.__dict__, "covers": f"{COVERS}, weighted to the alternative"})
    return SensitivityRow(variant.name, variant.description, effect, size)


def _effective_size(values: Mapping[str, Tensor], weights: Tensor) -> float:
    """Kish's size over distinct draws: draws that repeat count once, with their joint weight."""
    if float(weights.sum()) <= 0.0:
        return 0.0
    key = torch.stack([v for v in values.values() if v.unique().numel() > 2])
    _, index = key.unique(dim=1, return_inverse=True)
    joint = weights.new_zeros(int(index.max()) + 1).index_add(0, index, weights)
    return float(joint.sum() ** 2 / joint.square().sum())


def population_sensitivity(
    scm: StructuralCausalModel,
    do: Any,
    outcome: Outcome,
    variants: Sequence[Variant],
    *,
    given: Mapping[str, Tensor] | None = None,
    num_samples: int = 4000,
    hold: Sequence[str] = (),
    control: Any = None,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> Sensitivity:
    """The average effect over the population under other assumptions.

    Every population is made by its own model from the same noises, so that differences are those
    of the assumptions and not of the draw.
    """

    def average(
        model: StructuralCausalModel, drawn: tuple[dict[str, Tensor], dict[str, Tensor]]
    ) -> Estimate:
        values, noise = drawn
        found = contrast(
            model, do, outcome, values=values, noise=noise, hold=hold, control=control
        )
        return found.average(level)

    values, noise = scm.sample((num_samples,), given=given, generator=generator)
    noise = {name: own for name, own in noise.items() if name not in (given or {})}
    rows = [
        SensitivityRow(
            variant.name,
            variant.description,
            average(variant.model, variant.sample(noise, given)),
            math.inf,
        )
        for variant in variants
    ]
    everything = scm.sample((num_samples,), given=given, noise=noise)
    return Sensitivity(average(scm, everything), tuple(rows))
