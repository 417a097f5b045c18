"""The forward model at few pixels by compiled kernels: their caller has what they may take."""

__all__ = ["fits", "flux", "table"]

from collections.abc import Sequence

import torch
from torch import Tensor

from acie.native import kernels, usable

#: Velocity dispersions, what the number of templates is a multiple of, and draws done at once.
_NODES, _TEMPLATES, _LANES = 5, 8, 16


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
        out: Contiguous, ``(pixel, node, template)``.
    """
    half, (pixels, _, step) = len(fade) - 1, even.shape
    buffer = torch.empty(_NODES * (2 * half + 1))
    where = (part.data_ptr() for part in (even, odd, fade, middle, basis, buffer, out))
    kernels.table(pixels, half, step, basis.shape[1], *where)


def flux(
    light: tuple[Tensor, Tensor],
    state: Sequence[Tensor],
    range_of_logarithm: Tensor,
    nodes: Tensor,
    table: Tensor,
    log_curve: Tensor,
    log_wave: Tensor,
) -> Tensor:
    """Flux of draws at the pixels of their galaxies, ``(batch, sample, pixel)``.

    Arguments:
        light: Coefficients of old and of young light, ``(sample, batch, template)``.
        state: A_V, slope of the dust, velocity dispersion, double precision, ``(sample, batch)``.
        range_of_logarithm: Middle and half width, over which the dispersions are tabulated,
            ``(batch, 2)``, double precision.
        nodes: Places on it and barycentric weights, ``(2, node)``, double precision.
        table: Templates, those of old light first, ``(batch, pixel, node, template)``.
        log_curve: Of the dust, ``(batch, pixel)``.
        log_wave: Likewise.
    """
    old, young = (part.contiguous() for part in light)
    state = [part.contiguous() for part in state]
    batch, pixels, _, templates = table.shape
    out = torch.empty(batch, len(old), pixels)
    buffer = torch.empty(templates, _LANES)
    where = (range_of_logarithm, nodes, table, log_curve, log_wave, buffer, out)
    kernels.at_pixels(
        batch, len(old), pixels, templates, old.shape[-1], old.data_ptr(), young.data_ptr(),
        tuple([part.data_ptr() for part in state]), *(part.data_ptr() for part in where),
    )  # fmt: skip
    return out
