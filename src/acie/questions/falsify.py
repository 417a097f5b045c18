"""Does a catalogue refute the graph of the galaxy model?"""

__all__ = ["falsify_galaxy_graph"]

from collections.abc import Mapping

import torch
from torch import Tensor

from acie.errors import DataError
from acie.scm import DeterministicMechanism, StructuralCausalModel
from acie.scm.falsification import Falsification, falsify
from acie.scm.mixed_graph import MixedGraph


def falsify_galaxy_graph(
    scm: StructuralCausalModel,
    data: Mapping[str, Tensor],
    *,
    level: float = 0.05,
    permutations: int = 0,
    generator: torch.Generator | None = None,
) -> Falsification:
    """Test the statements that the graph makes about the columns of a catalogue.

    Variables without a column are treated as hidden common causes or hidden steps. Columns are
    taken as the true values: measurement error weakens some statements and breaks others, and
    a sample chosen by one of the variables (by brightness, say) is not the population.

    Arguments:
        scm: The causal model.
        data: Columns in the units of the model, each ``(row,)``; aliases are understood, columns
            that are no variable are left out.
        level: Probability of refuting a right graph, over all its statements.
        permutations: Number of shuffled graphs to compare with.
        generator: Source of all randomness.

    Raises:
        DataError: Fewer than three columns are variables of the model, or values are outside the
            support of their variable.
    """
    columns: dict[str, Tensor] = {}
    for name, column in data.items():
        variable = scm.variables.get(scm.aliases.get(name, name))
        derived = isinstance(scm.mechanisms.get(variable.name), DeterministicMechanism) if (
            variable
        ) else True  # fmt: skip
        if variable is None or derived:
            continue
        columns[variable.name] = variable.forward(column.double())
    if len(columns) < 3:
        raise DataError(
            "catalogue", expected=f"at least three columns among {', '.join(scm.variables)}",
            found=", ".join(data) or "none",
        )  # fmt: skip
    hidden = [name for name in scm.graph.order if name not in columns]
    graph = MixedGraph.project(scm.graph, hidden)
    return falsify(graph, columns, level=level, permutations=permutations, generator=generator)
