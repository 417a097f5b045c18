"""Numbers with an interval that says what it covers."""

__all__ = ["Estimate", "mean_estimate", "spread_estimate", "weighted_quantile"]

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.errors import ConfigurationError


@dataclass(frozen=True)
class Estimate:
    """A number and its interval.

    Arguments:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end.
        level: Probability that the interval stands for.
        covers: What the interval covers, in words: no interval covers everything.
        count: Number of individuals or draws behind it.
    """

    value: float
    low: float
    high: float
    level: float
    covers: str
    count: int

    def to_json(self) -> dict[str, float | int | str]:
        """Plain data."""
        return {
            "value": self.value, "low": self.low, "high": self.high,
            "level": self.level, "covers": self.covers, "count": self.count,
        }  # fmt: skip


def mean_estimate(samples: Tensor, level: float = 0.95, covers: str = "") -> Estimate:
    """Mean of independent samples with the interval of the central limit theorem.

    The interval is the error of having drawn finitely many samples, and nothing else.

    Arguments:
        samples: Shape ``(sample,)``.
        level: Probability of the interval.
        covers: Replaces the text that says what the interval covers.
    """
    _check(samples, level)
    count = samples.numel()
    mean = float(samples.mean())
    error = float(samples.std(correction=1)) / math.sqrt(count) if count > 1 else math.nan
    half = math.sqrt(2.0) * float(torch.erfinv(torch.tensor(level, dtype=torch.float64))) * error
    text = covers or "Monte Carlo error of the mean; the model is taken as true"
    return Estimate(mean, mean - half, mean + half, level, text, count)


def spread_estimate(
    samples: Tensor, level: float = 0.68, covers: str = "", weights: Tensor | None = None
) -> Estimate:
    """Median of draws with their central interval.

    Arguments:
        samples: Shape ``(sample,)``.
        level: Share of the draws in the interval.
        covers: Replaces the text that says what the interval covers.
        weights: Weights of the draws, ``(sample,)``; equal when left out.
    """
    _check(samples, level)
    edges = [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]
    low, middle, high = weighted_quantile(samples, edges, weights).tolist()
    text = covers or "spread of the draws"
    return Estimate(middle, low, high, level, text, samples.numel())


def weighted_quantile(
    samples: Tensor, levels: list[float], weights: Tensor | None = None
) -> Tensor:
    """Quantiles of weighted samples, linear between the midpoints of the weights.

    Arguments:
        samples: Shape ``(sample,)``.
        levels: Probabilities.
        weights: Non-negative, ``(sample,)``; with equal weights the result tends to that of
            ``torch.quantile``, which is used when they are left out.
    """
    at = torch.tensor(levels, dtype=samples.dtype, device=samples.device)
    if weights is None:
        return torch.quantile(samples, at)
    ordered, index = samples.sort()
    share = weights[index] / weights.sum()
    middle = share.cumsum(0) - 0.5 * share
    above = torch.searchsorted(middle, at).clamp(1, max(len(middle) - 1, 1))
    if len(middle) == 1:
        return ordered.expand(len(levels))
    left, right = middle[above - 1], middle[above]
    part = ((at - left) / (right - left).clamp(min=1e-300)).clamp(0.0, 1.0)
    return ordered[above - 1] + part * (ordered[above] - ordered[above - 1])


def _check(samples: Tensor, level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ConfigurationError(
            "level", expected="a probability between 0 and 1", found=f"{level:g}",
            remedy="For example 0.95.",
        )  # fmt: skip
    if samples.ndim != 1 or samples.numel() == 0:
        raise ConfigurationError(
            "samples", expected="at least one sample along one axis",
            found=f"shape {tuple(samples.shape)}",
            remedy="No individual allows the action, or the group is empty; ask for less.",
        )  # fmt: skip
