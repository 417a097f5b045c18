"""Kernels as operators of torch: a recording of :mod:`acie.replay` plays them back like any other.

Their arguments are tensors of double precision, of one shape where nothing else is said, and
tables that the owner of each law keeps. As in :mod:`acie.native`, nothing is checked here: the
torch code of each caller stands where :func:`usable` says no.
"""

__all__ = [
    "LANES", "MOST_BINS", "coefficients", "either", "from_real", "normal_density", "numbers",
    "solve_tau", "surviving", "usable",
]  # fmt: skip

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, library
from torch.utils._python_dispatch import _get_current_dispatch_mode

from acie.native import available, kernels

#: Of tables of light: their columns are a multiple of it, and they have no more bins of age.
LANES, MOST_BINS = 8, 64
#: Kept, because the operators go when it does.
_library = library.Library("acie", "DEF")


def usable(*values: float | Tensor, dtype: torch.dtype = torch.float64) -> bool:
    """Whether the operators may take these values, and nobody asks for derivatives.

    A mode that watches what torch computes, as the export does, wants the operations of torch.
    """
    return (
        available()
        and not torch.is_grad_enabled()
        and _get_current_dispatch_mode() is None
        and all(
            value.dtype == dtype and value.device.type == "cpu"
            if type(value) is Tensor
            else type(value) in (float, int)
            for value in values
        )
    )


def either(value: float | Tensor) -> Tensor:
    """A tensor with an axis at least: a recording would pass one without as a number."""
    if not isinstance(value, Tensor):
        return numbers(value)
    return value if value.ndim else value.reshape(1)


@functools.lru_cache(1024)
def numbers(*values: float) -> Tensor:
    """Numbers as a tensor, ``(value,)``."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float64)


def _operator(schema: str) -> Callable[[Callable], Callable]:
    """Makes a function the operator of a schema."""

    def define(function: Callable) -> Callable:
        _library.define(schema)
        name = schema.partition("(")[0]
        _library.impl(name, function, "CPU")
        return getattr(torch.ops.acie, name).default

    return define


@_operator("surviving(Tensor age, Tensor tau, Tensor edges, Tensor steps) -> Tensor")
def surviving(age: Tensor, tau: Tensor, edges: Tensor, steps: Tensor) -> Tensor:
    """Mass in stars and remnants over mass formed; the tables are those of ``history.c``."""
    age, tau = age.contiguous(), tau.contiguous()
    out = torch.empty_like(age)
    kernels.surviving(
        age.numel(), age.data_ptr(), tau.data_ptr(), len(steps), edges.data_ptr(),
        steps.data_ptr(), out.data_ptr(),
    )  # fmt: skip
    return out


@_operator(
    "solve_tau(Tensor age, Tensor specific, Tensor grid, Tensor table, Tensor edges, Tensor steps)"
    " -> Tensor"
)
def solve_tau(
    age: Tensor, specific: Tensor, grid: Tensor, table: Tensor, edges: Tensor, steps: Tensor
) -> Tensor:
    """Tau, Gyr; for the tables see :class:`acie.physics.sfh.DelayedTauSolver`."""
    age, specific = age.contiguous(), specific.contiguous()
    out = torch.empty_like(age)
    kernels.solve_tau(
        age.numel(), age.data_ptr(), specific.data_ptr(), grid.data_ptr(), *table.shape,
        table.data_ptr(), len(steps), edges.data_ptr(), steps.data_ptr(), out.data_ptr(),
    )  # fmt: skip
    return out


@_operator(
    "coefficients(Tensor[] state, bool per_survivor, Tensor edges, Tensor survival, Tensor share,"
    " Tensor metallicity, Tensor log_u, Tensor[] tables) -> (Tensor, Tensor)"
)
def coefficients(
    state: Sequence[Tensor],
    per_survivor: bool,
    edges: Tensor,
    survival: Tensor,
    share: Tensor,
    metallicity: Tensor,
    log_u: Tensor,
    tables: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Coefficients of old and of young light; for the arguments see ``coefficients.c``."""
    state = [part.contiguous() for part in state]
    sizes = tuple(table.shape[-1] for table in tables)
    shape = state[0].shape
    old = torch.empty((*shape, sizes[0]))
    young = torch.empty((*shape, sizes[1] + sizes[2]))
    kernels.coefficients(
        state[0].numel(), tuple(part.data_ptr() for part in state), per_survivor, len(survival),
        tables[1].shape[1], edges.data_ptr(), survival.data_ptr(), share.data_ptr(),
        len(metallicity), metallicity.data_ptr(), len(log_u), log_u.data_ptr(), sizes,
        tuple(table.data_ptr() for table in tables), old.data_ptr(), young.data_ptr(),
    )  # fmt: skip
    return old, young


@_operator("normal_density(Tensor[] parts, bool logarithmic, bool bounded) -> Tensor")
def normal_density(parts: Sequence[Tensor], logarithmic: bool, bounded: bool) -> Tensor:
    """Log density of a value whose natural scale has a normal law, which may be truncated.

    Arguments:
        parts: The value, physical; location, scale, lower and upper bound on the natural scale,
            the bounds only where there are any; shapes that broadcast, or one number each.
        logarithmic: Whether the natural scale is the decimal logarithm, or else the value itself.
        bounded: Whether there are bounds.
    """
    shape = parts[0].shape
    if any(part.shape != shape and part.numel() != 1 for part in parts):
        parts = torch.broadcast_tensors(*parts)
    parts = [part.contiguous() for part in parts]
    out = torch.empty_like(parts[0])
    parts += parts[:1] * (5 - len(parts))
    kernels.normal_density(
        out.numel(), tuple([part.data_ptr() for part in parts]),
        tuple([part.numel() > 1 for part in parts]), logarithmic, bounded, out.data_ptr(),
    )  # fmt: skip
    return out


@_operator(
    "from_real(Tensor real, Tensor bounds, bool logarithmic, bool bounded) -> (Tensor, Tensor)"
)
def from_real(
    real: Tensor, bounds: Tensor, logarithmic: bool, bounded: bool
) -> tuple[Tensor, Tensor]:
    """Real numbers to values, and the log of ``|d real / d value|``.

    Arguments:
        real: Shape ``(*shape)``.
        bounds: Lower and upper one, both finite on the natural scale if ``bounded``, or else both
            infinite; then the same as they are: ``(4,)`` or ``(4, *shape)``.
        logarithmic: See :func:`normal_density`.
        bounded: Whether the bounds are finite.
    """
    real, bounds = real.contiguous(), bounds.contiguous()
    value, derivative = torch.empty_like(real), torch.empty_like(real)
    kernels.from_real(
        real.numel(), real.data_ptr(), bounds.data_ptr(), bounds.numel() // 4, logarithmic,
        bounded, value.data_ptr(), derivative.data_ptr(),
    )  # fmt: skip
    return value, derivative
