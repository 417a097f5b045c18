"""Refusals shared by the model and by the language of interventions."""

__all__ = [
    "UNBOUNDED", "Bound", "Family", "allowed", "missing", "refuse_impossible", "refuse_nan",
    "refuse_value",
]  # fmt: skip

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from acie.errors import CausalError, OutsideSupport
from acie.variables import Variable

#: A bound that is the same for all, or one for each value.
Bound = float | Tensor
UNBOUNDED: tuple[Bound, Bound] = (-math.inf, math.inf)


class Family(dict[str, Tensor]):
    """The values of the declared parents of one variable.

    A mechanism is shown nothing else, so it cannot listen to a variable that the graph does not
    list among its causes.

    Arguments:
        child: The variable that is being made.
        parents: Values of its parents, as far as they are known.
    """

    def __init__(self, child: str, parents: Mapping[str, Tensor]) -> None:
        super().__init__(parents)
        self.child = child

    def __missing__(self, name: str) -> Tensor:
        raise CausalError(
            self.child,
            expected=f"a mechanism that reads only its available parents ({', '.join(self)})",
            found=f"one that reads {name!r}",
            remedy=f"Declare {name!r} as a parent of {self.child!r}, or give its value.",
        )


def missing(name: str, what: str = "value") -> CausalError:
    """The error for a variable whose value or noise is needed and not given."""
    return CausalError(
        name, expected=f"a {what}", found="none", remedy=f"Give the {what} of {name!r}."
    )


def refuse_nan(name: str, value: Tensor) -> Tensor:
    """The value itself; mechanisms answer NaN where their parents leave no room.

    Raises:
        OutsideSupport: With the number of samples at fault.
    """
    return _refuse(
        name, value, "at least one allowed value, given its parents", "samples without any",
        "The action or its causes leave this variable no room; ask for less.",
    )  # fmt: skip


def refuse_impossible(name: str, noise: Tensor) -> Tensor:
    """The noise itself; mechanisms answer NaN for values that no noise gives.

    Raises:
        OutsideSupport: With the number of values at fault.
    """
    return _refuse(
        name, noise, "values that its mechanism can produce from its parents", "that it cannot"
    )


def _refuse(name: str, numbers: Tensor, expected: str, what: str, remedy: str = "") -> Tensor:
    wrong = numbers.isnan()
    if bool(wrong.any()):
        found = f"{int(wrong.sum())} of {wrong.numel()} {what}"
        raise OutsideSupport(name, expected=expected, found=found, remedy=remedy)
    return numbers


def allowed(variable: Variable, value: Tensor, bounds: tuple[Bound, Bound]) -> Tensor:
    """Whether each value may be asked for, shape ``(*shape)``; NaN never is.

    Arguments:
        variable: Its declaration, which gives the support.
        value: Physical values.
        bounds: What the mechanism allows at these parents, physical.
    """
    low, high = variable.support
    inside = (value >= low) & (value <= high)
    # Rounding of a value that was computed from its own bound is not an offence.
    slack = 1e-9 * value.abs()
    inside = inside & (value >= bounds[0] - slack) & (value <= bounds[1] + slack)
    if variable.values:
        known = torch.tensor(variable.values, dtype=value.dtype, device=value.device)
        inside = inside & (value.unsqueeze(-1) == known).any(-1)
    return inside


def refuse_value(
    variable: Variable,
    value: Tensor,
    remedy: str = "",
    bounds: tuple[Bound, Bound] = UNBOUNDED,
) -> None:
    """Refuse values that :func:`allowed` does not allow.

    Raises:
        OutsideSupport: With the allowed range and the first value at fault.
    """
    wrong = ~allowed(variable, value, bounds)
    if not bool(wrong.any()):
        return
    first = float(value[wrong].flatten()[0])
    if variable.values:
        *most, last = variable.categories or (f"{level:g}" for level in variable.values)
        expected = f"{', '.join(most)} or {last}"
        raise OutsideSupport(variable.name, expected=expected, found=f"{first:g}", remedy=remedy)
    variable.check(value, remedy=remedy)
    low, high = (
        float(torch.as_tensor(bound).expand(value.shape)[wrong].flatten()[0]) for bound in bounds
    )
    raise OutsideSupport(
        variable.name,
        expected=f"a value in {low:.6g} to {high:.6g} {variable.unit}".rstrip()
        + ", given the values of its causes",
        found=f"{first:.6g}",
        remedy=remedy,
    )
