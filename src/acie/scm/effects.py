r"""Effects of an action on all, on some, and on one.

With the two worlds of an individual that share its noise, the effect on that individual is
:math:`Y_{do(x')} - Y`; its mean over the population is the average effect, its mean over the
individuals with a given covariate the conditional one.

References:
    Pearl 2009, Causality, 2nd edition, chapter 7 (counterfactuals); section 1.4.
    Shalit, Johansson & Sontag 2017, ICML, section 2 (average, conditional, individual).
"""

__all__ = ["ConditionalEffect", "Contrast", "association", "contrast"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acie.errors import CausalError, ConfigurationError, NothingSeen
from acie.quantiles import quantiles
from acie.scm.intervals import Estimate, mean_estimate, spread_estimate
from acie.scm.interventions import Intervention, Replace
from acie.scm.language import parse_interventions
from acie.scm.model import StructuralCausalModel
from acie.scm.outcomes import Outcome, causes_of, evaluate_outcome, reached
from acie.variables import Variable

_DEGREE = 5
_RESAMPLES = 400


@dataclass(frozen=True)
class ConditionalEffect:
    """The mean effect on the individuals whose covariate lies in an interval.

    Arguments:
        low: Smallest value of the covariate in the group, factual.
        high: Largest value.
        effect: The mean effect in the group.
    """

    low: float
    high: float
    effect: Estimate


@dataclass(frozen=True, eq=False)
class Contrast:
    """The outcome of the same individuals in two worlds.

    Arguments:
        before: Outcome in the reference world, ``(individual,)``.
        after: Outcome in the acted world, ``(individual,)``.
        state: Factual values of these individuals, each ``(individual,)``.
        possible: Share of the individuals that allow the action; the others are left out.
        index: Which of the individuals these are.
        effective: What they are worth if some of them are repeated draws.
    """

    before: Tensor
    after: Tensor
    state: dict[str, Tensor]
    possible: float
    index: Tensor
    effective: float | None = None

    @property
    def difference(self) -> Tensor:
        """Individual effects, ``(individual,)``."""
        return self.after - self.before

    def average(self, level: float = 0.95) -> Estimate:
        """Average effect with its Monte Carlo error; the noise is common to both worlds."""
        return mean_estimate(self.difference, level)

    def spread(
        self, level: float = 0.68, weights: Tensor | None = None, effective: float | None = None
    ) -> Estimate:
        """Median individual effect, and how much individuals (or draws of one) differ.

        Arguments:
            level: Probability of the interval.
            weights: Weights of the individuals, ``(individual,)``; equal when left out.
            effective: What they are worth; that of the contrast when left out.
        """
        size = self.effective if effective is None else effective
        return spread_estimate(self.difference, level, weights=weights, effective=size)

    def conditional(
        self, by: Tensor, variable: Variable | None = None, groups: int = 4, level: float = 0.95
    ) -> list[ConditionalEffect]:
        """Mean effect in groups of equal size along a factual covariate.

        Arguments:
            by: The covariate, ``(individual,)``, of the individuals of this contrast.
            variable: Its declaration; a binary one has one group for each value.
            groups: Number of groups for a continuous covariate.
            level: Probability of each interval; they hold one by one, not all at once.
        """
        binary = variable is not None and variable.kind == "binary"
        rank = (by > 0.5).long() if binary else by.argsort().argsort() * groups // len(by)
        found = []
        for group in rank.unique():
            inside = rank == group
            effect = mean_estimate(self.difference[inside], level)
            found.append(
                ConditionalEffect(float(by[inside].min()), float(by[inside].max()), effect)
            )
        return found


def contrast(
    model: StructuralCausalModel,
    do: Any,
    outcome: Outcome,
    *,
    values: Mapping[str, Tensor] | None = None,
    noise: Mapping[str, Tensor] | None = None,
    given: Mapping[str, Tensor] | None = None,
    num_samples: int = 4000,
    control: Any = None,
    hold: Iterable[str] = (),
    generator: torch.Generator | None = None,
) -> Contrast:
    """The outcome with and without an action, for the same individuals.

    Arguments:
        model: The causal model.
        do: The action.
        outcome: A variable, or a read-out.
        values: Factual individuals, each ``(individual,)``; drawn from the model when left out.
        noise: Their noise; abducted when left out.
        given: Values of roots for individuals that are drawn.
        num_samples: Number of individuals that are drawn.
        control: Action of the reference world; none when left out.
        hold: Descendants that keep their factual value in both worlds.
        generator: Source of all randomness.

    Raises:
        CausalError: No individual allows the action.
    """
    causes_of(model, outcome)  # refuses an unknown outcome by name
    if values is None:
        values, noise = model.sample((num_samples,), given=given, generator=generator)
    values = model.complete(values)
    noise = model.abduct(values, generator) if noise is None else noise
    worlds = [
        model.predict(noise, values, actions, hold, strict=False)
        for actions in (_parsed(model, control or {}), _parsed(model, do))
    ]
    allowed = torch.stack([~value.isnan() for world in worlds for value in world.values()]).all(0)
    index = allowed.nonzero()[:, 0]
    if index.numel() == 0:
        # Asked strictly, the model says which variable has no room.
        model.predict(noise, values, _parsed(model, do), hold)
        raise CausalError("do", expected="an action that some individual allows", found="none")
    acted = {*_parsed(model, do), *_parsed(model, control or {})}
    kept = [{n: v.expand_as(allowed)[index] for n, v in world.items()} for world in worlds]
    before = evaluate_outcome(outcome, kept[0])
    # An outcome that the action cannot reach has exactly no effect, not one of rounding.
    after = evaluate_outcome(outcome, kept[1]) if reached(model, acted, outcome) else before
    factual = {n: v.expand_as(allowed)[index] for n, v in values.items()}
    return Contrast(before, after, factual, len(index) / allowed.numel(), index)


def association(
    model: StructuralCausalModel,
    do: Any,
    outcome: Outcome,
    values: Mapping[str, Tensor],
    *,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> Estimate:
    r"""What is merely seen: how the outcome differs between individuals that differ so much.

    With m(x) the regression of the outcome on the variable, the mean of
    :math:`m(x') - m(x)`, where x' is what the action would make of x. Nothing is held and
    nothing is acted on, so common causes are part of it; without any, it equals the average
    effect. The regression is a polynomial of degree 5 on the natural scale of the variable.
    Individuals whose x' leaves the range of the others are left out: nothing is seen there.

    Arguments:
        model: Gives the declarations.
        do: An action on one variable.
        outcome: A variable, or a read-out.
        values: Individuals, each ``(individual,)``.
        level: Probability of the interval, from 400 bootstrap resamples.
        generator: Source of the resamples.

    Raises:
        NothingSeen: The action leads outside what the population shows.
    """
    ((name, action),) = _single(model, do)
    variable = model.variables[name]
    target = evaluate_outcome(outcome, values).double()
    x = variable.forward(values[name]).double()
    moved = variable.forward(action.apply(values[name], values)).double()
    inside = (moved >= x.min()) & (moved <= x.max())
    if not bool(inside.any()):
        raise NothingSeen(
            name, expected="an action that leads to values seen in the population",
            found="none", remedy="Association says nothing there; ask for less.",
        )  # fmt: skip
    centre, width = x.mean(), x.std().clamp(min=1e-12)
    degree = min(_DEGREE, len(x.unique()) - 1)
    before, after = (_powers((v - centre) / width, degree) for v in (x, moved[inside]))
    whole = torch.ones(1, len(x), dtype=x.dtype)
    draws = torch.rand(_RESAMPLES, len(x), generator=generator, dtype=x.dtype)
    # Exponential weights: the Bayesian bootstrap, smooth and without empty resamples.
    weights = torch.cat([whole, -draws.clamp(min=1e-300).log()])
    beta = _weighted_fit(before, target, weights)
    part = weights[:, inside]
    step = (part @ after - part @ before[inside]) / part.sum(1, keepdim=True)
    contrasts = (step * beta).sum(1)
    low, high = quantiles(contrasts[1:], [(1 - level) / 2, (1 + level) / 2]).tolist()
    text = "sampling error of the regression (Bayesian bootstrap); not a causal effect"
    return Estimate(float(contrasts[0]), low, high, level, text, int(inside.sum()))


def _powers(x: Tensor, degree: int) -> Tensor:
    return torch.stack([x**power for power in range(degree + 1)], 1)


def _weighted_fit(design: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Least squares for many sets of weights, ``(resample, term)``."""
    terms = design.shape[1]
    outer = (design[:, :, None] * design[:, None, :]).flatten(1)
    gram = (weights @ outer).reshape(-1, terms, terms)
    moment = weights @ (design * target[:, None])
    ridge = 1e-10 * gram.diagonal(dim1=-2, dim2=-1).amax(-1)[:, None, None]
    return torch.linalg.solve(gram + ridge * torch.eye(terms, dtype=design.dtype), moment)


def _parsed(model: StructuralCausalModel, do: Any) -> dict[str, Intervention]:
    return parse_interventions(do, model.variables, model.aliases)


def _single(model: StructuralCausalModel, do: Any) -> list[tuple[str, Any]]:
    actions = list(_parsed(model, do).items())
    if len(actions) != 1 or isinstance(actions[0][1], Replace):
        raise ConfigurationError(
            "do", expected="one action that sets, shifts or scales one variable",
            found=f"{len(actions)} actions",
            remedy="Association compares individuals that differ in one variable.",
        )  # fmt: skip
    return actions
