"""Expressions in the observed joint law that equal an interventional one."""

__all__ = ["Estimand", "Marginal", "Probability", "Product", "Quotient"]

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: A table over named variables: the names of the axes, and the values.
Table = tuple[tuple[str, ...], Tensor]


class Estimand(ABC):
    """An expression in the observed law; ``str`` writes it as a formula."""

    @abstractmethod
    def evaluate(self, joint: Table) -> Table:
        """The value for discrete variables.

        Arguments:
            joint: The observed joint law, one axis for each variable.

        Returns:
            The names of the axes that are left, and the values.
        """


@dataclass(frozen=True)
class Probability(Estimand):
    """P(variables | given) of the observed law."""

    variables: tuple[str, ...]
    given: tuple[str, ...] = ()

    def __str__(self) -> str:
        bar = f" | {', '.join(self.given)}" if self.given else ""
        return f"P({', '.join(self.variables)}{bar})"

    def evaluate(self, joint: Table) -> Table:
        """See :class:`Estimand`."""
        both = _sum_to(joint, {*self.variables, *self.given})
        return _divide(both, _sum_to(joint, set(self.given))) if self.given else both


@dataclass(frozen=True)
class Product(Estimand):
    """Product of factors."""

    factors: tuple[Estimand, ...]

    def __str__(self) -> str:
        return " ".join(
            f"[{factor}]" if isinstance(factor, Marginal) else str(factor)
            for factor in self.factors
        )

    def evaluate(self, joint: Table) -> Table:
        """See :class:`Estimand`."""
        result: Table = ((), torch.ones((), dtype=joint[1].dtype))
        for factor in self.factors:
            result = _combine(result, factor.evaluate(joint), torch.mul)
        return result


@dataclass(frozen=True)
class Marginal(Estimand):
    """Sum of an expression over some variables."""

    over: tuple[str, ...]
    body: Estimand

    def __str__(self) -> str:
        return f"sum_{{{', '.join(self.over)}}} {self.body}"

    def evaluate(self, joint: Table) -> Table:
        """See :class:`Estimand`."""
        table = self.body.evaluate(joint)
        return _sum_to(table, set(table[0]) - set(self.over))


@dataclass(frozen=True)
class Quotient(Estimand):
    """Ratio of two expressions."""

    above: Estimand
    below: Estimand

    def __str__(self) -> str:
        return f"({self.above}) / ({self.below})"

    def evaluate(self, joint: Table) -> Table:
        """See :class:`Estimand`."""
        return _divide(self.above.evaluate(joint), self.below.evaluate(joint))


def _sum_to(table: Table, kept: set[str]) -> Table:
    names, values = table
    axes = [axis for axis, name in enumerate(names) if name not in kept]
    return tuple(n for n in names if n in kept), values.sum(axes) if axes else values


def _align(table: Table, names: Sequence[str]) -> Tensor:
    position: Mapping[str, int] = {name: axis for axis, name in enumerate(table[0])}
    order = [position[name] for name in names if name in position]
    moved = table[1].permute(order)
    shape = iter(moved.shape)
    return moved.reshape([next(shape) if name in position else 1 for name in names])


def _combine(first: Table, second: Table, how: object) -> Table:
    names = (*first[0], *(name for name in second[0] if name not in first[0]))
    return names, how(_align(first, names), _align(second, names))


def _divide(above: Table, below: Table) -> Table:
    names, values = _combine(above, below, torch.div)
    # Where nothing is ever observed, the conditional law is free: zero keeps sums finite.
    return names, values.nan_to_num(nan=0.0, posinf=0.0)
