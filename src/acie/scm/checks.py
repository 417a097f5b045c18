"""Refusals shared by the model and by the language of interventions."""

__all__ = ["Family", "check_value", "missing", "refuse_nan"]

from collections.abc import Mapping

from torch import Tensor

from acie.errors import CausalError, OutsideSupport
from acie.variables import Variable


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
    wrong = value.isnan()
    if bool(wrong.any()):
        raise OutsideSupport(
            name,
            expected="at least one allowed value, given its parents",
            found=f"none in {int(wrong.sum())} of {wrong.numel()} samples",
            remedy="The action or its causes leave this variable no room; ask for less.",
        )
    return value


def check_value(variable: Variable, value: Tensor, remedy: str = "") -> None:
    """Refuse a value outside the support, or other than 0 and 1 for a binary variable.

    Raises:
        OutsideSupport: With the allowed range.
    """
    variable.check(value, remedy=remedy)
    if variable.kind == "binary":
        wrong = (value != 0) & (value != 1)
        if bool(wrong.any()):
            raise OutsideSupport(
                variable.name,
                expected="0 or 1",
                found=f"{value[wrong].flatten()[0].item():g}",
                remedy=remedy,
            )
