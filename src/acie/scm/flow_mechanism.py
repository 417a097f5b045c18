r"""Learned monotone splines: a conditional mechanism, and the shape of a noise law.

This is one of the two files that may import zuko. Importing it switches torch's validation of
distributions off for the whole process; the state found before the import is restored.
"""

__all__ = ["FlowMechanism", "SplineShape"]

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from acie.scm.features import ParentFeatures, perceptron
from acie.scm.mechanisms import AbstractInvertibleMechanism, Bound, Parents
from acie.scm.noise import NormalNoise
from acie.variables import Variable

if TYPE_CHECKING:
    from zuko.transforms import MonotonicRQSTransform


def _spline(
    widths: Tensor, heights: Tensor, slopes: Tensor, bound: float
) -> "MonotonicRQSTransform":
    # Imported when needed, so that models without a spline do not pay for it.
    validation = Distribution._validate_args
    from zuko.transforms import MonotonicRQSTransform

    Distribution.set_default_validate_args(validation)
    return MonotonicRQSTransform(widths, heights, slopes, bound=bound)


class SplineShape(nn.Module):
    r"""A monotone spline that turns standard normal noise into noise of another law.

    Starts at the identity, and is the identity beyond ``bound``.

    References:
        Durkan et al. 2019, NeurIPS 32, equation 4.

    Arguments:
        bins: Number of spline segments.
        bound: Half-width of the spline.
    """

    def __init__(self, bins: int = 12, bound: float = 6.0) -> None:
        super().__init__()
        self.bins, self.bound = bins, bound
        self.shape = nn.Parameter(torch.zeros(3 * bins - 1))

    def _transform(self, like: Tensor) -> "MonotonicRQSTransform":
        pieces = self.shape.to(like.dtype).split([self.bins, self.bins, self.bins - 1])
        return _spline(*pieces, self.bound)

    def forward(self, noise: Tensor) -> Tensor:
        """Standard normal noise to shaped noise, any shape."""
        return self._transform(noise)(noise)

    def invert(self, shaped: Tensor) -> tuple[Tensor, Tensor]:
        """The standard normal noise, and the log of ``d noise / d shaped``, same shapes."""
        transform = self._transform(shaped)
        noise = transform.inv(shaped)
        return noise, -transform.log_abs_det_jacobian(noise, shaped)


class FlowMechanism(AbstractInvertibleMechanism):
    r"""A rational-quadratic spline whose shape depends on the parents.

    .. math:: T(v) = m + s\,[\mu(\mathrm{pa}) + \sigma(\mathrm{pa})\, S_{\mathrm{pa}}(u)] ,

    with S monotone, the identity beyond ``bound``, and inverted in closed form. Train it by
    maximising ``log_prob``.

    References:
        Durkan et al. 2019, NeurIPS 32, equation 4.
        Javaloy et al. 2023, NeurIPS 36: flows as structural models.

    Arguments:
        parents: Declarations of the direct causes; their natural scales are the inputs.
        transform: :math:`T`, ``log10`` or ``identity``.
        bins: Number of spline segments.
        hidden: Widths of the hidden layers of the network.
        bound: Half-width of the spline, in noise units.
    """

    def __init__(
        self,
        parents: Sequence[Variable],
        transform: Literal["identity", "log10"] = "identity",
        bins: int = 8,
        hidden: Sequence[int] = (64, 64),
        bound: float = 5.0,
    ) -> None:
        super().__init__()
        self.bins, self.bound = bins, bound
        self.noise_law = NormalNoise()
        self._natural = Variable("value", transform=transform)
        self.features = ParentFeatures(parents)
        self.register_buffer("output_mean", torch.zeros(()))
        self.register_buffer("output_std", torch.ones(()))
        # Without parents, the input is a constant.
        self.network = perceptron(self.features.size, hidden, 3 * bins + 1)

    @torch.no_grad()
    def standardise(self, value: Tensor, parents: Parents) -> "FlowMechanism":
        """Take the location and scale of inputs and output from training data, in place.

        Arguments:
            value: Physical values, shape ``(sample,)``.
            parents: Their parents, each ``(sample,)``.
        """
        natural = self._natural.forward(value)
        self.output_mean.copy_(natural.mean())
        self.output_std.copy_(natural.std().clamp_min(1e-12))
        self.features.standardise(parents)
        return self

    def _condition(
        self, like: Tensor, parents: Parents
    ) -> tuple[Tensor, Tensor, "MonotonicRQSTransform"]:
        dtype = self.output_mean.dtype
        # The shape is that of the parents, which may have fewer samples than the noise.
        inputs = self.features(parents, like.new_zeros((), dtype=dtype))
        parameters = self.network(inputs).to(like.dtype)
        location, log_scale, *_ = parameters.unbind(-1)
        widths, heights, slopes = parameters[..., 2:].split(
            [self.bins, self.bins, self.bins - 1], dim=-1
        )
        spline = _spline(widths, heights, slopes, self.bound)
        # A soft limit keeps an untrained corner of the inputs from collapsing the scale.
        scale = torch.exp(5.0 * torch.tanh(log_scale / 5.0))
        mean, std = self.output_mean.to(like.dtype), self.output_std.to(like.dtype)
        return mean + std * location, std * scale, spline

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, physical, shape ``(*shape)``."""
        location, scale, spline = self._condition(noise, parents)
        return self._natural.inverse(location + scale * spline(noise))

    def invert(self, value: Tensor, parents: Parents) -> Tensor:
        """The noise, shape ``(*shape)``."""
        location, scale, spline = self._condition(value, parents)
        return spline.inv((self._natural.forward(value) - location) / scale)

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-density per physical unit, shape ``(*shape)``."""
        location, scale, spline = self._condition(value, parents)
        noise = spline.inv((self._natural.forward(value) - location) / scale)
        _, slope = spline.call_and_ladj(noise)
        density = self.noise_law.log_prob(noise) - slope - scale.log()
        return density + self._natural.log_abs_derivative(value)

    def support(self, parents: Parents) -> tuple[Bound, Bound]:
        """The real line, or the positive half with ``log10``."""
        return (0.0 if self._natural.transform == "log10" else -math.inf), math.inf

    def extra_repr(self) -> str:
        """Transform and size, for ``repr``."""
        return f"{self._natural.transform}, bins={self.bins}"
