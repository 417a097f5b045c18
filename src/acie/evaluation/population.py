"""The population on its natural scale: what a standard deviation of each variable is."""

__all__ = ["Population", "random_rows"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.simulation import SurveyConfig
from acie.variables import Variable

#: Draws of the prior that fix means and standard deviations to about one percent.
_DRAWS = 8192


@dataclass(frozen=True)
class Population:
    """The prior of the variables that are inferred.

    Arguments:
        variables: Declarations of the inferred variables, by name.
        theta: Draws on the natural scale (dex for log10 ones), ``(draw, variable)``.
    """

    variables: dict[str, Variable]
    theta: Tensor

    @classmethod
    def of(cls, engine: CounterfactualEngine, generator: torch.Generator) -> "Population":
        """The prior population of an engine over the redshifts of the survey."""
        low, high = SurveyConfig().redshift
        uniform = torch.rand(_DRAWS, generator=generator, dtype=torch.float64)
        given = {"redshift": low + (high - low) * uniform}
        values, _ = engine.scm.sample((_DRAWS,), given=given, generator=generator)
        variables = {n: v for n, v in engine.scm.variables.items() if v.intervenable}
        return cls(variables, cls._stack(variables, values))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables, in the order of the last axis of ``theta``."""
        return tuple(self.variables)

    @property
    def continuous(self) -> tuple[str, ...]:
        """Names of those that are not binary."""
        return tuple(n for n, v in self.variables.items() if v.kind == "continuous")

    @property
    def mean(self) -> Tensor:
        """Means on the natural scale, ``(variable,)``."""
        return self.theta.mean(0)

    @property
    def spread(self) -> Tensor:
        """Standard deviations on the natural scale, ``(variable,)``."""
        return self.theta.std(0)

    def natural(self, values: Mapping[str, Tensor]) -> Tensor:
        """Physical values to the natural scale, ``(*shape, variable)``."""
        return self._stack(self.variables, values)

    def standard(self, theta: Tensor, names: Sequence[str] | None = None) -> Tensor:
        """Natural scale to units of the population, of the chosen variables."""
        scaled = (theta - self.mean) / self.spread
        chosen = self.names if names is None else tuple(names)
        return scaled[..., [self.names.index(name) for name in chosen]]

    @staticmethod
    def _stack(variables: Mapping[str, Variable], values: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([v.forward(values[n].double()) for n, v in variables.items()], -1)


def random_rows(samples: int, batch: int, count: int, generator: torch.Generator) -> Tensor:
    """Indices of ``count`` draws of each galaxy, without repeats, ``(count, batch)``.

    The draws of an answer come in the order of the pool that they were resampled from, so the
    first few, or every fourth, are no random subset.
    """
    order = torch.rand((samples, batch), generator=generator, dtype=torch.float64).argsort(0)
    return order[:count]
