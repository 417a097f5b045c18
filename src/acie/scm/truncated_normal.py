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
    return 0.5 * torch.erfc(x / -math.sqrt(2.0))


def value_of_noise(noise: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Truncated-normal quantile of a standard-normal noise.

    Arguments:
        noise: Standard-normal noise, shape ``(*shape)``.
        lower: Standardised lower bound, broadcastable; may be minus infinity.
        upper: Standardised upper bound, broadcastable; may be infinity.

    Returns:
        Standardised value between the bounds, shape ``(*shape)``.
    """
    return _call(_Value, *_common(noise, lower, upper)).to(noise.dtype)


def noise_of_value(value: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Inverse of ``value_of_noise`` in its first argument, shape ``(*shape)``."""
    return _call(_Noise, *_common(value, lower, upper)).to(value.dtype)


def log_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """Log-probability of the interval under the standard normal law, broadcast shape."""
    return _call(_LogMass, *_common(lower, upper)).to(lower.dtype)


def _common(*tensors: Tensor) -> list[Tensor]:
    # Single precision cannot hold a tail; the work is done in double precision.
    return torch.broadcast_tensors(*(tensor.double() for tensor in tensors))


def _call(function: Any, *inputs: Tensor) -> Tensor:
    # Where nothing is differentiated, what autograd does around a function costs more than it.
    return (function.forward if torch.is_inference_mode_enabled() else function.apply)(*inputs)


def _log_density(x: Tensor) -> Tensor:
    return -0.5 * x.square() - 0.5 * math.log(2.0 * math.pi)


# Each function below gives its value and its partial derivatives; these four turn them into what
# torch asks of a differentiable function, so that torch.func (vmap, jacfwd, jacrev) works too.
def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)
    ctx.save_for_forward(*inputs, output)


def _backward(function: Any, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    return tuple(
        grad * function.partial(i, *saved) if needed else None
        for i, needed in enumerate(ctx.needs_input_grad)
    )


def _jvp(function: Any, ctx: Any, tangents: tuple[Tensor | None, ...]) -> Tensor:
    saved = ctx.saved_tensors
    terms = [t * function.partial(i, *saved) for i, t in enumerate(tangents) if t is not None]
    return torch.stack(terms).sum(0)


def _vmap(
    function: Any, info: Any, dims: tuple[int | None, ...], inputs: tuple[Tensor, ...]
) -> tuple[Tensor, int]:
    # Element by element, so the mapped axis is just one more leading axis.
    moved = (
        x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
        for x, dim in zip(inputs, dims, strict=True)
    )
    return function.apply(*moved), 0


class _Value(Function):
    @staticmethod
    def forward(noise: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        flip, a, b = _lean_left(lower, upper)
        u = torch.where(flip, -noise, noise)
        x = _by_parts(_shallow_value, _deep_value, u, a, b)
        return torch.minimum(torch.maximum(torch.where(flip, -x, x), lower), upper)

    @staticmethod
    def partial(index: int, noise: Tensor, lower: Tensor, upper: Tensor, x: Tensor) -> Tensor:
        if index == 0:
            return torch.exp(_log_density(noise) + log_mass(lower, upper) - _log_density(x))
        bound, share = (lower, ndtr(-noise)) if index == 1 else (upper, ndtr(noise))
        return torch.exp(_log_density(bound) - _log_density(x)) * share

    setup_context = staticmethod(_save)
    backward = staticmethod(lambda ctx, grad: _backward(_Value, ctx, grad))
    jvp = staticmethod(lambda ctx, *tangents: _jvp(_Value, ctx, tangents))
    vmap = staticmethod(lambda info, dims, *inputs: _vmap(_Value, info, dims, inputs))


class _Noise(Function):
    @staticmethod
    def forward(value: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        flip, a, b = _lean_left(lower, upper)
        x = torch.where(flip, -value, value)
        u = _by_parts(_shallow_noise, _deep_noise, torch.minimum(torch.maximum(x, a), b), a, b)
        return torch.where(flip, -u, u).clamp(-_LARGEST_NOISE, _LARGEST_NOISE)

    @staticmethod
    def partial(index: int, value: Tensor, lower: Tensor, upper: Tensor, u: Tensor) -> Tensor:
        density = _log_density(u) + log_mass(lower, upper)
        if index == 0:
            return torch.exp(_log_density(value) - density)
        bound, share = (lower, ndtr(-u)) if index == 1 else (upper, ndtr(u))
        return -torch.exp(_log_density(bound) - density) * share

    setup_context = staticmethod(_save)
    backward = staticmethod(lambda ctx, grad: _backward(_Noise, ctx, grad))
    jvp = staticmethod(lambda ctx, *tangents: _jvp(_Noise, ctx, tangents))
    vmap = staticmethod(lambda info, dims, *inputs: _vmap(_Noise, info, dims, inputs))


class _LogMass(Function):
    @staticmethod
    def forward(lower: Tensor, upper: Tensor) -> Tensor:
        _, a, b = _lean_left(lower, upper)
        return _by_parts(_shallow_log_mass, _deep_log_mass, a, a, b)

    @staticmethod
    def partial(index: int, lower: Tensor, upper: Tensor, mass: Tensor) -> Tensor:
        if index == 0:
            return -torch.exp(_log_density(lower) - mass)
        return torch.exp(_log_density(upper) - mass)

    setup_context = staticmethod(_save)
    backward = staticmethod(lambda ctx, grad: _backward(_LogMass, ctx, grad))
    jvp = staticmethod(lambda ctx, *tangents: _jvp(_LogMass, ctx, tangents))
    vmap = staticmethod(lambda info, dims, *inputs: _vmap(_LogMass, info, dims, inputs))


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
    to_a, to_b = ndtr(a), ndtr(b)
    from_end = ndtr(-u.abs()) * (to_b - to_a)
    below = torch.where(u < 0, to_a + from_end, to_b - from_end)
    # Each half is read from its own tail, where probabilities keep their digits. An interval that
    # leans to the left passes one half only for u > 0.
    right = below > 0.5
    x = ndtri(torch.where(right, ndtr(-b) + from_end, below))
    return torch.where(right, -x, x)


def _shallow_noise(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    to_a, to_b, to_x = ndtr(a), ndtr(b), ndtr(x)
    mass = to_b - to_a
    below = (to_x - to_a) / mass
    above = torch.where(x > 0, ndtr(-x) - ndtr(-b), to_b - to_x) / mass
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
