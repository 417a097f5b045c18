"""Amortised posteriors and their refinement: encoder, flow, estimator, importance, calibration.

Nothing here knows causality, galaxies or how a spectrum is made. The exact likelihood arrives as
a :class:`LogTarget`, a callable that the engine supplies.
"""

from acie.inference.estimator import NeuralPosteriorEstimator
from acie.inference.flow import PosteriorFlow
from acie.inference.importance import (
    AdaptiveImportanceSampler,
    ImportanceResult,
    LogTarget,
    Proposal,
    RefinementConfig,
)
from acie.inference.weights import (
    effective_sample_size,
    normalise_log_weights,
    pareto_k,
    systematic_resample,
)

__all__ = [
    "AdaptiveImportanceSampler",
    "ImportanceResult",
    "LogTarget",
    "NeuralPosteriorEstimator",
    "PosteriorFlow",
    "Proposal",
    "RefinementConfig",
    "effective_sample_size",
    "normalise_log_weights",
    "pareto_k",
    "systematic_resample",
]
