r"""Tests of conditional independence.

References:
    Fisher 1924, Metron 3, 329 (partial correlation).
    Shah & Peters 2020, Annals of Statistics 48, 1514 (generalised covariance measure).
"""

__all__ = ["gcm_p_values", "partial_correlation_p_values"]

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from acie.errors import DataError
from acie.scm.smoothing import SmoothResiduals


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


def gcm_p_values(residuals: SmoothResiduals, target: int, others: Sequence[int]) -> Tensor:
    r"""Two-sided p values of the generalised covariance measure.

    .. math:: T = \sqrt{\frac{n}{c}} \; \frac{\bar R}{\sqrt{\overline{R^2} - \bar R^2}}, \quad
        R_i = \epsilon_i \xi_i

    which is standard normal under independence when the product of the errors of the two
    regressions vanishes faster than :math:`n^{-1/2}`. The factor c, which tends to 1, is what the
    degrees of freedom of the regressions add to the variance, see
    :class:`~acie.scm.smoothing.SmoothResiduals`.

    Arguments:
        residuals: What the conditions leave of every column.
        target: The column tested.
        others: The columns it is to be independent of.

    Returns:
        Shape ``(other,)``; NaN for a column that the conditions determine.
    """
    others = list(others)
    product = residuals.values[:, target, None] * residuals.values[:, others]
    mean = product.mean(0)
    spread = (product.square().mean(0) - mean.square()).clamp(min=0.0).sqrt()
    factor = residuals.inflation[target, others]
    return _two_sided((len(product) / factor).sqrt() * mean / spread)


def _two_sided(z: Tensor) -> Tensor:
    return torch.erfc(z.abs() / math.sqrt(2.0))


def _enough(rows: int, conditions: int) -> None:
    if rows < conditions + 10:
        raise DataError(
            "data", expected=f"at least {conditions + 10} rows to condition on {conditions}",
            found=f"{rows} rows",
        )  # fmt: skip
