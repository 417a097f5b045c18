"""Actions on one variable.

Values may be numbers or tensors that broadcast to the samples. ``Shift``, ``Scale`` and
``Policy`` act on the factual state, so actions on disjoint variables commute.
"""

__all__ = ["Do", "Intervention", "Policy", "Replace", "Scale", "Shift", "with_tensors"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from acie.scm.mechanisms import AbstractMechanism


@dataclass(frozen=True)
class Do:
    """Set the variable to a value.

    Arguments:
        value: New value, in the unit of the variable.
    """

    value: float | Tensor

    def apply(self, factual: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """The new value, broadcast with the factual one."""
        return _like(self.value, factual)


@dataclass(frozen=True)
class Shift:
    """Add to the factual value.

    Arguments:
        amount: What is added, in the unit of the variable, or in dex.
        dex: Whether the amount is added to the decimal logarithm of the value.
    """

    amount: float | Tensor
    dex: bool = False

    def apply(self, factual: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """The new value, broadcast with the factual one."""
        amount = _like(self.amount, factual)
        return factual * torch.pow(10.0, amount) if self.dex else factual + amount


@dataclass(frozen=True)
class Scale:
    """Multiply the factual value.

    Arguments:
        factor: Dimensionless factor.
    """

    factor: float | Tensor

    def apply(self, factual: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """The new value, broadcast with the factual one."""
        return factual * _like(self.factor, factual)


@dataclass(frozen=True)
class Policy:
    """Set the variable to a function of the factual state.

    Arguments:
        function: ``state -> value`` where the state holds every factual value by name.
        label: What to call it in tables.
    """

    function: Callable[[Mapping[str, Tensor]], Tensor]
    label: str = "policy"

    def apply(self, factual: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """The new value, broadcast with the factual one."""
        return _like(self.function(state), factual)


@dataclass(frozen=True)
class Replace:
    """Give the variable another mechanism; it keeps its noise and still listens to its parents.

    Arguments:
        mechanism: The new mechanism, driven by noise of the same law.
    """

    mechanism: AbstractMechanism


Intervention = Do | Shift | Scale | Replace | Policy


def with_tensors(action: Intervention) -> Intervention:
    """The same action with its number as a tensor in double precision, which changes no result."""
    numbers = {
        part.name: torch.tensor(getattr(action, part.name), dtype=torch.float64)
        for part in fields(action)
        if isinstance(getattr(action, part.name), float | int) and part.name != "dex"
    }
    return replace(action, **numbers)


def _like(value: float | Tensor, factual: Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=factual.dtype, device=factual.device)
    return torch.broadcast_tensors(tensor, factual)[0]
