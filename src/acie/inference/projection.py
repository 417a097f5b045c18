"""Noise-weighted projection of observed spectra onto rest-frame components."""

__all__ = [
    "RidgeSystem",
    "band_information",
    "interpolate_from_rest",
    "rest_positions",
    "scatter_to_rest",
]

import torch
from torch import Tensor


def rest_positions(
    wavelength: Tensor, redshift: Tensor, log_start: float, log_step: float
) -> Tensor:
    """Position of the observed pixels on the rest grid, in fractional rest pixels.

    Arguments:
        wavelength: Observed pixel centres, angstrom, ``(wave,)``.
        redshift: ``(batch,)``.
        log_start: Natural log of the first rest wavelength in angstrom.
        log_step: Step of the rest grid in natural log.

    Returns:
        ``(batch, wave)``, negative or beyond the grid where the grid has no pixel.
    """
    # A rest pixel is 2e-4 of a logarithm near 8.5: float32 would round to a hundredth of a pixel.
    log_rest = wavelength.double().log() - torch.log1p(redshift.double()).unsqueeze(-1)
    return (log_rest - log_start) / log_step


def scatter_to_rest(values: Tensor, position: Tensor, pixels: int) -> Tensor:
    r"""Share observed pixels between their two neighbours on the rest grid.

    This is the adjoint of linear interpolation: for any basis :math:`P` on the rest grid,
    :math:`\sum_r P_r S_r` equals :math:`\sum_i P(\lambda_i) s_i` with :math:`P(\lambda_i)`
    interpolated linearly. Weights spread this way keep their sum, so no information is lost or
    counted twice, and a pixel of weight zero contributes to no neighbour.

    Arguments:
        values: ``(*, batch, wave)``.
        position: From :func:`rest_positions`, ``(batch, wave)``.
        pixels: Size of the rest grid.

    Returns:
        ``(*, batch, pixels)``.
    """
    inside = (position >= 0) & (position < pixels - 1)
    left = position.floor().clamp(0, pixels - 2).long()
    right_share = torch.where(inside, position - left, 0.0).to(values.dtype)
    left_share = torch.where(inside, 1.0 - right_share, 0.0)
    out = values.new_zeros((*values.shape[:-1], pixels))
    left = left.expand(values.shape)
    out.scatter_add_(-1, left, values * left_share)
    out.scatter_add_(-1, left + 1, values * right_share)
    return out


def interpolate_from_rest(model: Tensor, position: Tensor) -> Tensor:
    """Linear interpolation of ``(batch, pixels)`` at the observed pixels ``(batch, wave)``."""
    left = position.floor().clamp(0, model.shape[-1] - 2).long()
    share = (position - left).clamp(0.0, 1.0).to(model.dtype)
    return torch.lerp(model.gather(-1, left), model.gather(-1, left + 1), share)


class RidgeSystem:
    r"""Factored normal equations :math:`(G + \Lambda^{-1}) a = b` of a weighted ridge regression.

    References:
        Bishop 2006, Pattern Recognition and Machine Learning, equation 12.42 (posterior of
        probabilistic PCA), here with a weight per pixel and a variance per component.

    Arguments:
        gram: :math:`P^T W P`, ``(batch, k, k)``.
        prior: Variances :math:`\Lambda`, ``(batch, k)``.
    """

    def __init__(self, gram: Tensor, prior: Tensor) -> None:
        # In units of the prior, and in double: weights span eight orders of magnitude.
        self._prior = prior.double()
        root = self._prior.sqrt()
        gram = gram.double()
        scale = (gram.diagonal(dim1=-2, dim2=-1) * self._prior + 1.0).rsqrt()
        self._unit = scale * root
        system = gram * self._unit.unsqueeze(-1) * self._unit.unsqueeze(-2)
        # The prior, in a matrix that has a unit diagonal by now; and the float32 products leave
        # rounding of 1e-7.
        system.diagonal(dim1=-2, dim2=-1).add_(scale.square() + 1e-6)
        self._factor = torch.linalg.cholesky(system)

    def solve(self, right: Tensor) -> Tensor:
        """Coefficients for right-hand sides ``(batch, k)``, in double."""
        right = (right.double() * self._unit).unsqueeze(-1)
        return torch.cholesky_solve(right, self._factor).squeeze(-1) * self._unit

    def pull(self, mean: Tensor) -> Tensor:
        """Gradient of the prior at ``mean``: what it adds to a residual right-hand side."""
        return -mean / self._prior

    def spread(self, leading: int) -> Tensor:
        """Posterior standard deviations of the leading coefficients, ``(batch, leading)``."""
        batch, k = self._unit.shape
        unit = torch.eye(k, dtype=torch.float64, device=self._unit.device)[:, :leading]
        half = torch.linalg.solve_triangular(self._factor, unit.expand(batch, -1, -1), upper=False)
        return half.square().sum(-2).sqrt() * self._unit[:, :leading]


def band_information(weights: Tensor, bands: int) -> Tensor:
    """Log10 of one plus the summed weights in equal observed bands, ``(batch, bands)``."""
    return torch.log10(1.0 + weights.unflatten(-1, (bands, -1)).sum(-1))
