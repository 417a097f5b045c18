"""Structural causal models: graphs, mechanisms, interventions, counterfactuals.

Torch only, and no astronomy: bring your own variables and mechanisms.
"""

__all__ = [
    "AbstractInvertibleMechanism",
    "AbstractMechanism",
    "AdditiveNoiseMechanism",
    "CausalGraph",
    "CounterfactualQuery",
    "DeterministicMechanism",
    "Do",
    "ExogenousMechanism",
    "FlowMechanism",
    "Intervention",
    "InterventionalQuery",
    "MonotoneMechanism",
    "ObservationalQuery",
    "Policy",
    "PostNonlinearMechanism",
    "Replace",
    "Scale",
    "Shift",
    "StructuralCausalModel",
    "ThresholdMechanism",
    "TruncatedNormalMechanism",
    "UniformMechanism",
    "Worlds",
    "describe",
    "parse_interventions",
]

from acie.scm.bounded_mechanisms import TruncatedNormalMechanism, UniformMechanism
from acie.scm.flow_mechanism import FlowMechanism
from acie.scm.graph import CausalGraph
from acie.scm.interventions import Do, Intervention, Policy, Replace, Scale, Shift
from acie.scm.language import describe, parse_interventions
from acie.scm.mechanisms import (
    AbstractInvertibleMechanism,
    AbstractMechanism,
    AdditiveNoiseMechanism,
    MonotoneMechanism,
    PostNonlinearMechanism,
)
from acie.scm.model import StructuralCausalModel
from acie.scm.queries import CounterfactualQuery, InterventionalQuery, ObservationalQuery
from acie.scm.simple_mechanisms import (
    DeterministicMechanism,
    ExogenousMechanism,
    ThresholdMechanism,
)
from acie.scm.worlds import Worlds
