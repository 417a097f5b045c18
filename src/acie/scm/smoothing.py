r"""What a smooth function of some columns leaves of others, and how much noise that fit has eaten.

Kernel ridge regression in the Nystroem form: functions
:math:`f(z) = \sum_j a_j k_w(z, l_j)` plus linear terms, on landmarks :math:`l_j` drawn from the
rows. Width w and ridge are chosen for every target by generalised cross-validation, so that a
relation with a step gets a narrow kernel and a straight one a wide kernel.

References:
    Williams & Seeger 2001, NIPS 13 (Nystroem).
    Golub, Heath & Wahba 1979, Technometrics 21, 215 (generalised cross-validation).
"""

__all__ = ["SmoothResiduals", "smooth_residuals"]

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.errors import DataError

#: Rows at which kernels are centred; and their smallest share of all rows, one in so many.
_LANDMARKS, _ROWS_PER_LANDMARK = 150, 2
#: Widths of the kernel over the median distance of two rows.
_WIDTHS = (1.0, 0.5, 0.25)
#: Ridge parameters over the number of rows.
_RIDGES = torch.logspace(-6.0, 0.0, 13, dtype=torch.float64)
#: Linear terms are shrunk so many times less than the kernels, in variance.
_LINEAR = 10.0
#: Directions of the design below this share of the largest one are rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class _Fit:
    """All targets regressed with one width of the kernel.

    Arguments:
        basis: Orthonormal columns, ``(row, basis)``.
        seen: Coefficients of the targets, ``(basis, target)``.
        shrink: Share of each coefficient that every ridge keeps, ``(ridge, basis)``.
        score: Generalised cross-validation, ``(ridge, target)``.
    """

    basis: Tensor
    seen: Tensor
    shrink: Tensor
    score: Tensor


@dataclass(frozen=True, eq=False)
class SmoothResiduals:
    r"""Residuals of regressions on the same conditions.

    A fit that eats k degrees of freedom correlates the residuals of different rows, so that
    sums of products of residuals vary more than the products say. Where the noise of target x
    has the covariance 1, its residual has
    :math:`E_x = 1 - 11^\top/n - U_x\,\mathrm{diag}(g_x)\,U_x^\top`, with the basis U of the fit
    and the share g of the noise that it removes along each column. For independent noise

    .. math:: c_{xy} =
        \frac{\mathrm{Var} \sum_i r_i s_i}{\sum_i \mathrm{E}[r_i^2]\,\mathrm{E}[s_i^2]} =
        \frac{\mathrm{tr}\, E_x E_y}{\sum_i (E_x)_{ii} (E_y)_{ii}},

    which is n / (n - k) for projections of equal leverage. Noise whose variance differs from row
    to row changes numerator and denominator alike to first order.

    Arguments:
        values: Residuals, ``(row, target)``.
        inflation: The factor c for every pair, ``(target, target)``.
    """

    values: Tensor
    inflation: Tensor


def smooth_residuals(
    targets: Tensor, given: Tensor, generator: torch.Generator
) -> SmoothResiduals:
    """What smooth functions of the conditions leave of the targets.

    Arguments:
        targets: Shape ``(row, target)``, double.
        given: Shape ``(row, condition)``; may have no column.
        generator: Draws the landmarks.

    Raises:
        DataError: Fewer than ten rows more than conditions.
    """
    centred = targets - targets.mean(0)
    rows, conditions = given.shape
    if rows < conditions + 10:
        raise DataError(
            "data", expected=f"at least {conditions + 10} rows to condition on {conditions}",
            found=f"{rows} rows",
        )  # fmt: skip
    count = targets.shape[1]
    if conditions == 0:
        return SmoothResiduals(centred, centred.new_full((count, count), rows / (rows - 1.0)))
    z = (given - given.mean(0)) / given.std(0).clamp(min=1e-300)
    order = torch.randperm(rows, generator=generator)
    landmarks = order[: min(_LANDMARKS, rows // _ROWS_PER_LANDMARK)]
    distance = torch.cdist(z, z[landmarks])
    unit = torch.pdist(z[order[:400]]).median().clamp(min=1e-6)
    fits = [
        _fit(centred, _design(z, distance / (width * unit), landmarks)) for width in _WIDTHS
    ]
    return _best(centred, fits)


def _design(z: Tensor, distance: Tensor, landmarks: Tensor) -> Tensor:
    """Features whose ridge penalty is the norm of the kernel's space, ``(row, feature)``."""
    kernel = torch.exp(-0.5 * distance.square())
    variance, axes = torch.linalg.eigh(kernel[landmarks])
    kept = variance > _ROUNDING * variance[-1]
    features = torch.cat([_LINEAR * z, kernel @ (axes[:, kept] / variance[kept].sqrt())], 1)
    return features - features.mean(0)


def _fit(centred: Tensor, design: Tensor) -> _Fit:
    rows = len(centred)
    square, axes = torch.linalg.eigh(design.T @ design)
    kept = square > _ROUNDING * square[-1]
    square = square[kept]
    basis = design @ (axes[:, kept] / square.sqrt())
    seen = basis.T @ centred
    shrink = square / (square + rows * _RIDGES[:, None])
    # The squared residual needs no residual: what is outside the design, and what is shrunk.
    outside = (centred.square().sum(0) - seen.square().sum(0)).clamp(min=0.0)
    inside = (1.0 - shrink).square() @ seen.square()
    freedom = (rows - 1.0 - shrink.sum(1)).clamp(min=1.0)
    return _Fit(basis, seen, shrink, (outside + inside) / freedom[:, None] ** 2)


def _best(centred: Tensor, fits: Sequence[_Fit]) -> SmoothResiduals:
    """Every target with its own width and ridge."""
    score = torch.stack([fit.score for fit in fits])
    chosen = score.flatten(0, 1).argmin(0)
    width, ridge = chosen // len(_RIDGES), chosen % len(_RIDGES)
    values, diagonal = torch.empty_like(centred), torch.empty_like(centred)
    used = {w: (width == w).nonzero()[:, 0] for w in width.unique().tolist()}
    removed = {}
    for w, which in used.items():
        fit, shrink = fits[w], fits[w].shrink[ridge[which]].T
        values[:, which] = centred[:, which] - fit.basis @ (shrink * fit.seen[:, which])
        removed[w] = 1.0 - (1.0 - shrink).square()
        diagonal[:, which] = 1.0 - 1.0 / len(centred) - fit.basis.square() @ removed[w]
    lost = values.new_empty(values.shape[1])
    trace = values.new_empty(len(lost), len(lost))
    for w, which in used.items():
        lost[which] = removed[w].sum(0)
        for v, other in used.items():
            overlap = (fits[w].basis.T @ fits[v].basis).square()
            trace[which[:, None], other] = removed[w].T @ overlap @ removed[v]
    trace += len(centred) - 1.0 - lost[:, None] - lost
    return SmoothResiduals(values, trace / (diagonal.T @ diagonal))
