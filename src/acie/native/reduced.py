"""The likelihood in a small basis by a compiled kernel, many draws at a time."""

__all__ = ["MOST_COMPONENTS", "TERMS", "log_likelihood"]

import torch
from torch import Tensor

from acie.native import kernels

#: Terms of the change of the weights, and of sums over the pixels against the products and the
#: squares of the calibration's polynomials, for which the kernel is compiled.
TERMS = (3, 6, 9)
#: Components of a basis at most.
MOST_COMPONENTS = 24


def log_likelihood(
    coordinates: Tensor,
    flux: Tensor,
    tables: tuple[Tensor, ...],
    dof: float,
    precision: float,
) -> Tensor:
    """See :class:`acie.simulation.ReducedExpansion`; double precision, ``(sample, batch)``.

    Arguments:
        coordinates: Contiguous, single precision, ``(batch, sample, component)``.
        flux: Contiguous, single precision, ``(batch, sample, pixel)``.
        tables: Contiguous, those of ``struct expansion`` in ``kernels.h``, in its order.
        dof: Of the scale of the noise.
        precision: Inverse variance of the calibration's coefficients.
    """
    batch, samples, rank = coordinates.shape
    out = torch.empty(samples, batch, dtype=torch.float64)
    kernels.reduced(
        batch, samples, rank, flux.shape[-1], tuple([part.data_ptr() for part in tables]), dof,
        precision, coordinates.data_ptr(), flux.data_ptr(), out.data_ptr(),
    )  # fmt: skip
    return out
