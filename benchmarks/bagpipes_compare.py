"""Posteriors of ACIE and of Bagpipes in the same variables, under the same prior."""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from nautilus import Sampler
from scipy.stats import norm
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.physics import StellarPopulationModel
from acie.physics.sfh import MAX_AGE_OVER_TAU, delayed_tau_specific_sfr
from acie.simulation import SPECTRAL_NAMES, SpectrumLikelihood
from acie.units import SOLAR_METALLICITY, SOLAR_OXYGEN, YEARS_PER_GYR
from bagpipes_problems import Problem
from bagpipes_sampling import NAMES, PRIORS, log_prior
from scm_prior import SpectralPrior

__all__ = [
    "acie_posterior",
    "amortised_seconds",
    "compare",
    "control",
    "cube_to_prior",
    "log_posterior",
    "moments",
    "prior_ratio",
    "to_acie",
]


def to_acie(
    samples: np.ndarray, redshift: float, physics: StellarPopulationModel
) -> tuple[dict[str, Tensor], Tensor]:
    """Bagpipes' parameters (columns :data:`NAMES`) in ACIE's variables.

    Returns:
        ``redshift``, ``tau`` and the spectral variables, each ``(sample,)``, and the log of the
        absolute determinant of d(ACIE) / d(Bagpipes), ``(sample,)``.
    """
    column = dict(zip(NAMES, torch.as_tensor(samples, dtype=torch.float64).T, strict=True))
    age, formed = column["delayed:age"], 10.0 ** column["delayed:massformed"]
    # Beyond this no history is told apart from one that has long stopped.
    tau = torch.maximum(column["delayed:tau"], age / MAX_AGE_OVER_TAU)

    def logs(tau: Tensor) -> tuple[Tensor, Tensor]:
        rate = delayed_tau_specific_sfr(age / tau)
        return physics.surviving_fraction(age, tau).log(), rate.log()

    surviving, specific = logs(tau)
    step = 1e-4
    (up_m, up_s), (down_m, down_s) = logs(tau * (1.0 + step)), logs(tau * (1.0 - step))
    slope = ((up_s - down_s) - (up_m - down_m)) / (2.0 * step * tau)
    mass = formed * surviving.exp()
    sfr = formed * specific.exp() / age / YEARS_PER_GYR
    gas = column["nebular:metallicity"]
    values = {
        "redshift": torch.full_like(age, redshift),
        "stellar_mass": mass,
        "sfr": sfr,
        "age": age,
        "tau": tau,
        "metallicity": SOLAR_METALLICITY * column["delayed:metallicity"],
        "gas_metallicity": SOLAR_OXYGEN + torch.log10(gas),
        "dust_av": column["dust:Av"],
        "dust_slope": column["dust:delta"],
        "velocity_dispersion": column["veldisp"],
        "ionization_parameter": column["nebular:logU"],
    }
    # Mass and rate at fixed age from mass formed (in dex) and tau; the rest one by one.
    log_det = math.log(math.log(10.0)) + mass.log() + sfr.log() + slope.abs().log()
    log_det = log_det + math.log(SOLAR_METALLICITY) - (gas * math.log(10.0)).log()
    return values, log_det


def prior_ratio(values: dict[str, Tensor], log_det: Tensor, samples: np.ndarray,
                prior: SpectralPrior) -> np.ndarray:  # fmt: skip
    """Log of the causal model's prior over Bagpipes', ``(sample,)``; minus infinity outside."""
    known = {name: values[name] for name in ("redshift", *SPECTRAL_NAMES)}
    ratio = prior.log_prob(known) + log_det - torch.as_tensor(log_prior(samples))
    return torch.where(ratio.isnan(), -math.inf, ratio).numpy()


def moments(engine: CounterfactualEngine, values: dict[str, Tensor], log_weights: np.ndarray
            ) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Mean and standard deviation of every variable on its natural scale (log10 or unit)."""
    weights = torch.as_tensor(np.exp(log_weights - log_weights.max()))
    weights = weights / weights.sum()
    result = {}
    for name in SPECTRAL_NAMES:
        natural = engine.scm.variables[name].forward(values[name].double())
        mean = (weights * natural).sum()
        deviation = (weights * (natural - mean) ** 2).sum().sqrt()
        result[name] = float(mean), float(deviation)
    return result


def effective(log_weights: np.ndarray) -> float:
    """Effective number of weighted samples."""
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.sum() ** 2 / (weights**2).sum())


def acie_posterior(engine: CounterfactualEngine, problem: Problem, draws: int, seed: int) -> dict:
    """Moments of ACIE's posterior, its efficiency, number of distinct draws, and seconds."""
    generator = torch.Generator().manual_seed(seed)
    start = time.process_time()
    posterior = engine.infer(problem.observation, draws, generator)
    seconds = time.process_time() - start
    values = {name: value[:, 0] for name, value in posterior.values.items()}
    likelihood = SpectrumLikelihood(problem.observation, engine.noise_model)
    best = int(likelihood(posterior.spectra)[:, 0].argmax())
    return {
        "moments": moments(engine, values, np.zeros(draws)),
        "best": {name: value[best : best + 1] for name, value in values.items()},
        "efficiency": float(posterior.confidence[0]),
        "distinct": int(values["stellar_mass"].unique().numel()),
        "seconds": seconds,
        "fit": float(posterior.fit[0]),
    }


