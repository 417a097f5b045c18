"""Invertible mechanisms whose values stay between bounds, which may depend on the parents."""

__all__ = ["TruncatedNormalMechanism", "UniformMechanism"]

import math
from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import Tensor
from torch.special import ndtri

from acie.native import operators
from acie.scm.mechanisms import (
    AbstractInvertibleMechanism,
    Bound,
    Parameter,
    Parents,
    evaluate,
)
from acie.scm.noise import NormalNoise
from acie.scm.truncated_normal import log_mass, ndtr, noise_of_value, value_of_noise
from acie.variables import Variable


def _tensor(value: Bound, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def _clip(value: Tensor, lower: Bound, upper: Bound) -> Tensor:
    """The value between bounds that are numbers or tensors; NaN bounds stay NaN."""
    for bound, clip in ((lower, torch.maximum), (upper, torch.minimum)):
        value = clip(value, _tensor(bound, value))
    return value


def _outside(natural: Tensor, lower: Bound, upper: Bound) -> Tensor:
    # Going to the natural scale and back costs a few units in the last place.
    slack = 1e3 * torch.finfo(natural.dtype).eps
    low = lower - slack * (1.0 + abs(lower))
    high = upper + slack * (1.0 + abs(upper))
    # NaN compares as inside, hence the first term.
    return ~natural.isfinite() | (natural < low) | (natural > high)


class TruncatedNormalMechanism(AbstractInvertibleMechanism):
    r"""A normal law on a natural scale, truncated to bounds that may depend on the parents.

    .. math::
        T(v) = \mu + \sigma x, \qquad
        \Phi(x) = \Phi(a) + \Phi(u)\,[\Phi(b) - \Phi(a)], \qquad
        a, b = (T(v_{\min}, v_{\max}) - \mu) / \sigma .

    Laws: the value never leaves its bounds, under any intervention; the noise is exact for any
    distance between the bounds and the location.

    Arguments:
        location: :math:`\mu`, on the natural scale (log10 of the unit, or the unit).
        scale: :math:`\sigma`, positive, on the natural scale (dex, or the unit).
        lower: Smallest value, physical unit; may be minus infinity (or 0 with ``log10``).
        upper: Largest value, physical unit; may be infinity.
        transform: :math:`T`, ``log10`` or ``identity``.

    All four are numbers, tensors, or functions of the parents.
    """

    def __init__(
        self,
        location: Parameter,
        scale: Parameter,
        lower: Parameter = -math.inf,
        upper: Parameter = math.inf,
        transform: Literal["identity", "log10"] = "identity",
    ) -> None:
        super().__init__()
        for name, parameter in (
            ("location", location),
            ("scale", scale),
            ("lower", lower),
            ("upper", upper),
        ):
            self._declare(name, parameter)
        self._natural = Variable("value", transform=transform)
        self.noise_law = NormalNoise()

    def law(self, like: Tensor, parents: Parents) -> tuple[Bound, ...]:
        """Location, scale and bounds on the natural scale, for values of the type of ``like``."""
        bounds = (self._natural_bound(bound, like) for bound in self.support(parents))
        return evaluate(self.location, parents), evaluate(self.scale, parents), *bounds

    def _natural_bound(self, bound: Bound, like: Tensor) -> Bound:
        log = self._natural.transform == "log10"
        if not isinstance(bound, Tensor):
            # Numbers stay numbers: each operation on a tensor costs more than all of this.
            return (math.log10(bound) if bound > 0.0 else -math.inf) if log else float(bound)
        value = bound.to(like)
        return self._natural.forward(value.clamp_min(0.0) if log else value)

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, physical, shape ``(*shape)``; NaN where the bounds leave no room."""
        support = self.support(parents)
        location, scale, lower, upper = self.law(noise, parents)
        ends = _standardised(lower, upper, _tensor(location, noise), _tensor(scale, noise))
        natural = location + scale * value_of_noise(noise, *ends)
        # Rounding must not carry a value over its bound.
        value = self._natural.inverse(_clip(natural, lower, upper))
        return _clip(value, *support)

    def invert(self, value: Tensor, parents: Parents) -> Tensor:
        """The noise, shape ``(*shape)``; NaN outside the bounds, finite on them."""
        return _noise(self._natural.forward(value), *self.law(value, parents))

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-density per physical unit, shape ``(*shape)``; minus infinity outside."""
        law = self.law(value, parents)
        if operators.usable(value, *law):
            parts = [value, *map(operators.either, law)]
            return operators.normal_density(parts, self._natural.transform == "log10", True)
        derivative = self._natural.log_abs_derivative(value)
        return _density(self._natural.forward(value), derivative, *law)

    @classmethod
    def invert_all(
        cls, mechanisms: Sequence[Self], values: Sequence[Tensor], parents: Sequence[Parents]
    ) -> list[Tensor]:
        """See :class:`AbstractInvertibleMechanism`."""
        laws = [m.law(*pair) for m, *pair in zip(mechanisms, values, parents, strict=True)]
        natural = [m._natural.forward(v) for m, v in zip(mechanisms, values, strict=True)]
        if not _alike(values, laws):
            return [_noise(n, *law) for n, law in zip(natural, laws, strict=True)]
        return list(_noise(torch.stack(natural), *_stacked(values[0], laws)).unbind())

    @classmethod
    def log_prob_all(
        cls, mechanisms: Sequence[Self], values: Sequence[Tensor], parents: Sequence[Parents]
    ) -> list[Tensor]:
        """See :class:`AbstractInvertibleMechanism`."""
        if operators.usable(*values):
            # One by one they then need no stacking.
            return super().log_prob_all(mechanisms, values, parents)
        laws = [m.law(*pair) for m, *pair in zip(mechanisms, values, parents, strict=True)]
        pairs = [(m._natural, v) for m, v in zip(mechanisms, values, strict=True)]
        natural = [scale.forward(value) for scale, value in pairs]
        derivative = [scale.log_abs_derivative(value) for scale, value in pairs]
        if not _alike(values, laws):
            return [
                _density(*piece, *law)
                for *piece, law in zip(natural, derivative, laws, strict=True)
            ]
        stacked = _stacked(values[0], laws)
        return list(_density(torch.stack(natural), torch.stack(derivative), *stacked).unbind())

    def support(self, parents: Parents) -> tuple[Bound, Bound]:
        """The bounds, physical unit, at these parents."""
        return evaluate(self.lower, parents), evaluate(self.upper, parents)

    def extra_repr(self) -> str:
        """Scale and constant bounds, for ``repr``."""
        bounds = (
            f"{bound:g}" if isinstance(bound, int | float) else "f(parents)"
            for bound in (self.lower, self.upper)
        )
        return f"{self._natural.transform}, {' to '.join(bounds)}"


def _standardised(
    lower: Bound, upper: Bound, location: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """The bounds in units of the scale, from the location."""

    def standardise(bound: Bound) -> Tensor:
        if not isinstance(bound, Tensor):
            if math.isfinite(bound):
                return (bound - location) / scale
            return location.new_full((), bound)
        # An infinite bound must not send 0 * infinity into the gradient of the scale.
        finite = bound.isfinite()
        return torch.where(finite, (torch.where(finite, bound, 0.0) - location) / scale, bound)

    return standardise(lower), standardise(upper)


def _noise(natural: Tensor, location: Bound, scale: Bound, lower: Bound, upper: Bound) -> Tensor:
    """The noise of values on the natural scale; NaN outside the bounds."""
    location, scale = _tensor(location, natural), _tensor(scale, natural)
    ends = _standardised(lower, upper, location, scale)
    noise = noise_of_value((natural - location) / scale, *ends)
    return noise.masked_fill(_outside(natural, lower, upper), math.nan)


def _density(
    natural: Tensor,
    derivative: Tensor,
    location: Bound,
    scale: Bound,
    lower: Bound,
    upper: Bound,
) -> Tensor:
    """Log-density of values on the natural scale, plus the log derivative of that scale."""
    location, scale = _tensor(location, natural), _tensor(scale, natural)
    ends = _standardised(lower, upper, location, scale)
    density = NormalNoise().log_prob((natural - location) / scale) - log_mass(*ends)
    density = density - scale.log() + derivative
    impossible = _outside(natural, lower, upper) | ~_tensor(lower < upper, natural).bool()
    return density.masked_fill(impossible, -math.inf)


def _alike(values: Sequence[Tensor], laws: Sequence[tuple[Bound, ...]]) -> bool:
    """Whether all values have one shape and type, and all parameters that shape or none."""
    first = values[0]
    # Not by comparing shapes: in a recording each of their sizes would be a condition. What is
    # alike there is stacked, which fails for other sizes.
    return all(v.is_same_size(first) and v.dtype == first.dtype for v in values) and all(
        p.ndim == 0 or p.is_same_size(first)
        for law in laws
        for p in law
        if isinstance(p, Tensor)
    )


def _stacked(like: Tensor, laws: Sequence[tuple[Bound, ...]]) -> list[Tensor]:
    """Each parameter of all laws, stacked so that it broadcasts to ``(law, *shape)``."""
    stacked = []
    for parameters in zip(*laws, strict=True):
        if not any(isinstance(parameter, Tensor) for parameter in parameters):
            numbers = torch.tensor(parameters, dtype=like.dtype, device=like.device)
            stacked.append(numbers.view(-1, *[1] * like.ndim))
            continue
        tensors = [_tensor(parameter, like).expand(like.shape) for parameter in parameters]
        stacked.append(torch.stack(tensors))
    return stacked


class UniformMechanism(AbstractInvertibleMechanism):
    r"""A flat law on a natural scale, driven by standard-normal noise.

    .. math:: T(v) = T(v_{\min}) + \Phi(u)\,[T(v_{\max}) - T(v_{\min})] .

    Arguments:
        lower: Smallest value, physical unit, finite; number or function of the parents.
        upper: Largest value, physical unit, finite.
        transform: :math:`T`, ``log10`` or ``identity``.
    """

    def __init__(
        self,
        lower: Parameter,
        upper: Parameter,
        transform: Literal["identity", "log10"] = "identity",
    ) -> None:
        super().__init__()
        self._declare("lower", lower)
        self._declare("upper", upper)
        self._natural = Variable("value", transform=transform)
        self.noise_law = NormalNoise()

    def _ends(self, like: Tensor, parents: Parents) -> tuple[Tensor, Tensor]:
        lower, upper = (self._natural.forward(_tensor(b, like)) for b in self.support(parents))
        return lower, upper

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        """The value, physical, shape ``(*shape)``."""
        lower, upper = self._ends(noise, parents)
        width = upper - lower
        # Counted from the nearer end, so that both tails keep their digits.
        natural = torch.where(noise < 0, lower + width * ndtr(noise), upper - width * ndtr(-noise))
        low, high = (_tensor(bound, noise) for bound in self.support(parents))
        return torch.minimum(torch.maximum(self._natural.inverse(natural), low), high)

    def invert(self, value: Tensor, parents: Parents) -> Tensor:
        """The noise, shape ``(*shape)``; NaN outside the bounds, finite on them."""
        lower, upper = self._ends(value, parents)
        natural = self._natural.forward(value)
        below = (natural - lower) / (upper - lower)
        above = (upper - natural) / (upper - lower)
        right = below > 0.5
        half = ndtri(torch.where(right, above, below).clamp(torch.finfo(value.dtype).tiny, 1.0))
        noise = torch.where(right, -half, half)
        return noise.masked_fill(_outside(natural, lower, upper), math.nan)

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        """Log-density per physical unit, shape ``(*shape)``; minus infinity outside."""
        lower, upper = self._ends(value, parents)
        outside = _outside(self._natural.forward(value), lower, upper)
        density = self._natural.log_abs_derivative(value) - (upper - lower).log()
        return density.masked_fill(outside, -math.inf)

    def support(self, parents: Parents) -> tuple[Bound, Bound]:
        """The bounds, physical unit, at these parents."""
        return evaluate(self.lower, parents), evaluate(self.upper, parents)

    def extra_repr(self) -> str:
        """Scale and constant bounds, for ``repr``."""
        bounds = (
            f"{bound:g}" if isinstance(bound, int | float) else "f(parents)"
            for bound in (self.lower, self.upper)
        )
        return f"{self._natural.transform}, {' to '.join(bounds)}"
