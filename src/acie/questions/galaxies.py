"""Questions about observed galaxies: effects, paths, differences, targets.

Everything is asked of posterior draws, draw by draw; intervals are the spread over the draws,
which is what one spectrum leaves open when the causal model is taken as true.
"""

__all__ = [
    "Explanation",
    "GalaxyDraws",
    "draws_of",
    "explain_difference",
    "explain_effect",
    "galaxy_effect",
    "mediated_effect",
    "path_effects",
    "seek_target",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from acie.quantiles import effective_draws
from acie.results import Abduction
from acie.scm import StructuralCausalModel, parse_interventions
from acie.scm.attribution import (
    Attribution,
    attribute_causes,
    attribute_difference,
    attribute_edges,
)
from acie.scm.effects import Contrast, contrast
from acie.scm.intervals import Estimate, spread_estimate
from acie.scm.mediation import directed_paths, natural_effects, path_effect
from acie.scm.outcomes import Outcome, causes_of, reached
from acie.scm.targets import TargetSearch, seek

COVERS = "posterior draws of this galaxy; the causal model is taken as true"
#: Draws for attributions, which evaluate thousands of hybrid galaxies for each draw.
_ATTRIBUTED = 64


@dataclass(frozen=True, eq=False)
class GalaxyDraws:
    """Posterior draws of one galaxy.

    Arguments:
        values: Every variable, each ``(draw,)``.
        noise: Noise of every random variable, each ``(draw,)``.
    """

    values: dict[str, Tensor]
    noise: dict[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def effective(self) -> float:
        """What the draws are worth: some are repeated."""
        return float(effective_draws(self.values))

    def take(self, index: Tensor) -> "GalaxyDraws":
        """Some of the draws."""
        return GalaxyDraws(
            {name: value[index] for name, value in self.values.items()},
            {name: value[index] for name, value in self.noise.items()},
        )

    def thinned(self, count: int) -> "GalaxyDraws":
        """At most ``count`` draws, evenly taken."""
        if len(self) <= count:
            return self
        return self.take(torch.arange(count) * len(self) // count)


def draws_of(abduction: Abduction, galaxy: int = 0) -> GalaxyDraws:
    """The draws of one galaxy of an abduction."""
    values = abduction.posterior.values
    shape = torch.broadcast_shapes(*(value.shape for value in values.values()))
    return GalaxyDraws(
        {name: value.expand(shape)[:, galaxy] for name, value in values.items()},
        {name: value.expand(shape)[:, galaxy] for name, value in abduction.noise.items()},
    )


def galaxy_effect(
    scm: StructuralCausalModel,
    draws: GalaxyDraws,
    do: Any,
    outcome: Outcome,
    hold: Sequence[str] = (),
) -> Contrast:
    """The effect on this galaxy, draw by draw (individual effect)."""
    found = contrast(scm, do, outcome, values=draws.values, noise=draws.noise, hold=hold)
    return replace(found, effective=draws.take(found.index).effective)


@dataclass(frozen=True, eq=False)
class Explanation:
    """How a difference is shared out.

    Central values are means over the draws, because means add up and medians do not.

    Arguments:
        total: The whole difference.
        shares: The part of every player, largest first; they add up to the whole.
        exact: Whether all coalitions were computed.
        error: Largest standard error from sampling coalitions.
    """

    total: Estimate
    shares: dict[str, Estimate]
    exact: bool
    error: float

    @classmethod
    def of(
        cls, attribution: Attribution, level: float = 0.68, effective: float | None = None
    ) -> "Explanation":
        """From an attribution of draws, ``(player, draw)``, and what the draws are worth."""
        shares = {
            name: _mean_and_spread(row, level, effective)
            for name, row in zip(attribution.players, attribution.shares, strict=True)
        }
        ordered = sorted(shares, key=lambda name: -abs(shares[name].value))
        return cls(
            _mean_and_spread(attribution.total, level, effective),
            {name: shares[name] for name in ordered},
            attribution.exact,
            float(attribution.error.max()),
        )


def _mean_and_spread(draws: Tensor, level: float, effective: float | None) -> Estimate:
    spread = spread_estimate(draws, level, COVERS, effective=effective)
    return replace(spread, value=float(draws.mean()))


def explain_effect(
    scm: StructuralCausalModel, draws: GalaxyDraws, do: Any, outcome: Outcome
) -> dict[str, Explanation]:
    """Which first steps, and which direct causes of the outcome, carry an effect.

    Returns:
        ``first_steps`` (shares of the edges out of the acted variables) and ``causes`` (shares of
        the direct causes of the outcome). Each adds up to the total effect.
    """
    draws = _possible(scm, draws.thinned(4 * _ATTRIBUTED), do)
    found = {"first_steps": attribute_edges(scm, do, outcome, draws.values, draws.noise)}
    actions = parse_interventions(do, scm.variables, scm.aliases)
    moved = [n for n in causes_of(scm, outcome) if n in actions or reached(scm, actions, n)]
    if moved and outcome not in actions:
        found["causes"] = attribute_causes(scm, do, outcome, draws.values, draws.noise)
    size = draws.effective
    return {name: Explanation.of(a, effective=size) for name, a in found.items()}


def path_effects(
    scm: StructuralCausalModel,
    draws: GalaxyDraws,
    do: Any,
    outcome: Outcome,
    paths: Sequence[Sequence[str]] | None = None,
    most: int = 8,
) -> dict[str, Estimate]:
    """The effect along single paths, all others closed, largest first.

    Single paths need not add up to the total: they interact.

    Arguments:
        scm: The causal model.
        draws: Posterior draws.
        do: The action.
        outcome: A variable, or a read-out.
        paths: Paths to report; all of them when left out.
        most: Number of paths to report.
    """
    draws = _possible(scm, draws.thinned(_ATTRIBUTED), do)
    actions = parse_interventions(do, scm.variables, scm.aliases)
    if paths is None:
        every = [path for name in actions for path in directed_paths(scm, name, outcome)]
        paths = [path for path in every if set(path[1:]).isdisjoint(actions)]
    effects = {
        ">".join(path): path_effect(scm, do, outcome, [path], draws.values, draws.noise)
        for path in paths
    }
    ordered = sorted(effects, key=lambda path: -float(effects[path].mean().abs()))
    size = draws.effective
    return {
        path: spread_estimate(effects[path], covers=COVERS, effective=size)
        for path in ordered[:most]
    }


def mediated_effect(
    scm: StructuralCausalModel,
    draws: GalaxyDraws,
    do: Any,
    outcome: Outcome,
    mediators: Sequence[str],
) -> dict[str, Estimate]:
    """Total, natural direct and natural indirect effect, and their interaction."""
    draws = _possible(scm, draws, do)
    found = natural_effects(scm, do, outcome, mediators, draws.values, draws.noise)
    named = {
        "total": found.total, "direct": found.direct, "indirect": found.indirect,
        "interaction": found.interaction,
    }  # fmt: skip
    # A nested world may leave a variable no room where the plain one does not.
    kept = torch.stack([value.isfinite() for value in named.values()]).all(0)
    size = draws.take(kept.nonzero()[:, 0]).effective if bool(kept.any()) else None
    return {
        name: spread_estimate(value[kept], covers=COVERS, effective=size)
        for name, value in named.items()
    }


def explain_difference(
    scm: StructuralCausalModel,
    first: GalaxyDraws,
    second: GalaxyDraws,
    outcome: Outcome,
    groups: Mapping[str, Sequence[str]] | None = None,
    generator: torch.Generator | None = None,
) -> Explanation:
    """Why the second galaxy has another outcome than the first (second minus first).

    A variable is credited with its own noise: with what makes it unusual for its causes.
    """
    count = min(len(first), len(second), _ATTRIBUTED)
    one, two = first.thinned(count), second.thinned(count)
    attribution = attribute_difference(
        scm, (one.values, one.noise), (two.values, two.noise), outcome,
        groups=groups, generator=generator,
    )  # fmt: skip
    # If one of the two varies little, the pairs are worth what the draws of the other are.
    return Explanation.of(attribution, effective=min(one.effective, two.effective))


def seek_target(
    scm: StructuralCausalModel,
    draws: GalaxyDraws,
    by: str,
    outcome: Outcome,
    target: float | Tensor,
    hold: Sequence[str] = (),
) -> TargetSearch:
    """The smallest change of one variable that gives this galaxy the wished outcome."""
    return seek(scm, by, outcome, target, draws.values, draws.noise, hold=hold)


def _possible(scm: StructuralCausalModel, draws: GalaxyDraws, do: Any) -> GalaxyDraws:
    """The draws that allow the action; refused when fewer than half do."""
    actions = parse_interventions(do, scm.variables, scm.aliases)
    world = scm.predict(draws.noise, draws.values, actions, strict=False)
    allowed = torch.stack([~value.isnan().expand(len(draws)) for value in world.values()]).all(0)
    if float(allowed.double().mean()) < 0.5:
        scm.predict(draws.noise, draws.values, actions)
    return draws if bool(allowed.all()) else draws.take(allowed.nonzero()[:, 0])
