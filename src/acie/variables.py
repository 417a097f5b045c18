"""The declaration of a variable: name, symbol, unit, support, transform.

A variable is declared once; the prior, the flow's bijection, the command line's help, the tables,
the figures and the documentation all read that declaration.
"""

__all__ = ["Variable"]

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from acie.errors import OutsideSupport


@dataclass(frozen=True)
class Variable:
    r"""One variable of a causal model, in physical units.

    Arguments:
        name: Identifier, as used in interventions, for example ``stellar_mass``.
        symbol: LaTeX symbol without dollars, for example ``M_\star``.
        unit: Unit as text, empty when dimensionless.
        support: Smallest and largest value allowed, in ``unit``; may be infinite.
        transform: Scale on which the variable is naturally additive; ``log10`` or ``identity``.
        description: One sentence for people.
        parents: Names of the direct causes.
        source: Where the mechanism comes from.
        kind: ``continuous``, ``binary``, ``ordinal`` (ordered numbers) or ``categorical``
            (codes 0, 1, ... of the categories).
        intervenable: Whether users may act on it.
        levels: Values of an ordinal variable, ascending.
        categories: Labels of a categorical variable; its values are their positions.
    """

    name: str
    symbol: str = ""
    unit: str = ""
    support: tuple[float, float] = (-math.inf, math.inf)
    transform: Literal["identity", "log10"] = "identity"
    description: str = ""
    parents: tuple[str, ...] = ()
    source: str = ""
    kind: Literal["continuous", "binary", "ordinal", "categorical"] = "continuous"
    intervenable: bool = True
    levels: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        """The values of a variable that is not continuous, ascending; empty when it is."""
        if self.kind == "binary":
            return (0.0, 1.0)
        return self.levels or tuple(float(code) for code in range(len(self.categories)))

    def forward(self, value: Tensor) -> Tensor:
        """Physical value to the natural scale, any shape."""
        return torch.log10(value) if self.transform == "log10" else value

    def inverse(self, scaled: Tensor) -> Tensor:
        """Natural scale to the physical value, any shape."""
        return torch.pow(10.0, scaled) if self.transform == "log10" else scaled

    def log_abs_derivative(self, value: Tensor) -> Tensor:
        """Log of ``|d forward / d value|`` at a physical value, any shape."""
        if self.transform == "log10":
            return -torch.log(value) - math.log(math.log(10.0))
        return torch.zeros_like(value)

    @property
    def range_text(self) -> str:
        """The support as people read it."""
        low, high = (f"{bound:.6g}" for bound in self.support)
        return f"{low} to {high} {self.unit}".rstrip()

    def check(self, value: Tensor, *, remedy: str = "") -> None:
        """Refuse values outside the support, NaN included.

        Raises:
            OutsideSupport: With the allowed range and the first value at fault.
        """
        low, high = self.support
        wrong = ~((value >= low) & (value <= high))
        if bool(wrong.any()):
            first = value[wrong].flatten()[0].item()
            raise OutsideSupport(
                self.name,
                expected=f"a value in {self.range_text}",
                found=f"{first:.6g}",
                remedy=remedy,
            )
