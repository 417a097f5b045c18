"""Differentiable physics: the state of a galaxy to its light. It knows no causality."""

__all__ = [
    "OBSERVED",
    "FlatLambdaCDM",
    "PhysicsConstraints",
    "ReadOuts",
    "Sightline",
    "StellarPopulationModel",
    "SubsetModel",
    "TemplateSet",
    "Violation",
    "virial_log_dispersion",
]

from acie.physics.constraints import PhysicsConstraints, Violation
from acie.physics.cosmology import FlatLambdaCDM
from acie.physics.sightline import Sightline
from acie.physics.spectrum import OBSERVED, ReadOuts, StellarPopulationModel
from acie.physics.subset import SubsetModel
from acie.physics.templates import TemplateSet
from acie.physics.virial import virial_log_dispersion
