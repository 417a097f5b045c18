"""What a question is about: a variable of the graph, or a quantity that follows from the state."""

__all__ = ["Outcome", "ReadOut", "causes_of", "evaluate_outcome", "reached", "unit_of"]

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from acie.scm.model import StructuralCausalModel

State = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class ReadOut:
    """A quantity without noise of its own that some variables determine, such as a colour.

    It hangs below the graph as one more variable would: questions about effects, paths and
    attributions treat it as the common child of its causes.

    Arguments:
        name: What to call it.
        causes: Variables that it is computed from.
        function: ``state -> value``, element by element over the leading axes.
        unit: Unit as text.
        description: One sentence for people.
    """

    name: str
    causes: tuple[str, ...]
    function: Callable[[State], Tensor]
    unit: str = ""
    description: str = ""


Outcome = str | ReadOut


def evaluate_outcome(outcome: Outcome, state: State) -> Tensor:
    """The outcome in this state, shape of the state."""
    return state[outcome] if isinstance(outcome, str) else outcome.function(state)


def causes_of(model: StructuralCausalModel, outcome: Outcome) -> tuple[str, ...]:
    """Direct causes of the outcome.

    Raises:
        UnknownVariable: The model has no variable of that name.
    """
    if isinstance(outcome, str):
        return model.graph.parents(outcome)
    for name in outcome.causes:
        model.graph.require(name)
    return outcome.causes


def reached(model: StructuralCausalModel, acted: Iterable[str], outcome: Outcome) -> bool:
    """Whether the outcome is an acted variable or follows from one."""
    names = set(acted)
    below = names | model.graph.descendants(names)
    if isinstance(outcome, str):
        return model.graph.require(outcome) in below
    return not below.isdisjoint(causes_of(model, outcome))


def unit_of(model: StructuralCausalModel, outcome: Outcome) -> str:
    """Unit of the outcome as text, empty when dimensionless."""
    return model.variables[outcome].unit if isinstance(outcome, str) else outcome.unit
