"""Whether one of two samplers missed the better mode: both likelihoods at both best points."""

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.polynomial.chebyshev import chebvander
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.simulation import SpectrumLikelihood
from acie.units import FLUX_SCALE, SOLAR_METALLICITY, SOLAR_OXYGEN
from bagpipes_bridge import air_to_vacuum_density
from bagpipes_compare import to_acie
from bagpipes_fast import load_bagpipes
from bagpipes_problems import Problem, noise_model
from bagpipes_sampling import NAMES, fit_instructions

__all__ = ["bagpipes_spectra", "divided_log_likelihood", "from_acie", "mode_gains"]

#: Gauss-Newton steps to the best calibration.
_STEPS = 5


def from_acie(values: Mapping[str, Tensor], engine: CounterfactualEngine) -> np.ndarray:
    """ACIE's variables ``(sample,)`` as Bagpipes' parameters, ``(sample, 9)``."""
    surviving = engine.physics.surviving_fraction(values["age"], values["tau"])
    columns = {
        "delayed:massformed": torch.log10(values["stellar_mass"] / surviving),
        "delayed:age": values["age"],
        "delayed:tau": values["tau"],
        "delayed:metallicity": values["metallicity"] / SOLAR_METALLICITY,
        "nebular:metallicity": 10.0 ** (values["gas_metallicity"] - SOLAR_OXYGEN),
        "dust:Av": values["dust_av"],
        "dust:delta": values["dust_slope"],
        "veldisp": values["velocity_dispersion"],
        "nebular:logU": values["ionization_parameter"],
    }
    return torch.stack([columns[name].double() for name in NAMES], -1).numpy()


def mode_gains(
    engine: CounterfactualEngine,
    problem: Problem,
    best_acie: np.ndarray,
    best_bagpipes: np.ndarray,
    resolution: float,
) -> dict[str, float]:
    """Log likelihood at ACIE's best draw minus that at Bagpipes' best, by either code.

    Both far above zero: nautilus missed a mode. Both far below: ACIE did. Opposite signs: the
    likelihoods differ. Calibration is marginalised by ACIE and at its best value in Bagpipes.
    Also the median and the 16-84 % range of the ratio of the two codes' spectra at ACIE's best.
    """
    ours = [_acie(engine, problem, point) for point in (best_acie, best_bagpipes)]
    theirs = [_bagpipes(problem, point, resolution) for point in (best_acie, best_bagpipes)]
    good = problem.observation.ivar[0].numpy() > 0
    table = problem.bagpipes_table()
    scale = problem.observation.flux[0].double().numpy()[good] / table[good, 1]
    low, middle, high = np.percentile(
        ours[0][1][good] / (theirs[0][1][good] * scale), [16, 50, 84]
    )
    return {
        "acie": ours[0][0] - ours[1][0],
        "bagpipes": theirs[0][0] - theirs[1][0],
        "spectrum_ratio": float(middle),
        "spectrum_ratio_range": float(high - low),
    }


def bagpipes_spectra(problem: Problem, points: np.ndarray, resolution: float) -> Tensor:
    """Bagpipes' spectra of its parameters ``(sample, 9)`` in ACIE's units, ``(sample, wave)``."""
    model = _fitted_model(problem, resolution)
    density = FLUX_SCALE / air_to_vacuum_density(problem.redshift)
    rows = []
    for point in points:
        _likelihood(model, point)
        rows.append(model.model_galaxy.spectrum[:, 1] / density)
    return torch.as_tensor(np.stack(rows))


def divided_log_likelihood(problem: Problem, spectra: Tensor) -> Tensor:
    """Log likelihood as Bagpipes has it, its calibration integrated out by Laplace's method.

    Bagpipes divides the model by a Chebyshev polynomial, whose coefficients have Gaussian priors
    of 3 % around one and zero; ACIE multiplies by one of the same priors. That is the same to
    first order in the calibration only.

    Arguments:
        problem: One with calibration.
        spectra: In ACIE's units, ``(sample, wave)``.

    Returns:
        Up to a constant, ``(sample,)``.
    """
    wave = torch.as_tensor(problem.bagpipes_table()[:, 0])
    middle, half = (wave[0] + wave[-1]) / 2.0, (wave[-1] - wave[0]) / 2.0
    basis = torch.as_tensor(chebvander(((wave - middle) / half).numpy(), 3))
    root = problem.observation.ivar[0].double().sqrt()
    data = problem.observation.flux[0].double() * root
    precision = noise_model(True).calibration ** -2
    prior = precision * torch.eye(4, dtype=torch.float64)
    products = (basis[:, :, None] * basis[:, None]).flatten(1)
    centre = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    values = []
    for some in (spectra * root).split(16):
        coefficients = centre.expand(len(some), -1)
        for step in range(_STEPS + 1):
            polynomial = coefficients @ basis.T
            model = some / polynomial
            residual, slope = data - model, model / polynomial
            information = (slope.square() @ products).unflatten(-1, (4, 4)) + prior
            away = coefficients - centre
            if step < _STEPS:
                gradient = (residual * slope) @ basis + precision * away
                coefficients = coefficients - torch.linalg.solve(information, gradient)
        chi2 = residual.square().sum(-1) + precision * away.square().sum(-1)
        values.append(-0.5 * (chi2 + torch.logdet(information)))
    return torch.cat(values)


def _acie(
    engine: CounterfactualEngine, problem: Problem, point: np.ndarray
) -> tuple[float, np.ndarray]:
    observation = problem.observation
    values, _ = to_acie(point[None], problem.redshift, engine.physics)
    excess = engine.physics.lsf_excess(observation.redshift, observation.lsf)
    with torch.no_grad():
        spectrum = engine.physics({name: v[:, None] for name, v in values.items()}, excess)
        value = SpectrumLikelihood(observation, engine.noise_model)(spectrum)
    return float(value[0, 0]), spectrum[0, 0].double().numpy()


def _fitted_model(problem: Problem, resolution: float) -> Any:
    bagpipes, table = load_bagpipes(resolution), problem.bagpipes_table()
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        galaxy = bagpipes.galaxy(problem.name, lambda _: table, photometry_exists=False)
        return bagpipes.fitting.fitted_model(galaxy, fit_instructions(problem))


def _likelihood(
    model: Any, point: np.ndarray, calibration: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)
) -> float:
    """Bagpipes' log likelihood, by default without calibration; the model keeps its spectrum."""
    named = {f"calib:{term}": value for term, value in enumerate(calibration)}
    named.update(zip(NAMES, point, strict=True))
    return float(model.lnlike([named[name] for name in model.params]))


def _bagpipes(problem: Problem, point: np.ndarray, resolution: float) -> tuple[float, np.ndarray]:
    model, table = _fitted_model(problem, resolution), problem.bagpipes_table()
    flat = _likelihood(model, point)
    spectrum = model.model_galaxy.spectrum[:, 1].copy()
    if not problem.calibrated:
        return flat, spectrum
    # Bagpipes divides the model by its polynomial: the same to first order, and linear.
    wave, flux, error = table.T
    middle, half = (wave[0] + wave[-1]) / 2.0, (wave[-1] - wave[0]) / 2.0
    design = chebvander((wave - middle) / half, 3) * (flux / error)[:, None]
    best = np.linalg.lstsq(design, spectrum / error, rcond=None)[0]
    return _likelihood(model, point, tuple(best)), spectrum
