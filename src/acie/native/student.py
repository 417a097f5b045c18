"""Student laws and regressions of weighted draws by compiled kernels.

Their callers have :func:`fits` what they are given. Arrays are of double precision; draws have the
shape ``(sample, batch, dim)``.
"""

__all__ = [
    "cholesky", "density", "draws", "fits", "moments", "regression", "scatter", "shrink",
    "terms",
]  # fmt: skip

import torch
from torch import Tensor

from acie.native import kernels, usable
from acie.native.weights import MOST_PARTS

#: Dimensions at most, as in ``student.c``.
_MOST_DIM = 32


def fits(*tensors: Tensor, components: int = 1) -> bool:
    """Whether the kernels here may take arrays whose last axis is one of dimensions."""
    return (
        usable(*tensors, dtype=torch.float64)
        and components <= MOST_PARTS
        and all(part.shape[-1] <= _MOST_DIM and part.numel() for part in tensors)
    )


def moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Means ``(batch, component, dim)`` and covariances ``(batch, component, dim, dim)``.

    Arguments:
        x: Draws.
        weights: Shape ``(sample, batch, component)``.
    """
    _, batch, components = weights.shape
    dim = x.shape[-1]
    mean = x.new_empty(batch, components, dim)
    covariance = x.new_empty(batch, components, dim, dim)
    given = x.contiguous(), weights.contiguous()
    kernels.moments(len(x), batch, components, dim, *_places(*given, mean, covariance))
    return mean, covariance


def scatter(x: Tensor) -> Tensor:
    """Covariance ``(batch, dim, dim)`` of the draws that are finite, plus 1e-10 of unity."""
    count, batch, dim = x.shape
    x, covariance = x.contiguous(), x.new_empty(batch, dim, dim)
    kernels.scatter(count, batch, dim, *_places(x, covariance))
    return covariance


def shrink(covariance: Tensor, reference: Tensor, size: Tensor, pooled: Tensor) -> Tensor:
    """Covariances ``(batch, component, dim, dim)`` shrunk towards other correlations.

    Arguments:
        covariance: Of the same shape.
        reference: Carries the correlations, ``(batch, dim, dim)``.
        size: Draws that each is worth, ``(batch, component)``.
        pooled: Of all draws, ``(batch, 1, dim, dim)``.
    """
    batch, components, dim, _ = covariance.shape
    out = covariance.new_empty(covariance.shape)
    given = [part.contiguous() for part in (covariance, reference, pooled, size)]
    kernels.shrink(batch, components, dim, *_places(*given, out))
    return out


def cholesky(covariance: Tensor) -> Tensor:
    """Triangular factors of covariances ``(*shape, dim, dim)``, with jitter where they need it."""
    dim = covariance.shape[-1]
    covariance, root = covariance.contiguous(), covariance.new_empty(covariance.shape)
    count = covariance.numel() // (dim * dim)
    kernels.cholesky(count, dim, *_places(covariance, root))
    return root


def terms(x: Tensor, mean: Tensor, root: Tensor, dof: int, constant: float) -> Tensor:
    """Log density of each Student law at the draws, ``(sample, batch, component)``.

    Arguments:
        x: Draws.
        mean: Centres, ``(batch, component, dim)``.
        root: Triangular factors of the scale matrices, ``(batch, component, dim, dim)``.
        dof: Degrees of freedom.
        constant: Log density at the centre of a unit scale matrix.
    """
    batch, components, dim = mean.shape
    out = x.new_empty(len(x), batch, components)
    given = [part.contiguous() for part in (x, mean, root)]
    kernels.student_density(
        len(x), batch, components, dim, dof, constant, *_places(*given), 0, out.data_ptr(), 0
    )
    return out


def density(
    x: Tensor, log_fraction: Tensor, mean: Tensor, root: Tensor, dof: int, constant: float
) -> Tensor:
    """Log density of the mixture at the draws, ``(sample, batch)``.

    Arguments:
        x: Draws.
        log_fraction: Of the laws, ``(batch, component)``.
        mean: See :func:`terms`, as for the next three.
        root: Likewise.
        dof: Likewise.
        constant: Likewise.
    """
    batch, components, dim = mean.shape
    out = x.new_empty(len(x), batch)
    given = [part.contiguous() for part in (x, mean, root, log_fraction)]
    kernels.student_density(
        len(x), batch, components, dim, dof, constant, *_places(*given), 0, out.data_ptr()
    )
    return out


def draws(
    offset: Tensor,
    normal: Tensor,
    stretching: Tensor,
    log_fraction: Tensor,
    mean: Tensor,
    root: Tensor,
) -> Tensor:
    """Draws of mixtures, stratified over the laws.

    Arguments:
        offset: Of the comb that takes a law for each draw, in [0, 1), ``(batch,)``.
        normal: Standard normal, ``(sample, batch, dim)``.
        stretching: Likewise, ``(sample, batch, dof)``.
        log_fraction: See :func:`density`, as for the other two.
        mean: Likewise.
        root: Likewise.
    """
    batch, components, dim = mean.shape
    out = torch.empty_like(normal)
    given = [part.contiguous() for part in (log_fraction, mean, root)]
    kernels.student_draws(
        len(normal), batch, components, dim, stretching.shape[-1],
        *_places(offset, normal, stretching, *given, out),
    )  # fmt: skip
    return out


def regression(
    weights: Tensor, x: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weighted linear regression of values on draws.

    Arguments:
        weights: Shape ``(sample, batch)``; their sum is one.
        x: Draws.
        values: Shape ``(sample, batch, n)``.

    Returns:
        Mean and standard deviation of the draws ``(batch, dim)``, means of the values
        ``(batch, n)``, and slopes ``(batch, dim, n)``.
    """
    count, batch, dim = x.shape
    width = values.shape[-1]
    made = [x.new_empty(batch, size) for size in (dim, dim, width)]
    made.append(x.new_empty(batch, dim, width))
    given = [part.contiguous() for part in (weights, x, values)]
    kernels.regression(count, batch, dim, width, *_places(*given, *made))
    return tuple(made)


def _places(*tensors: Tensor) -> list[int]:
    """Addresses, which hold while somebody else keeps the tensors."""
    return [part.data_ptr() for part in tensors]
