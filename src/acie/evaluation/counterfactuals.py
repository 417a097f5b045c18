"""Counterfactual answers against the truth, for one question and a batch of galaxies."""

__all__ = ["ask"]

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.evaluation.laws import check_laws
from acie.evaluation.population import Population
from acie.evaluation.questions import Question
from acie.evaluation.ranks import fractional_ranks
from acie.results import Abduction, CounterfactualResult
from acie.scm import Do, Intervention
from acie.simulation import SimulatedSet

#: Central interval whose coverage is measured.
LEVEL = 0.68
#: Every such pixel is looked at: neighbours say nearly the same.
STRIDE = 4


def ask(
    engine: CounterfactualEngine,
    population: Population,
    truth: SimulatedSet,
    abduction: Abduction,
    question: Question,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """One question to a batch of galaxies.

    Galaxies whose true state, or most of whose draws, have no allowed value after the action are
    left out: everything is NaN for them.

    Returns:
        ``ranks`` of the true counterfactual values among the draws, ``(batch, variable)``, NaN
        for variables that do not move or were set; ``spectrum_inside`` and ``effect_inside``, the
        share of good pixels whose true counterfactual flux, and change of it, is in the central
        68 % of the draws; ``error``, ``effect_error`` and ``effect``, the root mean squares of the
        error of the median spectrum, of the error of the median change and of the true change,
        all over that of the true counterfactual spectrum; and the laws of :func:`check_laws`; all
        but the first ``(batch,)``.
    """
    actions = question.actions(abduction.posterior.values)
    target = engine.scm.predict(truth.noise, truth.values, actions, strict=False)
    fine = torch.stack([~value.isnan() for value in target.values()]).all(0)
    trial = engine.scm.predict(abduction.noise, abduction.posterior.values, actions, strict=False)
    allowed = torch.stack([~value.isnan() for value in trial.values()]).all(0)
    chosen = fine & (allowed.double().mean(0) >= 0.5)
    found: dict[str, Tensor] = {}
    if not bool(chosen.any()):
        return found
    observation = truth.observation[chosen]
    actions = {name: _part(action, chosen) for name, action in actions.items()}
    result = engine.predict(observation, abduction.galaxies(chosen), actions)
    true_values = {name: value[chosen] for name, value in target.items()}
    measured = {
        "ranks": _state_ranks(population, result, actions, true_values, generator),
        **_spectra(engine, result, truth.clean[chosen], true_values, generator),
        **check_laws(engine, result, actions),
    }
    for name, value in measured.items():
        shape = (len(chosen), *value.shape[1:])
        whole = torch.full(shape, torch.nan, dtype=torch.float64)
        whole[chosen] = value.double()
        found[name] = whole
    return found


def _part(action: Intervention, chosen: Tensor) -> Intervention:
    """The action on some galaxies of the batch; numbers act on all alike."""
    fields = {
        name: value[chosen]
        for name, value in vars(action).items()
        if isinstance(value, Tensor) and value.ndim == 1
    }
    return replace(action, **fields)


def _state_ranks(
    population: Population,
    result: CounterfactualResult,
    actions: Mapping[str, Intervention],
    target: Mapping[str, Tensor],
    generator: torch.Generator,
) -> Tensor:
    factual, effective = result.abduction.posterior.values, result.effective_draws
    columns = []
    for name in population.names:
        # A value that was set is known: there is nothing to cover.
        if result.values[name] is factual[name] or isinstance(actions.get(name), Do):
            columns.append(torch.full_like(target[name], torch.nan))
        else:
            columns.append(
                fractional_ranks(result.values[name], target[name], generator, effective)
            )
    return torch.stack(columns, -1)


def _spectra(
    engine: CounterfactualEngine,
    result: CounterfactualResult,
    clean: Tensor,
    target: Mapping[str, Tensor],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    observation = result.observation
    good = (observation.ivar > 0)[:, ::STRIDE]
    excess = engine.physics.lsf_excess(observation.redshift, observation.lsf)
    with torch.no_grad():
        whole = engine.physics(target, excess)
    true_spectrum, true_change = whole[:, ::STRIDE], (whole - clean)[:, ::STRIDE]
    change = result.change[..., ::STRIDE]
    answers = result.abduction.posterior.spectra[..., ::STRIDE] + change
    effective = result.effective_draws[:, None]

    def inside(draws: Tensor, truth: Tensor) -> Tensor:
        ranks = fractional_ranks(draws, truth.to(draws.dtype), generator, effective)
        hit = (2.0 * ranks - 1.0).abs() <= LEVEL
        return (hit & good).sum(-1) / good.sum(-1)

    def size(value: Tensor) -> Tensor:
        return torch.where(good, value.double(), 0.0).square().sum(-1).sqrt()

    flux = size(true_spectrum)
    return {
        "spectrum_inside": inside(answers, true_spectrum),
        "effect_inside": inside(change, true_change),
        "error": size(answers.median(0).values - true_spectrum) / flux,
        "effect_error": size(change.median(0).values - true_change) / flux,
        "effect": size(true_change) / flux,
    }