@torch.no_grad()
def amortised_seconds(engine: CounterfactualEngine, problem: Problem, draws: int = 256) -> float:
    """Seconds for the network's own posterior: encoding and ``draws`` draws, median of nine."""
    encoder, estimator = engine.bundle.encoder, engine.bundle.estimator
    times = []
    for _ in range(9):
        start = time.process_time()
        encoding = encoder.encode(problem.observation)
        features = encoder.standardise(encoding.features).float()
        generator = torch.Generator().manual_seed(0)
        estimator.sample(draws, features, problem.observation.redshift.float(), generator)
        times.append(time.process_time() - start)
    return sorted(times)[4]


def cube_to_prior(cube: np.ndarray) -> np.ndarray:
    """The priors of :data:`PRIORS` for many points at a time, ``(sample, 9)``."""
    columns = []
    for unit, (kind, low, high, *shape) in zip(cube.T, PRIORS.values(), strict=True):
        if kind == "uniform":
            columns.append(low + (high - low) * unit)
        elif kind == "log_10":
            columns.append(low * (high / low) ** unit)
        else:
            law = norm(*shape)
            ends = law.cdf([low, high])
            columns.append(law.ppf(ends[0] + (ends[1] - ends[0]) * unit))
    return np.stack(columns, -1)


def log_posterior(
    engine: CounterfactualEngine,
    problem: Problem,
    prior: SpectralPrior,
    likelihood: Callable[[Tensor], Tensor] | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """ACIE's likelihood times the causal model's prior over Bagpipes' priors, vectorised.

    Arguments:
        engine: ACIE.
        problem: The galaxy.
        prior: That of the causal model.
        likelihood: Another one of ACIE's spectra, ``(sample, 1, wave)``.
    """
    likelihood = likelihood or SpectrumLikelihood(problem.observation, engine.noise_model)
    excess = engine.physics.lsf_excess(problem.observation.redshift, problem.observation.lsf)

    @torch.no_grad()
    def function(samples: np.ndarray) -> np.ndarray:
        values, log_det = to_acie(samples, problem.redshift, engine.physics)
        total = prior_ratio(values, log_det, samples, prior)
        spectra = engine.physics({name: v[:, None] for name, v in values.items()}, excess)
        # Few rows at a time: in double precision, more of them leave the processor's cache.
        value = torch.cat([likelihood(part)[:, 0] for part in spectra.split(16)])
        return np.maximum(total + value.numpy(), -1e99)

    return function


def control(
    engine: CounterfactualEngine, problem: Problem, prior: SpectralPrior, *, live: int, seed: int,
    effective_size: int,
) -> dict:  # fmt: skip
    """Nautilus on ACIE's own posterior density: tells the forward model from the inference."""
    start = time.process_time()
    sampler = Sampler(
        cube_to_prior, log_posterior(engine, problem, prior), n_dim=len(NAMES), n_live=live,
        vectorized=True, seed=seed, n_batch=256,
    )  # fmt: skip
    sampler.run(n_eff=effective_size)
    samples, log_weights, _ = sampler.posterior()
    values, _ = to_acie(samples, problem.redshift, engine.physics)
    return {
        "moments": moments(engine, values, log_weights),
        "n_like": int(sampler.n_like),
        "n_eff": float(sampler.n_eff),
        "cpu_s": time.process_time() - start,
    }


def compare(
    one: dict[str, tuple[float, float]], other: dict[str, tuple[float, float]]
) -> dict[str, dict[str, float]]:
    """Difference of the means in standard deviations of ``other``, and ratio of the widths."""
    return {
        name: {
            "shift": (one[name][0] - other[name][0]) / other[name][1],
            "width": one[name][1] / other[name][1],
        }
        for name in SPECTRAL_NAMES
    }
