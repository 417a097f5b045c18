r"""Mechanisms whose parameters are learned from a table."""

__all__ = [
    "CategoricalMechanism",
    "LearnedAdditiveMechanism",
    "LearnedProbabilities",
    "OrdinalMechanism",
]

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from acie.scm.features import ParentFeatures, perceptron
from acie.scm.flow_mechanism import SplineShape
from acie.scm.learned_locations import KernelLocation, MixedLocation, NetworkLocation
from acie.scm.mechanisms import (
    AbstractDrawnMechanism,
    AbstractInvertibleMechanism,
    Bound,
    Parents,
)
from acie.scm.noise import GumbelNoise, NormalNoise, UniformNoise
from acie.variables import Variable


class LearnedAdditiveMechanism(AbstractInvertibleMechanism):
    r"""A learned function of the parents plus independent noise of a learned law.

    .. math:: T(v) = m + s\,[\mu(\mathrm{pa}) + r\, S(u)]

    with S a monotone spline and :math:`u` standard normal.

    References:
        Hoyer et al. 2009, NeurIPS 21, equation 1: additive noise models.

    Arguments:
        location: :math:`\mu`.
        transform: :math:`T`, ``log10`` or ``identity``.
        bins: Segments of the spline.
    """

    def __init__(
        self,
        location: KernelLocation | NetworkLocation | MixedLocation,
        transform: Literal["identity", "log10"] = "identity",
        bins: int = 12,
    ) -> None:
        super().__init__()
        self.location = location
        self.shape = SplineShape(bins)
        self.noise_law = NormalNoise()
        self._natural = Variable("value", transform=transform)
        self.register_buffer("output_mean", torch.zeros(()))
        self.register_buffer("output_std", torch.ones(()))
        self.register_buffer("spread", torch.ones(()))

    def _scales(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return tuple(b.to(like.dtype) for b in (self.output_mean, self.output_std, self.spread))

    def _residual(self, value: Tensor, parents: Parents) -> Tensor:
        mean, std, spread = self._scales(value)
        natural = (self._natural.forward(value) - mean) / std
        return (natural - self._location(value, parents)) / spread

    def _location(self, like: Tensor, parents: Parents) -> Tensor:
        # Its shape is that of the parents, which may have fewer samples than the noise.
        return self.location(parents, like.new_zeros(()))

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, physical, shape ``(*shape)``."""
        mean, std, spread = self._scales(noise)
        location = self._location(noise, parents)
        return self._natural.inverse(mean + std * (location + spread * self.shape(noise)))

    def invert(self, value: Tensor, parents: Parents) -> Tensor:
        """The noise, shape ``(*shape)``."""
        return self.shape.invert(self._residual(value, parents))[0]

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-density per physical unit, shape ``(*shape)``."""
        noise, slope = self.shape.invert(self._residual(value, parents))
        _, std, spread = self._scales(value)
        density = self.noise_law.log_prob(noise) + slope - (std * spread).log()
        return density + self._natural.log_abs_derivative(value)

    def support(self, parents: Parents) -> tuple[Bound, Bound]:
        """The real line, or the positive half with ``log10``."""
        return (0.0 if self._natural.transform == "log10" else -math.inf), math.inf

    def extra_repr(self) -> str:
        """Transform and size, for ``repr``."""
        return f"{self._natural.transform}, {type(self.location).__name__}"


class LearnedProbabilities(nn.Module):
    r"""Probabilities of the values of a discrete variable, given its parents.

    .. math:: p_k \propto \exp(b_k + w_k^T z + h_k(z))

    with h a network that is absent when ``hidden`` is empty, which leaves the multinomial logit.

    Arguments:
        parents: Declarations of the direct causes.
        count: Number of values.
        hidden: Widths of the hidden layers.
    """

    def __init__(
        self, parents: Sequence[Variable], count: int, hidden: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.features = ParentFeatures(parents)
        self.linear = perceptron(self.features.size, (), count)
        self.network = perceptron(self.features.size, hidden, count) if hidden else None

    def forward(self, parents: Parents, like: Tensor) -> Tensor:
        """Log-probabilities, shape ``(*shape, value)``."""
        inputs = self.features(parents, like.to(self.features.mean.dtype))
        logits = self.linear(inputs)
        if self.network is not None:
            logits = logits + self.network(inputs)
        return logits.log_softmax(-1).to(like.dtype)


class OrdinalMechanism(AbstractDrawnMechanism):
    r"""An ordered discrete variable, monotone in uniform noise.

    .. math:: v = v_k \quad\text{where}\quad F_{k-1}(\mathrm{pa}) \le u < F_k(\mathrm{pa})

    with F the cumulative probabilities. The value fixes the noise to an interval; abduction draws
    in it. With two values this is a :class:`ThresholdMechanism` counted from the other end.

    Arguments:
        levels: The values, ascending.
        probabilities: Log-probabilities of the values, ``(parents, like) -> (*shape, level)``.
    """

    def __init__(self, levels: Sequence[float], probabilities: LearnedProbabilities) -> None:
        super().__init__()
        self.probabilities = probabilities
        self.noise_law = UniformNoise()
        self.register_buffer("levels", torch.tensor(tuple(levels), dtype=torch.float64))

    def _edges(self, like: Tensor, parents: Parents) -> Tensor:
        # The shape is that of the parents, which may have fewer samples than the noise.
        cumulative = self.probabilities(parents, like.new_zeros(())).exp().cumsum(-1)
        # The last edge is one exactly, whatever the rounding of the sum.
        inner = cumulative[..., :-1].clamp(0.0, 1.0)
        return torch.nn.functional.pad(
            torch.nn.functional.pad(inner, (1, 0)), (0, 1), value=1.0
        )

    def _index(self, value: Tensor) -> Tensor:
        return (value.unsqueeze(-1) - self.levels.to(value.dtype)).abs().argmin(-1)

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, one of the levels, shape ``(*shape)``."""
        edges = self._edges(noise, parents)[..., 1:-1]
        index = (noise.unsqueeze(-1) >= edges).sum(-1)
        return self.levels.to(noise.dtype)[index]

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-probability of the value, shape ``(*shape)``."""
        return _pick(self.probabilities(parents, value.new_zeros(())), self._index(value))

    def abduct(
        self, value: Tensor, parents: Parents, generator: torch.Generator | None = None
    ) -> Tensor:
        """A draw of the noise given the value, uniform in its interval, shape ``(*shape)``."""
        edges = self._edges(value, parents)
        index = self._index(value)
        low, high = (_pick(edges, index + step) for step in (0, 1))
        unit = torch.rand(low.shape, generator=generator, dtype=low.dtype, device=low.device)
        return low + (high - low) * unit


class CategoricalMechanism(AbstractDrawnMechanism):
    r"""A discrete variable without order: the Gumbel-max mechanism.

    .. math:: v = \arg\max_k\,[\log p_k(\mathrm{pa}) + u_k], \qquad u_k \sim \mathrm{Gumbel}(0, 1)

    The noise has one number for every category, on a last axis. The counterfactual does not
    depend on the order of the categories and is stable: where a category becomes relatively less
    likely, nobody changes to it.

    References:
        Oberst & Sontag 2019, ICML, section 4: Gumbel-max structural models.
        Maddison, Tarlow & Minka 2014, NeurIPS 27: the truncated draws of abduction.

    Arguments:
        count: Number of categories.
        probabilities: Log-probabilities, ``(parents, like) -> (*shape, category)``.
    """

    def __init__(self, count: int, probabilities: LearnedProbabilities) -> None:
        super().__init__()
        self.count = count
        self.probabilities = probabilities
        self.noise_law = GumbelNoise()

    def sample_noise(
        self,
        shape: Sequence[int],
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Independent draws of the noise, shape ``(*shape, category)``."""
        return super().sample_noise((*shape, self.count), generator, dtype, device)

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The code of the category, shape ``(*shape)``, from noise ``(*shape, category)``."""
        logs = self.probabilities(parents, noise.new_zeros(()))
        return (logs + noise).argmax(-1).to(noise.dtype)

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-probability of the category, shape ``(*shape)``."""
        return _pick(self.probabilities(parents, value.new_zeros(())), value.long())

    def abduct(
        self, value: Tensor, parents: Parents, generator: torch.Generator | None = None
    ) -> Tensor:
        """A draw of the noise given the category, shape ``(*shape, category)``."""
        logs = self.probabilities(parents, value.new_zeros(()))
        shape = torch.broadcast_shapes(logs.shape[:-1], value.shape)
        logs = logs.expand(*shape, self.count)
        chosen = torch.nn.functional.one_hot(value.long().expand(shape), self.count).bool()
        # The largest perturbed log-probability is Gumbel whichever category has it, and the
        # others are Gumbel below it.
        top = self.noise_law.sample(
            shape, generator=generator, dtype=logs.dtype, device=logs.device
        ).unsqueeze(-1)
        free = logs + self.noise_law.sample(
            logs.shape, generator=generator, dtype=logs.dtype, device=logs.device
        )
        below = -torch.logaddexp(-free, -top.expand_as(free))
        return torch.where(chosen, top, below) - logs


def _pick(table: Tensor, index: Tensor) -> Tensor:
    """Entries of the last axis of ``(*shape, entry)`` at ``(*shape)``, broadcast."""
    shape = torch.broadcast_shapes(table.shape[:-1], index.shape)
    table = table.expand(*shape, table.shape[-1])
    return table.gather(-1, index.expand(shape).unsqueeze(-1)).squeeze(-1)
