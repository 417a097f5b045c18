r"""The standard normal law truncated to an interval, exact in every tail.

With noise :math:`u \sim N(0, 1)` and standardised bounds :math:`a < b`, the truncated value is

.. math:: \Phi(x) = \Phi(a) + \Phi(u)\,[\Phi(b) - \Phi(a)] ,

which is monotone in u. Computed as written it loses every digit when both bounds are on the
same side, a few sigma out. Here the interval is first reflected so that it leans to the left.
Where it then lies beyond 5 sigma, everything is written relative to the bound nearest to the
centre, :math:`x = b - t`, with

.. math:: \ln\frac{\Phi(b - t)}{\Phi(b)} = -t\,(|b| + t / 2)
          + \ln\frac{\mathrm{erfcx}[(|b| + t)/\sqrt2]}{\mathrm{erfcx}(|b|/\sqrt2)} ,

in which nothing cancels or underflows at any depth. Derivatives are analytic.
"""

__all__ = ["log_mass", "ndtr", "noise_of_value", "value_of_noise"]

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.special import erfcx, ndtri

_DEEP = -5.0
# ndtr underflows beyond this noise; a value on its very bound gets this noise, not infinity.
_LARGEST_NOISE = 38.0
_NEWTON_STEPS = 5


def ndtr(x: Tensor) -> Tensor:
    """Standard normal distribution function, with all its digits in the left tail."""
    # torch.special.ndtr is (1 + erf) / 2, which has none left at -8.
    return 0.5 * torch.erfc(-x / math.sqrt(2.0))


