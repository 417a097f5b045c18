r"""Bijections between physical values and the real line.

A value goes to its natural scale (log10 or identity), and from there by a logit when both
bounds are finite, by a logarithm when one is.
"""

__all__ = ["from_real", "to_real"]

import math

import torch
from torch import Tensor

from acie.errors import ConfigurationError
from acie.native import operators
from acie.scm.mechanisms import Bound
from acie.variables import Variable


def to_real(
    value: Tensor, variable: Variable, bounds: tuple[Bound, Bound]
) -> tuple[Tensor, Tensor]:
    """Physical value to the real line.

    Arguments:
        value: Physical value inside the bounds, shape ``(*shape)``.
        variable: Its declaration, for the natural scale.
        bounds: Physical bounds, numbers or broadcastable tensors; may be infinite.

    Returns:
        The real number and the log of ``|d real / d value|``, each ``(*shape)``.
    """
    lower, upper, has_lower, has_upper = _natural_bounds(variable, bounds, value)
    natural = variable.forward(value)
    if has_lower and has_upper:
        real = (natural - lower).log() - (upper - natural).log()
    elif has_lower:
        real = (natural - lower).log()
    elif has_upper:
        real = -(upper - natural).log()
    else:
        real = natural
    derivative = _log_derivative(real, lower, upper, has_lower, has_upper)
    return real, derivative + variable.log_abs_derivative(value)


def from_real(
    real: Tensor, variable: Variable, bounds: tuple[Bound, Bound]
) -> tuple[Tensor, Tensor]:
    """Inverse of ``to_real``.

    Returns:
        The physical value and the log of ``|d real / d value|``, each ``(*shape)``.
    """
    lower, upper, has_lower, has_upper = _natural_bounds(variable, bounds, real)
    if has_lower == has_upper and operators.usable(real):
        real, limits = _limits(real, lower, upper, *bounds)
        return operators.from_real(real, limits, variable.transform == "log10", has_lower)
    if has_lower and has_upper:
        # Counted from the nearer end, so that a saturated sigmoid stays inside.
        width = upper - lower
        share = torch.sigmoid(-real.abs()) * width
        natural = torch.where(real < 0, lower + share, upper - share)
    elif has_lower:
        natural = lower + real.exp()
    elif has_upper:
        natural = upper - (-real).exp()
    else:
        natural = real
    value = _clipped(variable.inverse(natural), *bounds)
    derivative = _log_derivative(real, lower, upper, has_lower, has_upper)
    return value, derivative + variable.log_abs_derivative(value)


def _limits(real: Tensor, *bounds: Bound) -> tuple[Tensor, Tensor]:
    """Real numbers and their bounds ``(bound, *shape)``, ``(bound,)`` if all are numbers."""
    if not any(isinstance(bound, Tensor) for bound in bounds):
        return real, operators.numbers(*bounds)
    tensors = (b.to(real) if isinstance(b, Tensor) else torch.full_like(real, b) for b in bounds)
    real, *tensors = torch.broadcast_tensors(real, *tensors)
    return real, torch.stack(tensors)


def _clipped(value: Tensor, low: Bound, high: Bound) -> Tensor:
    for bound, clip in ((low, torch.clamp_min), (high, torch.clamp_max)):
        if isinstance(bound, Tensor):
            bound = bound.to(value)
        value = clip(value, bound)
    return value


def _log_derivative(
    real: Tensor, lower: Bound, upper: Bound, has_lower: bool, has_upper: bool
) -> Tensor:
    # Written in the real number, where nothing cancels near a bound.
    if has_lower and has_upper:
        width = upper - lower
        log_width = width.log() if isinstance(width, Tensor) else math.log(width)
        # log sigmoid(x) + log sigmoid(-x) = -|x| - 2 log(1 + exp(-|x|))
        return real.abs() + 2.0 * torch.log1p(torch.exp(-real.abs())) - log_width
    if has_lower:
        return -real
    return real if has_upper else torch.zeros_like(real)


def _natural_bounds(
    variable: Variable, bounds: tuple[Bound, Bound], like: Tensor
) -> tuple[Bound, Bound, bool, bool]:
    """Bounds on the natural scale, and whether they are finite; numbers stay numbers."""
    scaled, finite = [], []
    for bound in bounds:
        if not isinstance(bound, Tensor):
            natural = _natural_number(variable.transform, float(bound))
            scaled.append(natural)
            finite.append(math.isfinite(natural))
            continue
        tensor = bound.to(like)
        if variable.transform == "log10":
            tensor = tensor.clamp_min(0.0)
        natural = variable.forward(tensor)
        inside = natural.isfinite()
        if bool(inside.any()) and not bool(inside.all()):
            raise ConfigurationError(
                variable.name,
                expected="a bound that is finite for all parents or for none",
                found="both",
                remedy="Use a large finite bound instead of infinity.",
            )
        scaled.append(natural)
        finite.append(bool(inside.all()))
    return scaled[0], scaled[1], finite[0], finite[1]


def _natural_number(transform: str, bound: float) -> float:
    if transform == "log10":
        return math.log10(bound) if bound > 0.0 else -math.inf
    return bound
