"""Importance weights by compiled kernels: their callers have :func:`fits` the logarithms."""

__all__ = [
    "MOST_PARTS", "effective_size", "fits", "over_mixture", "resample", "temper", "to_weights",
]  # fmt: skip

import torch
from torch import Tensor

from acie.native import kernels, usable

#: Densities of a mixture at most, as in ``weights.c``.
MOST_PARTS = 16


def fits(*logarithms: Tensor) -> bool:
    """Whether the kernels here may take some arrays ``(sample, *batch)``, none of them empty."""
    return usable(*logarithms, dtype=torch.float64) and all(
        part.ndim and part.numel() for part in logarithms
    )


def to_weights(log_weights: Tensor) -> Tensor:
    """See :func:`acie.inference.normalise_log_weights`."""
    log_weights = log_weights.contiguous()
    weights, sizes = torch.empty_like(log_weights), log_weights.new_empty(log_weights.shape[1:])
    kernels.to_weights(*_shape(log_weights), *_places(log_weights, weights, sizes))
    return weights


def effective_size(log_weights: Tensor) -> Tensor:
    """See :func:`acie.inference.effective_sample_size`."""
    log_weights = log_weights.contiguous()
    sizes = log_weights.new_empty(log_weights.shape[1:])
    kernels.to_weights(*_shape(log_weights), log_weights.data_ptr(), 0, sizes.data_ptr())
    return sizes


def temper(log_weights: Tensor, target: float) -> tuple[Tensor, Tensor]:
    """See :func:`acie.inference.temper`."""
    log_weights = log_weights.contiguous()
    weights, sizes = torch.empty_like(log_weights), log_weights.new_empty(log_weights.shape[1:])
    kernels.temper(*_shape(log_weights), target, *_places(log_weights, weights, sizes))
    return weights, sizes


def resample(log_weights: Tensor, offset: Tensor, n: int) -> Tensor:
    """Indices ``(n, *batch)`` of :func:`acie.inference.systematic_resample`.

    Arguments:
        log_weights: Shape ``(sample, *batch)``.
        offset: Of the comb, in [0, 1), as many as galaxies, contiguous.
        n: Number of indices.
    """
    log_weights = log_weights.contiguous()
    index = torch.empty((n, *log_weights.shape[1:]), dtype=torch.int64)
    kernels.resample(*_shape(log_weights), n, *_places(log_weights, offset, index))
    return index


def over_mixture(target: Tensor, densities: Tensor, shares: Tensor) -> Tensor:
    """Log of a target over a mixture, minus infinity where that is not finite.

    Arguments:
        target: Logarithms, of any shape.
        densities: Logarithms, ``(part, *shape)``, :data:`MOST_PARTS` of them at most; contiguous.
        shares: Logarithms, ``(part,)``.
    """
    target = target.contiguous()
    out = torch.empty_like(target)
    kernels.over_mixture(len(shares), target.numel(), *_places(shares, densities, target, out))
    return out


def _shape(log_weights: Tensor) -> tuple[int, int]:
    """Draws, and galaxies."""
    return len(log_weights), log_weights.numel() // len(log_weights)


def _places(*tensors: Tensor) -> list[int]:
    return [part.data_ptr() for part in tensors]
