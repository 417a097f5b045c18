"""Is an exported network the network? By the largest error, and by what it does to calibration."""

__all__ = [
    "Draws",
    "ParitySample",
    "Tolerance",
    "check",
    "compare",
    "eager_draws",
    "engine_draws",
    "finite",
    "simulate",
]

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.errors import ParityError
from acie.inference import NeuralPosteriorEstimator, expected_coverage, rank_statistics
from acie.native import kernels_off
from acie.observation import Observation
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, Simulator

#: Levels of the intervals whose coverage is compared.
_LEVELS = (0.5, 0.68, 0.9, 0.95)
#: Galaxies computed together: 256 draws of each have spline parameters of 30 MB.
_CHUNK = 16

#: Features, redshift and noise to spectral and latent draws and log q, as arrays.
Draws = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Tolerance:
    """What an exported network may differ by.

    Arguments:
        draw: Largest change of any draw in standard deviations of its posterior; infinity where
            calibration alone decides.
        log_q: Largest change of the log density of any draw; the same.
        median: Change of posterior medians in their sigma, for 95 of 100 galaxies, of every
            variable.
        coverage: Change of the coverage of central intervals, of every variable and level.
        rank: Mean change of the rank of the truth, of every variable.
    """

    draw: float = 0.002
    log_q: float = 0.002
    median: float = 0.001
    coverage: float = 0.0025
    rank: float = 0.001


@dataclass(frozen=True)
class ParitySample:
    """Galaxies on which two networks are compared.

    Arguments:
        observation: Simulated galaxies, then real ones.
        features: Standardised features, ``(batch, n_features)``.
        truth: Unconstrained variables of the simulated ones, ``(simulated, variable)``.
    """

    observation: Observation
    features: Tensor
    truth: Tensor


def simulate(
    engine: CounterfactualEngine, count: int, seed: int, real: Observation | None = None
) -> ParitySample:
    """Simulated galaxies over the survey's range of redshift and noise, and real ones.

    Arguments:
        engine: Gives the simulator and the encoder.
        count: Number of simulated galaxies.
        seed: Of the simulation.
        real: Real spectra.
    """
    drawn = Simulator(engine.scm, engine.physics).draw(count, torch.Generator().manual_seed(seed))
    observation = drawn.observation
    if real is not None:
        observation = Observation.stack([observation, real])
    with torch.no_grad():
        features = engine.bundle.encoder(observation).float()
        truth, _ = engine.scm.to_unconstrained(drawn.values, (*SPECTRAL_NAMES, *LATENT_NAMES))
    return ParitySample(observation, features, truth)


def engine_draws(estimator: NeuralPosteriorEstimator) -> Draws:
    """Draws of an estimator as the engine makes them: by compiled kernels where there are any."""

    def draws(
        features: np.ndarray, redshift: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        noise, n = torch.from_numpy(noise), estimator.n_spectral
        with torch.inference_mode():
            law = estimator.spectral(torch.from_numpy(features))
            x_s, log_det = law.whitened()(noise[..., :n])
            root = torch.from_numpy(redshift).float()[:, None].expand(*x_s.shape[:-1], 1)
            context = torch.cat([x_s, root], -1).flatten(0, 1)
            latent = noise[..., n:].reshape(1, len(context), -1)
            x_l, log_l = estimator.latent(context).whitened()(latent)
        shape = x_s.shape[:-1]
        base = -0.5 * (noise.square() + np.log(2.0 * np.pi)).sum(-1)
        log_q = base - log_det - log_l[0].reshape(shape)
        return x_s.numpy(), x_l[0].reshape(*shape, -1).numpy(), log_q.numpy()

    return draws


def eager_draws(estimator: NeuralPosteriorEstimator) -> Draws:
    """The same by torch alone, one operation after the other."""
    draws = engine_draws(estimator)

    def alone(*inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with kernels_off():
            return draws(*inputs)

    return alone


def compare(
    reference: Draws, other: Draws, sample: ParitySample, count: int = 256, seed: int = 0
) -> dict[str, Any]:
    """What two networks make of the same galaxies and the same noise.

    Arguments:
        reference: What the other one was made from.
        other: The other one.
        sample: Galaxies.
        count: Draws of each.
        seed: Of the noise.

    Returns:
        Plain numbers, named as in :class:`Tolerance`, and the same for each variable.
    """
    names = (*SPECTRAL_NAMES, *LATENT_NAMES)
    rng = np.random.default_rng(seed)
    features = sample.features.numpy()
    redshift = sample.observation.redshift.numpy()
    parts = []
    for start in range(0, len(features), _CHUNK):
        rows = slice(start, start + _CHUNK)
        own = features[rows], redshift[rows]
        noise = rng.standard_normal((count, len(own[0]), len(names)), dtype=np.float32)
        pair = [network(*own, noise) for network in (reference, other)]
        parts.append([(np.concatenate(p[:2], -1).astype(np.float64), p[2]) for p in pair])
    (x, log_q), (y, log_r) = (
        (np.concatenate(piece, 1) for piece in zip(*side, strict=True))
        for side in zip(*parts, strict=True)
    )
    sigma = x.std(0)
    middle = np.abs(np.median(y, 0) - np.median(x, 0)) / sigma
    known = len(sample.truth)
    ranks = [rank_statistics(torch.from_numpy(v[:, :known]), sample.truth) for v in (x, y)]
    levels = torch.tensor(_LEVELS, dtype=torch.float64)
    covered = [expected_coverage(rank, levels) for rank in ranks]
    change = (covered[1] - covered[0]).abs().amax(0).numpy()
    rank = (ranks[1] - ranks[0]).abs().mean(0).numpy()
    median = np.quantile(middle, 0.95, axis=0)
    return {
        "galaxies": {"simulated": known, "real": len(features) - known, "draws": count},
        "draw": float((np.abs(y - x) / sigma).max()),
        "log_q": float(np.abs(log_r - log_q).max()),
        "median": float(median.max()),
        "median_typical": float(np.median(middle)),
        "median_largest": float(middle.max()),
        "coverage": float(change.max()),
        "rank": float(rank.max()),
        "variables": {
            name: {"median": float(m), "coverage": float(c), "rank": float(r)}
            for name, m, c, r in zip(names, median, change, rank, strict=True)
        },
    }


def finite(tolerance: Any) -> dict[str, float]:
    """The limits that there are."""
    return {name: limit for name, limit in vars(tolerance).items() if math.isfinite(limit)}


def check(
    figures: Mapping[str, Any], tolerance: Any, what: str, instead: str = "without --quantize"
) -> None:
    """Refuse figures beyond the tolerance; ``instead`` says how it may still be exported.

    Raises:
        ParityError: With all figures at fault.
    """
    limits = vars(tolerance)
    wrong = {name: figures[name] for name, limit in limits.items() if not figures[name] <= limit}
    if wrong:
        raise ParityError(
            what,
            expected=", ".join(f"{name} at most {limits[name]:g}" for name in wrong),
            found=", ".join(f"{name} {value:.3g}" for name, value in wrong.items()),
            remedy=f"Nothing was written. Use the model with torch, or export {instead}.",
        )
