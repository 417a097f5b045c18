"""Questions on the three rungs of the causal ladder: seeing, doing, imagining."""

__all__ = ["CounterfactualQuery", "InterventionalQuery", "ObservationalQuery", "QueryResult"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acie.quantiles import quantiles
from acie.scm.language import parse_interventions
from acie.scm.model import StructuralCausalModel

_QUANTILES = {"p16": 0.16, "median": 0.5, "p84": 0.84}


@dataclass(frozen=True, eq=False)
class QueryResult:
    """Samples that answer a query.

    Arguments:
        samples: Values by name, sample axis first.
    """

    samples: Mapping[str, Tensor]

    def summary(self) -> dict[str, dict[str, Tensor]]:
        """Mean, standard deviation, median and 68 % interval over the first axis, by name."""
        return {name: _summarise(values) for name, values in self.samples.items()}


@dataclass(frozen=True)
class ObservationalQuery:
    """What is seen: the joint law of some variables.

    Arguments:
        names: Variables of interest; all of them when empty.
    """

    names: tuple[str, ...] = ()

    def run(
        self,
        model: StructuralCausalModel,
        num_samples: int = 1000,
        given: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> QueryResult:
        """Samples, each variable ``(sample,)``; ``given`` fixes roots."""
        values, _ = model.sample((num_samples,), given=given, generator=generator)
        return QueryResult(_choose(values, self.names))


@dataclass(frozen=True)
class InterventionalQuery:
    """What is seen after an action on the whole population.

    Arguments:
        do: Action set, in any form that ``parse_interventions`` reads.
        names: Variables of interest; all of them when empty.
    """

    do: Any
    names: tuple[str, ...] = ()

    def run(
        self,
        model: StructuralCausalModel,
        num_samples: int = 1000,
        given: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> QueryResult:
        """Samples after the action, each variable ``(sample,)``."""
        values, noise = model.sample((num_samples,), given=given, generator=generator)
        actions = parse_interventions(self.do, model.variables, model.aliases)
        return QueryResult(_choose(model.predict(noise, values, actions), self.names))


@dataclass(frozen=True)
class CounterfactualQuery:
    """What would have been, for these very individuals.

    Arguments:
        do: One action set, or a list of mappings, one per world.
        hold: Variables that keep their factual value.
        names: Variables of interest; all of them when empty.
    """

    do: Any
    hold: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def run(
        self,
        model: StructuralCausalModel,
        values: Mapping[str, Tensor],
        generator: torch.Generator | None = None,
    ) -> QueryResult:
        """Values in every world, each variable ``(*shape, world)``, factual world first.

        The sample axis stays first, so the summary has one entry per world.
        """
        worlds = model.counterfactual(values, self.do, hold=self.hold, generator=generator)
        chosen = _choose(worlds, self.names)
        return QueryResult({name: value.movedim(0, -1) for name, value in chosen.items()})


def _choose(values: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: values[name] for name in (names or values)}


def _summarise(values: Tensor) -> dict[str, Tensor]:
    found = quantiles(values, list(_QUANTILES.values()))
    return {
        "mean": values.mean(0),
        "std": values.std(0, correction=0),
        **dict(zip(_QUANTILES, found, strict=True)),
    }
