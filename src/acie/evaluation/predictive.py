"""Posterior predictive checks: could this spectrum have come from its own posterior?"""

__all__ = ["check_spectra"]

from dataclasses import replace

import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.evaluation.population import random_rows
from acie.observation import Observation
from acie.results import PosteriorSamples
from acie.simulation import SpectrumLikelihood


def check_spectra(
    engine: CounterfactualEngine,
    observation: Observation,
    posterior: PosteriorSamples,
    replicates: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Discrepancies of the observed spectra against those of replicated ones.

    For each of some draws a spectrum is drawn from the noise model; chi2 per pixel of the standard
    residuals, and how far residuals exceed their errors in bins of five pixels compared with
    single ones (correlated misfit), are computed for the observed and for the replicated one.

    References:
        Gelman, Meng & Stern 1996, Statistica Sinica 6, 733, section 2.3.

    Returns:
        Each ``(batch,)``: ``chi2`` (median over draws), ``spread`` (robust standard deviation of
        the residuals), ``p_chi2`` and ``p_correlation`` (share of replicates that are worse, with
        the observed one counted among them and ties broken by its place).
    """
    rows = random_rows(len(posterior.spectra), len(observation), replicates, generator)
    found: dict[str, list[Tensor]] = {}
    for galaxy in range(len(observation)):
        model = posterior.spectra[rows[:, galaxy], galaxy].float()
        one = observation[galaxy : galaxy + 1]
        for name, value in _check_one(engine, one, model, generator).items():
            found.setdefault(name, []).append(value)
    return {name: torch.stack(values) for name, values in found.items()}


def _check_one(
    engine: CounterfactualEngine, one: Observation, model: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    count = len(model)
    many = replace(
        one, flux=one.flux.expand(count, -1), ivar=one.ivar.expand(count, -1),
        lsf=one.lsf.expand(count, -1), redshift=one.redshift.expand(count),
        names=(), quality=one.quality.expand(count),
    )  # fmt: skip
    good = many.ivar > 0
    sigma = torch.where(good, many.ivar, 1.0).rsqrt()
    drawn = engine.noise_model.sample(model, sigma, many.redshift, generator)
    replicated = replace(many, flux=torch.where(good, drawn, 0.0).to(many.flux.dtype))
    chi2, spread, correlation = _discrepancies(engine, many, model)
    chi2_new, _, correlation_new = _discrepancies(engine, replicated, model)
    return {
        "chi2": chi2.median(),
        "spread": spread.median(),
        "p_chi2": ((chi2_new >= chi2).sum() + 1).double() / (count + 1),
        "p_correlation": ((correlation_new >= correlation).sum() + 1).double() / (count + 1),
    }


def _discrepancies(
    engine: CounterfactualEngine, observation: Observation, model: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Chi2 per pixel, spread of single pixels, and that of bins over it, each ``(sample,)``."""
    likelihood = SpectrumLikelihood(observation, engine.noise_model)
    residuals = likelihood.standard_residuals(model[None])[0]
    binned, single = likelihood.misfit(model[None])
    return residuals.square().nanmean(-1), single[0], (binned / single)[0]
