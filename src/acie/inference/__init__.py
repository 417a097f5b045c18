"""Amortised posteriors and their refinement: encoder, flow, estimator, importance, calibration.

Nothing here knows causality, galaxies or how a spectrum is made. The exact likelihood arrives as
a :class:`LogTarget`, a callable that the engine supplies.
"""

from acie.inference.calibration import (
    expected_coverage,
    interval_coverage,
    rank_statistics,
    uniformity_p_value,
)
from acie.inference.encoder import Encoding, Misfit, SpectrumEncoder
from acie.inference.estimator import NeuralPosteriorEstimator
from acie.inference.flow import PosteriorFlow
from acie.inference.importance import (
    AdaptiveImportanceSampler,
    Guide,
    ImportanceResult,
    LogTarget,
    Proposal,
    RefinementConfig,
)
from acie.inference.posterior import AmortisedPosterior
from acie.inference.student import temper
from acie.inference.weights import (
    effective_sample_size,
    normalise_log_weights,
    pareto_k,
    systematic_resample,
)

__all__ = [
    "AdaptiveImportanceSampler",
    "AmortisedPosterior",
    "Encoding",
    "Guide",
    "ImportanceResult",
    "LogTarget",
    "Misfit",
    "NeuralPosteriorEstimator",
    "PosteriorFlow",
    "Proposal",
    "RefinementConfig",
    "SpectrumEncoder",
    "effective_sample_size",
    "expected_coverage",
    "interval_coverage",
    "normalise_log_weights",
    "pareto_k",
    "rank_statistics",
    "systematic_resample",
    "temper",
    "uniformity_p_value",
]