def value_of_noise(noise: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Truncated-normal quantile of a standard-normal noise.

    Arguments:
        noise: Standard-normal noise, shape ``(*shape)``.
        lower: Standardised lower bound, broadcastable; may be minus infinity.
        upper: Standardised upper bound, broadcastable; may be infinity.

    Returns:
        Standardised value between the bounds, shape ``(*shape)``.
    """
    return _Value.apply(*_common(noise, lower, upper)).to(noise.dtype)


def noise_of_value(value: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Inverse of ``value_of_noise`` in its first argument, shape ``(*shape)``."""
    return _Noise.apply(*_common(value, lower, upper)).to(value.dtype)


def log_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """Log-probability of the interval under the standard normal law, broadcast shape."""
    return _LogMass.apply(*_common(lower, upper)).to(lower.dtype)


def _common(*tensors: Tensor) -> list[Tensor]:
    # Single precision cannot hold a tail; the work is done in double precision.
    return torch.broadcast_tensors(*(tensor.double() for tensor in tensors))


def _log_density(x: Tensor) -> Tensor:
    return -0.5 * x.square() - 0.5 * math.log(2.0 * math.pi)


class _Value(Function):
    @staticmethod
    def forward(ctx: Any, noise: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        flip, a, b = _lean_left(lower, upper)
        u = torch.where(flip, -noise, noise)
        x = _by_parts(_shallow_value, _deep_value, u, a, b)
        x = torch.minimum(torch.maximum(torch.where(flip, -x, x), lower), upper)
        ctx.save_for_backward(noise, lower, upper, x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        noise, lower, upper, x = ctx.saved_tensors
        density = _log_density(x)
        to_noise = torch.exp(_log_density(noise) + log_mass(lower, upper) - density)
        to_lower = torch.exp(_log_density(lower) - density) * ndtr(-noise)
        to_upper = torch.exp(_log_density(upper) - density) * ndtr(noise)
        return grad * to_noise, grad * to_lower, grad * to_upper


class _Noise(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        flip, a, b = _lean_left(lower, upper)
        x = torch.where(flip, -value, value)
        u = _by_parts(_shallow_noise, _deep_noise, torch.minimum(torch.maximum(x, a), b), a, b)
        u = torch.where(flip, -u, u).clamp(-_LARGEST_NOISE, _LARGEST_NOISE)
        ctx.save_for_backward(value, lower, upper, u)
        return u

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, lower, upper, u = ctx.saved_tensors
        density = _log_density(u) + log_mass(lower, upper)
        to_value = torch.exp(_log_density(value) - density)
        to_lower = -torch.exp(_log_density(lower) - density) * ndtr(-u)
        to_upper = -torch.exp(_log_density(upper) - density) * ndtr(u)
        return grad * to_value, grad * to_lower, grad * to_upper


class _LogMass(Function):
    @staticmethod
    def forward(ctx: Any, lower: Tensor, upper: Tensor) -> Tensor:
        _, a, b = _lean_left(lower, upper)
        mass = _by_parts(_shallow_log_mass, _deep_log_mass, a, a, b)
        ctx.save_for_backward(lower, upper, mass)
        return mass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper, mass = ctx.saved_tensors
        to_lower = -torch.exp(_log_density(lower) - mass)
        to_upper = torch.exp(_log_density(upper) - mass)
        return grad * to_lower, grad * to_upper


def _lean_left(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # The sum of two opposite infinities is NaN, which compares as "not flipped": correct.
    flip = lower + upper > 0
    return flip, torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)


def _by_parts(shallow: Any, deep: Any, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    # Deep intervals are rare, so only they pay for the Newton steps.
    result = shallow(x, a, b)
    far = b < _DEEP
    if bool(far.any()):
        result[far] = deep(x[far], a[far], b[far])
    # An empty interval has no value, and must not look as if it had.
    return result.masked_fill_(~(a < b), math.nan)


def _shallow_value(u: Tensor, a: Tensor, b: Tensor) -> Tensor:
    mass = ndtr(b) - ndtr(a)
    below = ndtr(a) + ndtr(u) * mass
    above = ndtr(-b) + ndtr(-u) * mass
    # Each half is read from its own tail, where probabilities keep their digits.
    right = below > 0.5
    x = ndtri(torch.where(right, above, below))
    return torch.where(right, -x, x)


def _shallow_noise(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    mass = ndtr(b) - ndtr(a)
    below = (ndtr(x) - ndtr(a)) / mass
    above = torch.where(x > 0, ndtr(-x) - ndtr(-b), ndtr(b) - ndtr(x)) / mass
    right = below > 0.5
    u = ndtri(torch.where(right, above, below).clamp(0.0, 1.0))
    return torch.where(right, -u, u)


def _shallow_log_mass(_: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (ndtr(b) - ndtr(a)).log()


def _log_ratio(depth: Tensor, t: Tensor) -> Tensor:
    root2 = math.sqrt(2.0)
    return -t * (depth + 0.5 * t) + (erfcx((depth + t) / root2) / erfcx(depth / root2)).log()


def _deep_value(u: Tensor, a: Tensor, b: Tensor) -> Tensor:
    end = _log_ratio(-b, b - a)
    whole = -torch.expm1(end)
    # log1p near the inner bound, log of the sum near the outer one: each keeps its digits.
    y = torch.where(
        u > -1.0, torch.log1p(-ndtr(-u) * whole), torch.log(end.exp() + ndtr(u) * whole)
    )
    # The log-ratio is concave in t and the start lies beyond the root, so Newton's steps descend
    # to it without overshooting.
    t = -2.0 * y / ((b.square() - 2.0 * y).sqrt() - b)
    for _ in range(_NEWTON_STEPS):
        slope = -math.sqrt(2.0 / math.pi) / erfcx((t - b) / math.sqrt(2.0))
        t = (t - (_log_ratio(-b, t) - y) / slope).clamp_min(0.0)
    return b - t


def _deep_noise(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    y, end = _log_ratio(-b, b - x), _log_ratio(-b, b - a)
    whole = -torch.expm1(end)
    above = -torch.expm1(y) / whole
    below = (y.exp() - end.exp()) / whole
    right = above < 0.5
    u = ndtri(torch.where(right, above, below).clamp(0.0, 1.0))
    return torch.where(right, -u, u)


def _deep_log_mass(_: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.special.log_ndtr(b) + (-torch.expm1(_log_ratio(-b, b - a))).log()
