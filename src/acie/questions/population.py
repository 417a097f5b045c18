"""Questions about the population: seeing, doing, and for whom."""

__all__ = ["PopulationAnswer", "population_effect"]

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from acie.errors import NothingSeen
from acie.scm import StructuralCausalModel, parse_interventions
from acie.scm.effects import ConditionalEffect, association, contrast
from acie.scm.intervals import Estimate
from acie.scm.interventions import Replace
from acie.scm.outcomes import Outcome


@dataclass(frozen=True)
class PopulationAnswer:
    """One question on two rungs of the ladder.

    Arguments:
        seen: How the outcome differs between galaxies that differ as the action asks; ``None``
            for several actions at once, or where nothing like it is seen.
        average: The average effect of the action.
        spread: How individual effects differ: median and central 68 %.
        positive: Share of the individuals whose outcome rises.
        possible: Share of the individuals that allow the action.
        groups: Effects in groups along a covariate.
    """

    seen: Estimate | None
    average: Estimate
    spread: Estimate
    positive: float
    possible: float
    groups: tuple[ConditionalEffect, ...]


def population_effect(
    scm: StructuralCausalModel,
    do: Any,
    outcome: Outcome,
    *,
    redshift: float = 0.1,
    by: str | None = None,
    hold: Sequence[str] = (),
    control: Any = None,
    num_samples: int = 4000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> PopulationAnswer:
    """Association, average, conditional and individual effects over the population of the model.

    Arguments:
        scm: The causal model.
        do: The action.
        outcome: A variable, or a read-out.
        redshift: Redshift of the population.
        by: Covariate of the conditional effects, factual.
        hold: Descendants that keep their factual value.
        control: Action of the reference world; none when left out.
        num_samples: Number of galaxies.
        level: Probability of the intervals of means.
        generator: Source of all randomness.
    """
    scm.variables["redshift"].check(torch.tensor(redshift, dtype=torch.float64))
    given = {"redshift": torch.tensor(redshift, dtype=torch.float64)}
    values, noise = scm.sample((num_samples,), given=given, generator=generator)
    found = contrast(
        scm, do, outcome, values=values, noise=noise, hold=hold, control=control,
        generator=generator,
    )  # fmt: skip
    actions = parse_interventions(do, scm.variables, scm.aliases)
    comparable = len(actions) == 1 and not control and not hold
    comparable = comparable and not isinstance(next(iter(actions.values())), Replace)
    seen = None
    if comparable and outcome not in actions:
        # An action may lead where no galaxy is: nothing is seen there, which is an answer.
        with contextlib.suppress(NothingSeen):
            seen = association(scm, do, outcome, values, level=level, generator=generator)
    groups: list[ConditionalEffect] = []
    if by is not None:
        name = scm.graph.require(scm.aliases.get(by, by))
        groups = found.conditional(found.state[name], scm.variables[name], level=level)
    difference = found.difference
    return PopulationAnswer(
        seen, found.average(level), found.spread(),
        float((difference > 0).double().mean()), found.possible, tuple(groups),
    )  # fmt: skip
