"""Structural causal models: graphs, mechanisms, interventions, counterfactuals.

Torch only, and no astronomy: bring your own variables and mechanisms.
"""

__all__ = [
    "AbstractDrawnMechanism",
    "AbstractInvertibleMechanism",
    "AbstractMechanism",
    "AdditiveNoiseMechanism",
    "CategoricalMechanism",
    "CausalGraph",
    "CounterfactualQuery",
    "DeterministicMechanism",
    "Do",
    "ExogenousMechanism",
    "FlowMechanism",
    "Intervention",
    "InterventionalQuery",
    "KernelLocation",
    "LearnedAdditiveMechanism",
    "LearnedProbabilities",
    "MixedLocation",
    "MonotoneMechanism",
    "NetworkLocation",
    "ObservationalQuery",
    "OrdinalMechanism",
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
    "with_tensors",
]

from acie.scm.bounded_mechanisms import TruncatedNormalMechanism, UniformMechanism
from acie.scm.flow_mechanism import FlowMechanism
from acie.scm.graph import CausalGraph
from acie.scm.interventions import (
    Do,
    Intervention,
    Policy,
    Replace,
    Scale,
    Shift,
    with_tensors,
)
from acie.scm.language import describe, parse_interventions
from acie.scm.learned_locations import KernelLocation, MixedLocation, NetworkLocation
from acie.scm.learned_mechanisms import (
    CategoricalMechanism,
    LearnedAdditiveMechanism,
    LearnedProbabilities,
    OrdinalMechanism,
)
from acie.scm.mechanisms import (
    AbstractDrawnMechanism,
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
