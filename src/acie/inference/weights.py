"""What importance weights say: effective sample size, tail shape, resampling."""

__all__ = ["effective_sample_size", "normalise_log_weights", "pareto_k", "systematic_resample"]

import math

import torch
from torch import Tensor

from acie.native import weights as compiled


def normalise_log_weights(log_weights: Tensor, dim: int = 0) -> Tensor:
    """Weights that sum to one along ``dim``; NaN counts as zero.

    Where no weight is positive the result is zero everywhere, so that a lost galaxy can be told
    from one with equal weights. A weight of plus infinity counts as zero too: it is an error of
    the target, and must not hide every other draw.
    """
    log_weights = log_weights.double()
    if dim == 0 and compiled.fits(log_weights):
        return compiled.to_weights(log_weights)
    log_weights = torch.nan_to_num(log_weights, nan=-torch.inf, posinf=-torch.inf)
    log_weights = torch.where(log_weights <= -1e300, -torch.inf, log_weights)
    peak = log_weights.amax(dim, keepdim=True)
    weights = (log_weights - torch.where(peak.isinf(), 0.0, peak)).exp()
    return weights / weights.sum(dim, keepdim=True).clamp_min(1e-300)


def effective_sample_size(log_weights: Tensor, dim: int = 0) -> Tensor:
    r"""Kish's effective number of draws, :math:`(\sum w)^2 / \sum w^2`; zero without weight.

    References:
        Kish 1965, Survey Sampling; discussed by Elvira et al. 2022, arXiv:1809.04129.

    Example:
        >>> round(float(effective_sample_size(torch.zeros(100))), 6)
        100.0
    """
    log_weights = log_weights.double()
    if dim == 0 and compiled.fits(log_weights):
        return compiled.effective_size(log_weights)
    weights = normalise_log_weights(log_weights, dim)
    square = weights.square().sum(dim)
    return torch.where(square > 0, 1.0 / square.clamp_min(1e-300), 0.0)


def pareto_k(log_weights: Tensor) -> Tensor:
    """Shape of the generalised Pareto law fitted to the largest weights.

    Below about 0.7 the importance estimate can be trusted; above 1 the mean of the weights does
    not exist. The tail holds ``min(0.2 N, 3 sqrt(N))`` weights. Fewer than five distinct
    positive tail weights give infinity, equal weights give zero.

    References:
        Vehtari et al. 2024, JMLR 25(72) (tail length, weak prior on k worth ten draws at 0.5);
        Zhang & Stephens 2009, Technometrics 51, 316 (the fit).

    Arguments:
        log_weights: Log importance weights, ``(sample, *batch)``.

    Returns:
        Shape ``(*batch,)``.
    """
    weights = normalise_log_weights(log_weights)
    count = weights.shape[0]
    tail = min(max(math.ceil(min(0.2 * count, 3.0 * math.sqrt(count))), 5), count - 1)
    top = weights.sort(0).values[-tail - 1 :]
    exceed = top[1:] - top[:1]
    largest = exceed[-1]
    flat = (largest <= 1e-12 * top[-1]) & (top[-1] > 0)
    usable = (exceed > 0).sum(0) >= 5
    # Dimensionless exceedances; ties at the cut are pushed off zero, which the fit cannot take.
    y = (exceed / largest.clamp_min(1e-300)).clamp_min(1e-12)
    k = _zhang_stephens(y)
    k = (tail * k + 10 * 0.5) / (tail + 10)
    k = torch.where(usable, k, torch.inf)
    return torch.where(flat, 0.0, k)


def _zhang_stephens(y: Tensor) -> Tensor:
    """Empirical-Bayes estimate of the Pareto shape k from ascending ``y`` ``(tail, *batch)``."""
    n = y.shape[0]
    grid = 30 + int(math.sqrt(n))
    step = torch.arange(1, grid + 1, dtype=y.dtype, device=y.device) - 0.5
    quartile = y[int(n / 4 + 0.5) - 1]
    spread = (1 - (grid / step).sqrt()).reshape(-1, *[1] * (y.ndim - 1))
    theta = spread / (3 * quartile) + 1 / y[-1]
    shape = torch.log1p(-theta.unsqueeze(1) * y).mean(1)
    profile = n * ((-theta / shape).log() - shape - 1)
    weight = torch.softmax(torch.nan_to_num(profile, nan=-torch.inf), 0)
    best = (torch.nan_to_num(theta) * weight).sum(0)
    return torch.log1p(-best * y).mean(0)


def systematic_resample(log_weights: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Indices of ``n`` draws taken in proportion to their weights, unbiased.

    One uniform number per galaxy shifts a regular comb over the cumulative weights, which has
    the least variance of the usual schemes.

    References:
        Douc & Cappé 2005, arXiv:cs/0507025, section 2.4.

    Arguments:
        log_weights: ``(sample, *batch)``; without any weight all draws count the same.
        n: Number of indices.
        generator: Source of the comb's offset.

    Returns:
        Indices along the first axis, ``(n, *batch)``, ascending.
    """
    log_weights = log_weights.double()
    offset = torch.rand(
        (*log_weights.shape[1:], 1), generator=generator, device=generator.device,
        dtype=log_weights.dtype,
    ).to(log_weights.device)  # fmt: skip
    if compiled.fits(log_weights):
        return compiled.resample(log_weights, offset, n)
    weights = normalise_log_weights(log_weights)
    weights = torch.where(weights.sum(0) > 0, weights, 1.0 / weights.shape[0])
    total = weights.cumsum(0).movedim(0, -1)
    comb = (torch.arange(n, device=total.device, dtype=total.dtype) + offset) / n
    # Rounding can leave the last cumulative weight just below one.
    comb = comb * total[..., -1:]
    index = torch.searchsorted(total.contiguous(), comb.contiguous(), right=True)
    return index.clamp_max(weights.shape[0] - 1).movedim(-1, 0)
