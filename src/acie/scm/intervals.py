"""Numbers with an interval that says what it covers."""

__all__ = ["Estimate", "mean_estimate", "spread_estimate"]

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.errors import ConfigurationError
from acie.quantiles import quantiles, weighted_quantiles


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
    samples: Tensor,
    level: float = 0.68,
    covers: str = "",
    weights: Tensor | None = None,
    effective: float | None = None,
) -> Estimate:
    """Median of draws with the central interval of what they were drawn from.

    Arguments:
        samples: Shape ``(sample,)``.
        level: Probability of the interval; see :mod:`acie.quantiles`.
        covers: Replaces the text that says what the interval covers.
        weights: Weights of the draws, ``(sample,)``; equal when left out.
        effective: What the draws are worth; left out, as many as they are, or as the weights say.
    """
    _check(samples, level)
    edges = [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]
    if weights is None:
        low, middle, high = quantiles(samples, edges, effective).tolist()
    else:
        low, middle, high = weighted_quantiles(samples, edges, weights, effective).tolist()
    text = covers or "spread of the draws"
    return Estimate(middle, low, high, level, text, samples.numel())


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
