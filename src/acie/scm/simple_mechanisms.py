"""Mechanisms without an invertible continuous noise: thresholds, derived and given variables."""

__all__ = ["DeterministicMechanism", "ExogenousMechanism", "ThresholdMechanism"]

from collections.abc import Callable

import torch
from torch import Tensor

from acie.scm.mechanisms import (
    AbstractDrawnMechanism,
    AbstractMechanism,
    Parameter,
    Parents,
    evaluate,
)
from acie.scm.noise import UniformNoise


class ThresholdMechanism(AbstractDrawnMechanism):
    r"""A binary variable, :math:`v = 1` where :math:`u < p(\mathrm{pa})`, with uniform noise.

    A binary value does not determine its noise, only an interval; abduction draws in it. The
    counterfactual law is then exact: the noise follows its posterior given the observation.

    Arguments:
        probability: :math:`p`, in [0, 1]; number or function of the parents.
    """

    def __init__(self, probability: Parameter) -> None:
        super().__init__()
        self._declare("probability", probability)
        self.noise_law = UniformNoise()

    def _probability(self, like: Tensor, parents: Parents) -> Tensor:
        probability = evaluate(self.probability, parents)
        return torch.as_tensor(probability, dtype=like.dtype, device=like.device)

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, 0 or 1, shape ``(*shape)``, in the type of the noise."""
        return (noise < self._probability(noise, parents)).to(noise.dtype)

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Bernoulli log-probability of 0 or 1, shape ``(*shape)``."""
        p = self._probability(value, parents)
        # The choice comes before the logarithm, so that p = 0 or 1 has finite gradients.
        return torch.where(value > 0.5, p, 1.0 - p).log()

    def invert_interval(self, value: Tensor, parents: Parents) -> tuple[Tensor, Tensor]:
        """Lower (included) and upper (excluded) end of the noises that give ``value``."""
        p = self._probability(value, parents).expand(
            torch.broadcast_shapes(value.shape, self._probability(value, parents).shape)
        )
        one = value > 0.5
        return torch.where(one, torch.zeros_like(p), p), torch.where(one, p, torch.ones_like(p))

    def abduct(
        self, value: Tensor, parents: Parents, generator: torch.Generator | None = None
    ) -> Tensor:
        """A draw of the noise given the value, uniform in its interval, shape ``(*shape)``."""
        low, high = self.invert_interval(value, parents)
        unit = torch.rand(low.shape, generator=generator, dtype=low.dtype, device=low.device)
        return low + (high - low) * unit


class DeterministicMechanism(AbstractMechanism):
    """A derived variable: a function of its parents alone.

    Arguments:
        function: ``parents -> value``.
    """

    def __init__(self, function: Callable[[Parents], Tensor]) -> None:
        super().__init__()
        self.function = function

    def assign(self, noise: Tensor | None, parents: Parents) -> Tensor:
        """The value, physical; the noise is ignored."""
        return self.function(parents)


class ExogenousMechanism(AbstractMechanism):
    """A root that is given with every observation, such as a covariate; it has no law."""

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The given value, passed as its own noise."""
        return noise
