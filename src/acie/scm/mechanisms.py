r"""Structural assignments :math:`v = f(\mathrm{pa}, u)` with explicit noise.

Values and parents are physical; the noise is dimensionless and, unless another law is given,
standard normal. Parameters are numbers, tensors, modules or functions of the parents. Laws:
``invert(assign(u, pa), pa) == u``, and ``assign`` is monotone in ``u``.
"""

__all__ = [
    "AbstractDrawnMechanism",
    "AbstractInvertibleMechanism",
    "AbstractMechanism",
    "AdditiveNoiseMechanism",
    "Bound",
    "MonotoneMechanism",
    "Parameter",
    "Parents",
    "PostNonlinearMechanism",
    "evaluate",
]

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn

from acie.native import operators
from acie.scm.checks import Bound
from acie.scm.noise import AbstractNoise, NormalNoise
from acie.variables import Variable

Parents = Mapping[str, Tensor]
Parameter = float | Tensor | Callable[[Parents], Tensor]


def evaluate(parameter: Parameter, parents: Parents) -> Bound:
    """A parameter of a mechanism, at the given parents."""
    if callable(parameter) and not isinstance(parameter, Tensor):
        return parameter(parents)
    return parameter


class AbstractMechanism(nn.Module, ABC):
    """How one variable is made from its parents and its noise.

    ``noise_law`` is ``None`` for mechanisms without noise.
    """

    noise_law: AbstractNoise | None = None

    @abstractmethod
    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, physical.

        Arguments:
            noise: Shape ``(*shape)``; ignored by mechanisms without noise.
            parents: Values of the direct causes, each broadcastable to ``(*shape)``.
        """

    def sample_noise(
        self,
        shape: Sequence[int],
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Independent draws of the noise, shape ``shape``; zeros when there is none."""
        if self.noise_law is None:
            return torch.zeros(tuple(shape), dtype=dtype, device=device)
        return self.noise_law.sample(shape, generator=generator, dtype=dtype, device=device)

    def _declare(self, name: str, parameter: Parameter) -> None:
        # Plain tensors become buffers, so that they follow the module to its device.
        if isinstance(parameter, Tensor) and not isinstance(parameter, nn.Parameter):
            self.register_buffer(name, parameter)
        else:
            setattr(self, name, parameter)


class AbstractInvertibleMechanism(AbstractMechanism):
    """A mechanism whose noise is known exactly once its value and its parents are."""

    @abstractmethod
    def invert(self, value: Tensor, parents: Parents) -> Tensor:
        """The noise that gives ``value``; NaN where no noise does."""

    @abstractmethod
    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-density of the physical value given the parents, same shape."""

    @abstractmethod
    def support(self, parents: Parents) -> tuple[Bound, Bound]:
        """Smallest and largest physical value for these parents; may be infinite."""

    # Several variables at once. A kind whose laws are many small operations overrides these.
    @classmethod
    def invert_all(
        cls, mechanisms: Sequence[Self], values: Sequence[Tensor], parents: Sequence[Parents]
    ) -> list[Tensor]:
        """:meth:`invert` of each of several mechanisms of this kind."""
        return [m.invert(*pair) for m, *pair in zip(mechanisms, values, parents, strict=True)]

    @classmethod
    def log_prob_all(
        cls, mechanisms: Sequence[Self], values: Sequence[Tensor], parents: Sequence[Parents]
    ) -> list[Tensor]:
        """:meth:`log_prob` of each of several mechanisms of this kind."""
        return [m.log_prob(*pair) for m, *pair in zip(mechanisms, values, parents, strict=True)]


class AbstractDrawnMechanism(AbstractMechanism):
    """A discrete mechanism: its value leaves its noise a set, in which abduction draws."""

    @abstractmethod
    def abduct(
        self, value: Tensor, parents: Parents, generator: torch.Generator | None = None
    ) -> Tensor:
        """A draw of the noise given the value; ``assign`` returns the value."""

    @abstractmethod
    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-probability of the value given the parents, same shape."""


class AdditiveNoiseMechanism(AbstractInvertibleMechanism):
    r"""Noise added on a natural scale.

    .. math:: T(v) = \mu(\mathrm{pa}) + \sigma(\mathrm{pa})\, u .

    Arguments:
        location: :math:`\mu`, on the natural scale (log10 of the unit, or the unit).
        scale: :math:`\sigma`, positive, on the natural scale (dex, or the unit).
        transform: :math:`T`, ``log10`` or ``identity``.
        noise: Law of the noise.
    """

    def __init__(
        self,
        location: Parameter,
        scale: Parameter = 1.0,
        transform: Literal["identity", "log10"] = "identity",
        noise: AbstractNoise | None = None,
    ) -> None:
        super().__init__()
        self._declare("location", location)
        self._declare("scale", scale)
        # The declaration of a variable owns the natural scales; this one is anonymous.
        self._natural = Variable("value", transform=transform)
        self.noise_law = noise or NormalNoise()

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, physical, shape ``(*shape)``."""
        location, scale = evaluate(self.location, parents), evaluate(self.scale, parents)
        return self._natural.inverse(location + scale * noise)

    def invert(self, value: Tensor, parents: Parents) -> Tensor:
        """The noise, shape ``(*shape)``."""
        location, scale = evaluate(self.location, parents), evaluate(self.scale, parents)
        return (self._natural.forward(value) - location) / scale

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-density per physical unit, shape ``(*shape)``; minus infinity outside."""
        location, scale = evaluate(self.location, parents), evaluate(self.scale, parents)
        logarithmic = self._natural.transform == "log10"
        if isinstance(self.noise_law, NormalNoise) and operators.usable(value, location, scale):
            parts = [value, operators.either(location), operators.either(scale)]
            return operators.normal_density(parts, logarithmic, False)
        density = self.noise_law.log_prob((self._natural.forward(value) - location) / scale)
        scale = torch.as_tensor(scale, dtype=value.dtype, device=value.device)
        density = density - scale.abs().log() + self._natural.log_abs_derivative(value)
        if logarithmic:
            return density.masked_fill(value <= 0, -math.inf)
        return density

    def support(self, parents: Parents) -> tuple[Bound, Bound]:
        """Where the law of the noise is mapped to."""
        low, high = self.noise_law.support
        if math.isinf(low) and math.isinf(high):
            return (0.0 if self._natural.transform == "log10" else -math.inf), math.inf
        location, scale = evaluate(self.location, parents), evaluate(self.scale, parents)
        ends = (
            torch.as_tensor(location + scale * end, dtype=torch.float64) for end in (low, high)
        )
        lower, upper = (self._natural.inverse(end) for end in ends)
        return lower, upper

    def extra_repr(self) -> str:
        """Scale and noise, for ``repr``."""
        return f"{self._natural.transform}, {self.noise_law}"


