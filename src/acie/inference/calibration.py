"""Are the posteriors as wide as they should be? Ranks, coverage, uniformity."""

__all__ = ["expected_coverage", "interval_coverage", "rank_statistics", "uniformity_p_value"]

import math

import torch
from torch import Tensor

from acie.inference.weights import normalise_log_weights


def rank_statistics(samples: Tensor, truth: Tensor, log_weights: Tensor | None = None) -> Tensor:
    """Posterior probability below the truth, uniform on (0, 1) when calibrated.

    Ties count half, so that atoms of a discrete variable do not look like bias.

    References:
        Talts et al. 2018, arXiv:1804.06788, theorem 1.

    Arguments:
        samples: ``(sample, batch, dim)``.
        truth: ``(batch, dim)``.
        log_weights: ``(sample, batch)``; equal weights if left out.

    Returns:
        Ranks, ``(batch, dim)``. A galaxy without any weight gets NaN.
    """
    below = (samples < truth).double() + 0.5 * (samples == truth).double()
    if log_weights is None:
        return below.mean(0)
    weights = normalise_log_weights(log_weights)
    total = weights.sum(0)
    ranks = (below * weights.unsqueeze(-1)).sum(0)
    return torch.where(total.unsqueeze(-1) > 0, ranks, torch.nan)


def expected_coverage(ranks: Tensor, levels: Tensor) -> Tensor:
    """Fraction of galaxies whose central interval of each level holds the truth.

    Arguments:
        ranks: From :func:`rank_statistics`, ``(batch, dim)``; NaN rows are left out.
        levels: Nominal levels in (0, 1), ``(level,)``.

    Returns:
        ``(level, dim)``, equal to ``levels`` when calibrated, to within
        ``sqrt(level (1 - level) / batch)``.
    """
    good = ranks.isfinite()
    distance = (2.0 * ranks - 1.0).abs()
    levels = levels.to(distance).reshape(-1, *[1] * ranks.ndim)
    inside = (distance <= levels) & good
    return inside.double().sum(1) / good.sum(0).clamp_min(1)


def interval_coverage(
    samples: Tensor, truth: Tensor, level: float = 0.68, log_weights: Tensor | None = None
) -> Tensor:
    """Coverage of the central interval per variable, ``(dim,)``; arguments as for the ranks.

    Example:
        >>> samples = torch.linspace(0, 1, 101).reshape(-1, 1, 1).expand(-1, 4, 1)
        >>> interval_coverage(samples, torch.tensor([[0.1], [0.4], [0.6], [0.9]]))
        tensor([0.5000], dtype=torch.float64)
    """
    ranks = rank_statistics(samples, truth, log_weights)
    return expected_coverage(ranks, torch.tensor([level]))[0]


def uniformity_p_value(ranks: Tensor) -> Tensor:
    """Kolmogorov-Smirnov p-value of uniform ranks, per variable.

    References:
        Stephens 1970, J. Royal Statistical Society B 32, 115 (finite-sample form of the
        Kolmogorov limit).

    Arguments:
        ranks: ``(batch, dim)``, finite.

    Returns:
        ``(dim,)``.
    """
    count = ranks.shape[0]
    ordered = ranks.sort(0).values
    step = torch.arange(1, count + 1, dtype=ordered.dtype, device=ordered.device).unsqueeze(-1)
    above = (step / count - ordered).amax(0)
    below = (ordered - (step - 1) / count).amax(0)
    root = math.sqrt(count)
    scaled = torch.maximum(above, below) * (root + 0.12 + 0.11 / root)
    order = torch.arange(1, 101, dtype=ordered.dtype, device=ordered.device).unsqueeze(-1)
    terms = (-1.0) ** (order - 1) * torch.exp(-2.0 * order.square() * scaled.square())
    # The alternating series converges slowly towards zero distance, where the answer is one.
    return torch.where(scaled < 0.2, 1.0, (2.0 * terms.sum(0)).clamp(0.0, 1.0))
