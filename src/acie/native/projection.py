"""Projection of spectra onto rest-frame components by compiled kernels.

Their callers have :func:`fits` what they are given.
"""

__all__ = ["equations", "fits", "packed", "residuals"]

import torch
from torch import Tensor

from acie.native import kernels, usable

#: Components in memory are a multiple of the first, and at most the last; the tile of the kernel
#: is as tall as the second, and as many pixels as the third are done at once.
_WIDE, _TALL, _NEAR, _MOST = 16, 6, 64, 256


def fits(basis: Tensor, *rows: Tensor) -> bool:
    """Whether the kernels here may take components and what belongs to observed pixels.

    Arguments:
        basis: Shape ``(rest_wave, component)``.
        rows: Contiguous, ``(batch, wave)``.
    """
    return (
        usable(basis, *rows)
        and basis.shape[1] <= _MOST - _WIDE
        and all(part.is_contiguous() for part in rows)
    )


def packed(basis: Tensor) -> Tensor:
    """Components as the kernels read them, with zeros up to a whole number of vectors."""
    width = -(-basis.shape[1] // _WIDE) * _WIDE
    return torch.nn.functional.pad(basis, (0, width - basis.shape[1])).contiguous()


def equations(
    basis: Tensor, components: int, position: Tensor, weights: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Normal equations of the projection, ``(batch, component, component)`` and without the last.

    Arguments:
        basis: From :func:`packed`.
        components: How many of them there are.
        position: Of the pixels on the rest grid, double precision, ``(batch, wave)``.
        weights: See :func:`fits`.
        values: Likewise.
    """
    (batch, pixels), (rest, width) = position.shape, basis.shape
    shared = torch.empty(2, rest)
    buffer = torch.empty(_NEAR + width + _TALL, width + _TALL)
    out = torch.empty(batch, components + 1, components)
    for galaxy in range(batch):
        own = (part[galaxy].data_ptr() for part in (position, weights, values))
        kernels.share(pixels, rest, *own, shared.data_ptr())
        where = (part.data_ptr() for part in (basis, shared, buffer, out[galaxy]))
        kernels.gram(rest, components, width, *where)
    return out[:, :-1], out[:, -1]


def residuals(
    basis: Tensor, mean: Tensor, position: Tensor, weights: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """What fits of components leave.

    Arguments:
        basis: See :func:`equations`, as is all that is not said here.
        mean: Coefficients, single precision, ``(batch, component)``.
        position: It must not fall from one pixel to the next.
        weights: Likewise.
        values: Likewise.

    Returns:
        The weighted residuals against the components, ``(batch, component)``; their weighted sum
        of squares and how many pixels have a weight, double precision, ``(batch, 2)``.
    """
    (batch, pixels), (rest, width) = position.shape, basis.shape
    components = mean.shape[1]
    mean = torch.nn.functional.pad(mean, (0, width - components)).contiguous()
    pulled = torch.empty(batch, width)
    misfit = torch.empty(batch, 2, dtype=torch.float64)
    for galaxy in range(batch):
        rows = (position, weights, values, mean, pulled, misfit)
        where = (part[galaxy].data_ptr() for part in rows)
        kernels.pull(pixels, rest, width, basis.data_ptr(), *where)
    return pulled[:, :components], misfit