class MonotoneMechanism(AbstractInvertibleMechanism):
    """Any assignment monotone in its noise, with its inverse in closed form.

    Arguments:
        forward: ``(noise, parents) -> value``, monotone in the noise, element by element.
        inverse: ``(value, parents) -> noise``.
        log_abs_derivative: ``(value, parents) -> log |d inverse / d value|``; found by automatic
            differentiation of ``inverse`` when not given.
        noise: Law of the noise.
        support: Smallest and largest value; numbers or functions of the parents.
    """

    def __init__(
        self,
        forward: Callable[[Tensor, Parents], Tensor],
        inverse: Callable[[Tensor, Parents], Tensor],
        log_abs_derivative: Callable[[Tensor, Parents], Tensor] | None = None,
        noise: AbstractNoise | None = None,
        support: tuple[Parameter, Parameter] = (-math.inf, math.inf),
    ) -> None:
        super().__init__()
        self._forward = forward
        self._inverse = inverse
        self._log_abs_derivative = log_abs_derivative
        self.noise_law = noise or NormalNoise()
        self._support = support

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, physical, shape ``(*shape)``."""
        return self._forward(noise, parents)

    def invert(self, value: Tensor, parents: Parents) -> Tensor:
        """The noise, shape ``(*shape)``."""
        return self._inverse(value, parents)

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-density per physical unit, shape ``(*shape)``."""
        if self._log_abs_derivative is not None:
            derivative = self._log_abs_derivative(value, parents)
            return self.noise_law.log_prob(self.invert(value, parents)) + derivative
        noise, derivative = _noise_and_log_derivative(self.invert, value, parents)
        return self.noise_law.log_prob(noise) + derivative

    def support(self, parents: Parents) -> tuple[Bound, Bound]:
        """The declared support, at these parents."""
        lower, upper = self._support
        return evaluate(lower, parents), evaluate(upper, parents)

    def extra_repr(self) -> str:
        """Noise, for ``repr``."""
        return f"{self.noise_law}"


class PostNonlinearMechanism(AbstractInvertibleMechanism):
    r"""Additive noise seen through a monotone map.

    .. math:: v = g(\mu(\mathrm{pa}) + \sigma(\mathrm{pa})\, u) .

    References:
        Zhang & Hyvarinen 2009, UAI, equation 1.

    Arguments:
        location: :math:`\mu`, number or function of the parents.
        scale: :math:`\sigma`, positive.
        outer: :math:`g`, element by element.
        outer_inverse: :math:`g^{-1}`.
        support: Smallest and largest value of :math:`g`.
        noise: Law of the noise.
    """

    def __init__(
        self,
        location: Parameter,
        scale: Parameter,
        outer: Callable[[Tensor], Tensor],
        outer_inverse: Callable[[Tensor], Tensor],
        support: tuple[float, float] = (-math.inf, math.inf),
        noise: AbstractNoise | None = None,
    ) -> None:
        super().__init__()
        self._declare("location", location)
        self._declare("scale", scale)
        self.outer = outer
        self.outer_inverse = outer_inverse
        self._support = support
        self.noise_law = noise or NormalNoise()

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, physical, shape ``(*shape)``."""
        location, scale = evaluate(self.location, parents), evaluate(self.scale, parents)
        return self.outer(location + scale * noise)

    def invert(self, value: Tensor, parents: Parents) -> Tensor:
        """The noise, shape ``(*shape)``."""
        location, scale = evaluate(self.location, parents), evaluate(self.scale, parents)
        return (self.outer_inverse(value) - location) / scale

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-density per physical unit, shape ``(*shape)``."""
        noise, derivative = _noise_and_log_derivative(self.invert, value, parents)
        return self.noise_law.log_prob(noise) + derivative

    def support(self, parents: Parents) -> tuple[Bound, Bound]:
        """The range of the outer map."""
        return self._support

    def extra_repr(self) -> str:
        """Noise, for ``repr``."""
        return f"{self.noise_law}"


def _noise_and_log_derivative(
    invert: Callable[[Tensor, Parents], Tensor], value: Tensor, parents: Parents
) -> tuple[Tensor, Tensor]:
    noise = invert(value, parents)
    needed = torch.is_grad_enabled() and noise.requires_grad
    # The inverse acts element by element, so the gradient of its sum is its derivative.
    with torch.enable_grad():
        point = value if value.requires_grad else value.detach().requires_grad_()
        (slope,) = torch.autograd.grad(invert(point, parents).sum(), point, create_graph=needed)
    return noise, (slope if needed else slope.detach()).abs().log()
