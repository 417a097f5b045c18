r"""A learned invertible mechanism: a conditional monotone spline."""

__all__ = ["FlowMechanism"]

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from acie.scm.mechanisms import AbstractInvertibleMechanism, Bound, Parents
from acie.scm.noise import NormalNoise
from acie.variables import Variable

if TYPE_CHECKING:
    from zuko.transforms import MonotonicRQSTransform


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
        self.parents = tuple(parents)
        self.bins, self.bound = bins, bound
        self.noise_law = NormalNoise()
        self._natural = Variable("value", transform=transform)
        count = len(self.parents)
        self.register_buffer("input_mean", torch.zeros(max(count, 1)))
        self.register_buffer("input_std", torch.ones(max(count, 1)))
        self.register_buffer("output_mean", torch.zeros(()))
        self.register_buffer("output_std", torch.ones(()))
        # Without parents, the input is a constant.
        widths = [max(count, 1), *hidden]
        layers: list[nn.Module] = []
        for i, o in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(i, o), nn.SiLU()]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-1], 3 * bins + 1))
        # Starting at the identity makes the first step of training well scaled.
        nn.init.zeros_(self.network[-1].weight)
        nn.init.zeros_(self.network[-1].bias)

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
        for i, variable in enumerate(self.parents):
            scaled = variable.forward(parents[variable.name])
            self.input_mean[i] = scaled.mean()
            self.input_std[i] = scaled.std().clamp_min(1e-12)
        return self

    def _condition(
        self, like: Tensor, parents: Parents
    ) -> tuple[Tensor, Tensor, "MonotonicRQSTransform"]:
        # Importing zuko switches off the validation of torch's distributions for the whole
        # process, so only models with a flow pay for it.
        from zuko.transforms import MonotonicRQSTransform

        scaled = [variable.forward(parents[variable.name]) for variable in self.parents]
        columns = torch.broadcast_tensors(like, *(scaled or [torch.zeros_like(like)]))[1:]
        inputs = torch.stack(columns, dim=-1).to(self.input_mean.dtype)
        parameters = self.network((inputs - self.input_mean) / self.input_std).to(like.dtype)
        location, log_scale, *_ = parameters.unbind(-1)
        widths, heights, slopes = parameters[..., 2:].split(
            [self.bins, self.bins, self.bins - 1], dim=-1
        )
        spline = MonotonicRQSTransform(widths, heights, slopes, bound=self.bound)
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
