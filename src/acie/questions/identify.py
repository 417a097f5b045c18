"""Could an effect be learned from a catalogue, given the graph of the galaxy model?"""

__all__ = ["identify_in_galaxy"]

from collections.abc import Iterable, Sequence

from acie.errors import ConfigurationError
from acie.physics.spectrum import StellarPopulationModel
from acie.questions.outcomes import galaxy_outcome
from acie.scm import CausalGraph, StructuralCausalModel
from acie.scm.identification import IdentificationReport, report_identification
from acie.scm.mixed_graph import MixedGraph


def identify_in_galaxy(
    scm: StructuralCausalModel,
    physics: StellarPopulationModel,
    cause: str,
    outcome: str,
    hidden: Iterable[str] = (),
    confounded: Iterable[Sequence[str]] = (),
) -> IdentificationReport:
    """Whether, and how, a catalogue of measured variables would tell the effect.

    Arguments:
        scm: The causal model, for its graph.
        physics: The forward model, for features of the spectrum.
        cause: A variable.
        outcome: A variable or a feature.
        hidden: Variables that are not measured.
        confounded: Pairs with a common cause outside the graph.

    Raises:
        ConfigurationError: The cause or the outcome is hidden, or a pair has not two names.
    """
    cause = scm.graph.require(scm.aliases.get(cause, cause))
    target = galaxy_outcome(scm, physics, outcome)
    parents = {name: scm.graph.parents(name) for name in scm.graph.order}
    label = target if isinstance(target, str) else target.name
    if not isinstance(target, str):
        parents[label] = target.causes
    unseen = [scm.graph.require(scm.aliases.get(name, name)) for name in hidden]
    if {cause, label} & set(unseen):
        raise ConfigurationError(
            "--hidden", expected="variables other than cause and outcome", found=", ".join(unseen)
        )
    pairs = [tuple(scm.aliases.get(name, name) for name in pair) for pair in confounded]
    for pair in pairs:
        if len(pair) != 2:
            raise ConfigurationError(
                "--confounded", expected="pairs such as stellar_mass~metallicity",
                found="~".join(pair),
            )  # fmt: skip
    graph = MixedGraph.project(CausalGraph(parents), unseen, pairs)
    return report_identification(graph, cause, label)
