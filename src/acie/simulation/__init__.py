"""Where cause meets light: the galaxy model, instruments, noise and simulated sets."""

__all__ = [
    "LATENT_NAMES",
    "SPECTRAL_NAMES",
    "NoiseModel",
    "ReducedExpansion",
    "SimulatedSet",
    "Simulator",
    "SpectrumLikelihood",
    "SurveyConfig",
    "build_galaxy_scm",
    "declared_supports",
    "load_relations",
    "published_log_mass",
]

from acie.simulation.expansion import ReducedExpansion
from acie.simulation.galaxy import (
    LATENT_NAMES,
    SPECTRAL_NAMES,
    build_galaxy_scm,
    declared_supports,
)
from acie.simulation.noise import NoiseModel, SpectrumLikelihood
from acie.simulation.relations import load_relations, published_log_mass
from acie.simulation.simulator import SimulatedSet, Simulator, SurveyConfig
