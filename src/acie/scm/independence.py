r"""Tests of conditional independence.

References:
    Fisher 1924, Metron 3, 329 (partial correlation).
    Shah & Peters 2020, Annals of Statistics 48, 1514 (generalised covariance measure).
    Rahimi & Recht 2007, NIPS 20 (random Fourier features).
"""

__all__ = ["gcm_p_values", "partial_correlation_p_values", "smooth_residuals"]

import math

import torch
from torch import Tensor

from acie.errors import DataError

#: Random features of the regression; enough for a few hundred to some thousand rows.
_FEATURES = 120
#: Ridge parameters tried by generalised cross-validation.
_RIDGES = torch.logspace(-3.0, 3.0, 13, dtype=torch.float64)


def partial_correlation_p_values(x: Tensor, others: Tensor, given: Tensor) -> Tensor:
    r"""Two-sided p values that x is independent of each column, given the conditions.

    .. math:: z = \tfrac12 \sqrt{n - |Z| - 3} \log\frac{1 + r}{1 - r}

    Exact for linear relations with Gaussian noise only.

    Arguments:
        x: Shape ``(row,)``.
        others: Shape ``(row, other)``.
        given: Shape ``(row, condition)``; may have no column.

    Returns:
        Shape ``(other,)``.
    """
    rows, conditions = given.shape
    _enough(rows, conditions)
    design = torch.cat([torch.ones(rows, 1, dtype=given.dtype), given], 1)
    both = torch.cat([x[:, None], others], 1)
    residual = both - design @ torch.linalg.lstsq(design, both).solution
    residual = residual / residual.norm(dim=0).clamp(min=1e-300)
    r = (residual[:, :1] * residual[:, 1:]).sum(0).clamp(-1 + 1e-15, 1 - 1e-15)
    z = torch.atanh(r) * math.sqrt(rows - conditions - 3)
    return _two_sided(z)


def gcm_p_values(x_residual: Tensor, other_residuals: Tensor) -> Tensor:
    r"""Two-sided p values of the generalised covariance measure.

    .. math:: T = \sqrt n \; \frac{\bar R}{\sqrt{\overline{R^2} - \bar R^2}}, \quad
        R_i = \epsilon_i \xi_i

    which is standard normal under independence when both regressions converge faster than
    :math:`n^{-1/4}`.

    Arguments:
        x_residual: What the conditions leave of x, ``(row,)``.
        other_residuals: The same of the others, ``(row, other)``.

    Returns:
        Shape ``(other,)``; NaN for a column that the conditions determine.
    """
    product = x_residual[:, None] * other_residuals
    mean = product.mean(0)
    spread = (product.square().mean(0) - mean.square()).clamp(min=0.0).sqrt()
    return _two_sided(math.sqrt(len(product)) * mean / spread)


def smooth_residuals(
    targets: Tensor, given: Tensor, generator: torch.Generator, features: int = _FEATURES
) -> Tensor:
    """What a smooth function of the conditions leaves of the targets.

    Kernel ridge regression on random Fourier features of a Gaussian kernel, besides linear
    terms; the ridge is chosen for each target by generalised cross-validation (Golub, Heath &
    Wahba 1979, Technometrics 21, 215), the width of the kernel is the median distance.

    Arguments:
        targets: Shape ``(row, target)``.
        given: Shape ``(row, condition)``; may have no column.
        generator: Source of the features.
        features: Number of features.

    Returns:
        Shape ``(row, target)``.
    """
    centred = targets - targets.mean(0)
    rows, conditions = given.shape
    if conditions == 0:
        return centred
    _enough(rows, conditions)
    z = (given - given.mean(0)) / given.std(0).clamp(min=1e-300)
    some = z[torch.randperm(rows, generator=generator)[: min(rows, 400)]]
    width = torch.pdist(some).median().clamp(min=1e-6)
    frequency = torch.randn(conditions, features, generator=generator, dtype=z.dtype) / width
    phase = 2.0 * math.pi * torch.rand(features, generator=generator, dtype=z.dtype)
    design = torch.cat([z, math.sqrt(2.0 / features) * torch.cos(z @ frequency + phase)], 1)
    design = design - design.mean(0)
    left, values, _ = torch.linalg.svd(design, full_matrices=False)
    seen = left.T @ centred
    shrink = values.square() / (values.square() + _RIDGES[:, None])
    # The squared residual needs no residual: what is outside the design, and what is shrunk.
    outside = (centred.square().sum(0) - seen.square().sum(0)).clamp(min=0.0)
    inside = ((1.0 - shrink)[:, :, None] * seen).square().sum(1)
    freedom = (rows - 1.0 - shrink.sum(1)).clamp(min=1.0)
    score = (outside + inside) / freedom[:, None] ** 2
    best = shrink[score.argmin(0)]
    return centred - left @ (best.T * seen)


def _two_sided(z: Tensor) -> Tensor:
    return torch.erfc(z.abs() / math.sqrt(2.0))


def _enough(rows: int, conditions: int) -> None:
    if rows < conditions + 10:
        raise DataError(
            "data", expected=f"at least {conditions + 10} rows to condition on {conditions}",
            found=f"{rows} rows",
        )  # fmt: skip
