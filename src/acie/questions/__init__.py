"""Causal questions about galaxies: effects, paths, differences, targets, and their assumptions."""

__all__ = [
    "ALTERNATIVES",
    "Alternative",
    "Explanation",
    "GalaxyDraws",
    "Sensitivity",
    "alternatives",
    "draws_of",
    "explain_difference",
    "explain_effect",
    "galaxy_effect",
    "galaxy_outcome",
    "galaxy_sensitivity",
    "mediated_effect",
    "outcome_label",
    "path_effects",
    "population_sensitivity",
    "seek_target",
]

from acie.questions.alternatives import ALTERNATIVES, Alternative, alternatives
from acie.questions.galaxies import (
    Explanation,
    GalaxyDraws,
    draws_of,
    explain_difference,
    explain_effect,
    galaxy_effect,
    mediated_effect,
    path_effects,
    seek_target,
)
from acie.questions.outcomes import galaxy_outcome, outcome_label
from acie.questions.sensitivity import Sensitivity, galaxy_sensitivity, population_sensitivity
