"""Tables of templates at few pixels by a compiled kernel: its caller has :func:`fits` the rest."""

__all__ = ["fits", "table"]

import torch
from torch import Tensor

from acie.native import kernels, usable

#: Velocity dispersions, and what the number of templates is a multiple of.
_NODES, _TEMPLATES = 5, 8


def fits(basis: Tensor, even: Tensor, odd: Tensor) -> bool:
    """Whether the kernel may make a table.

    Arguments:
        basis: Templates, ``(rest_wave, template)``.
        even: Even parts of rows from their middle on, ``(batch, pixel, node, place)``.
        odd: Odd parts, likewise.
    """
    return (
        usable(basis, even, odd)
        and basis.shape[1] % _TEMPLATES == 0
        and even.shape[2] == _NODES
        and all(part.is_contiguous() for part in (basis, even, odd))
    )


def table(
    basis: Tensor, even: Tensor, odd: Tensor, fade: Tensor, middle: Tensor, out: Tensor
) -> None:
    """Fill a table of one galaxy.

    Arguments:
        basis: See :func:`fits`.
        even: Of one galaxy, as is the next one.
        odd: Likewise.
        fade: What brings a row to zero at its ends, from its middle on, single precision.
        middle: Rest pixel of the middle of each row, ``(pixel,)``.
        out: Contiguous, ``(template, node, pixel)``.
    """
    half, (pixels, _, step) = len(fade) - 1, even.shape
    buffer = torch.empty(_NODES * (2 * half + 1))
    where = (part.data_ptr() for part in (even, odd, fade, middle, basis, buffer, out))
    kernels.table(pixels, half, step, basis.shape[1], *where)
