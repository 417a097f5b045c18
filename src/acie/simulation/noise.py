"""Noise, calibration and template errors: how they are drawn and how the likelihood sees them."""

__all__ = ["NoiseModel", "SpectrumLikelihood"]

import copy
import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acie.native import checks, kernels, usable
from acie.observation import WAVELENGTH, Observation

#: Template errors below this leave the sums of far too bright models without digits in single
#: precision: what the calibration explains of them is all but all of them.
_LEAST_ERROR = 0.01
#: Terms of the calibration polynomial that the kernel of the sums is written for.
_TERMS_OF_KERNEL = 4


@dataclass(frozen=True)
class NoiseModel:
    """What separates a measured spectrum from a perfect one, besides the stated errors.

    Arguments:
        calibration: Standard deviation of each coefficient of the multiplicative polynomial.
        calibration_terms: Number of Chebyshev terms, from the constant one.
        template_error: Relative error per pixel of the templates inside the range of MILES. An
            estimate from one quiescent galaxy observed twice at S/N 35, whose residuals in bins
            of 5 angstrom exceed the noise by between one and two percent.
        template_error_outside: The same outside, rest-frame below 3540 and above 7350 angstrom.
        scale_dof: The true variance is the stated one times ``dof / chi2(dof)``.
    """

    calibration: float = 0.03
    calibration_terms: int = 4
    template_error: float = 0.02
    template_error_outside: float = 0.03
    scale_dof: float = 20.0

    def polynomials(
        self, terms: int | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Chebyshev polynomials over the pixels, shape ``(term, wave)``.

        Arguments:
            terms: How many; those of the calibration when left out.
            device: Where they are wanted.
        """
        count = self.calibration_terms if terms is None else terms
        return _chebyshev(count, torch.device(device))

    def relative_error(self, redshift: Tensor) -> Tensor:
        """Template error per pixel, shape ``(batch, wave)``."""
        wave = torch.as_tensor(WAVELENGTH.copy(), device=redshift.device)
        rest = wave / (1.0 + redshift.double()[:, None])
        inside = (rest > 3540.0) & (rest < 7350.0)
        return torch.where(inside, self.template_error, self.template_error_outside).float()

    def sample(
        self, clean: Tensor, sigma: Tensor, redshift: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Noisy flux: calibration, template error, and pixel noise of a drawn scale."""
        rows, there = clean.shape[0], {"generator": generator, "device": clean.device}
        basis = self.polynomials(device=clean.device)
        draw = torch.randn(rows, basis.shape[0], **there)
        gamma = torch.distributions.Gamma(self.scale_dof / 2.0, self.scale_dof / 2.0)
        uniform = torch.rand(rows, 1, **there)
        # torch's gamma law takes no generator: invert its distribution function on a table.
        grid = torch.linspace(0.05, 4.0, 4000)
        cumulative = gamma.log_prob(grid).exp().cumsum(0).to(clean.device)
        grid = grid.to(clean.device)
        precision = grid[torch.searchsorted(cumulative / cumulative[-1], uniform).clamp(max=3999)]
        scale = precision.rsqrt()
        calibrated = clean * (1.0 + scale * self.calibration * (draw @ basis))
        template = self.relative_error(redshift) * clean
        total = (sigma**2 + template**2).sqrt() * scale
        return calibrated + total * torch.randn(clean.shape, **there)


class SpectrumLikelihood:
    r"""Exact likelihood of spectra with calibration and noise scale marginalised.

    The variance of a pixel is :math:`1/w = \sigma^2 + e^2 f^2`, with e the template error. With
    :math:`D = f \cdot T` the design of the calibration polynomial,
    :math:`M = D^T W D + I / \epsilon^2` and :math:`b = D^T W r`, the calibration integrates to
    :math:`\chi^2 = r^T W r - b^T M^{-1} b`, and the noise scale to a Student law:

    .. math:: \log L = -\tfrac{\nu + n}{2} \log(\nu + \chi^2) - \tfrac12 \log |M|
        + \tfrac12 \sum \log w + const.

    References:
        Gelman et al. 2013, Bayesian Data Analysis, 3rd edition, sections 14.2 and 3.2.

    Arguments:
        observation: One batch of galaxies, ``(batch, wave)``.
        noise: The noise model.
        inflation: Factor k on the standard errors, shape ``(batch,)``: the log likelihood is
            divided by k squared, for galaxies whose residuals are correlated, so that correlated
            misfits do not pass for information. (Scaling the weights would change nothing,
            because the scale of the noise is marginalised.)
    """

    def __init__(
        self, observation: Observation, noise: NoiseModel, inflation: Tensor | None = None
    ) -> None:
        self.noise = noise
        self.flux = observation.flux.float()
        self.ivar = observation.ivar.float()
        self.relative = self.ivar * noise.relative_error(observation.redshift) ** 2
        least = min(noise.template_error, noise.template_error_outside)
        self._precision = torch.float64 if least < _LEAST_ERROR else torch.float32
        power = self.flux.new_ones(len(self.flux)) if inflation is None else inflation**-2
        #: What the log likelihood is multiplied with.
        self.power = power.double()
        self.count = (self.ivar > 0).sum(-1).double()
        self.basis = noise.polynomials(device=self.flux.device)
        # T_i T_j = (T_(i+j) + T_|i-j|) / 2: the products need few sums over the pixels.
        degree = torch.arange(noise.calibration_terms)
        self._sum = degree[:, None] + degree
        self._difference = (degree[:, None] - degree).abs()
        self.powers = noise.polynomials(2 * noise.calibration_terms - 1, self.flux.device)

    def __getitem__(self, galaxy: int) -> "SpectrumLikelihood":
        """The likelihood of one galaxy of the batch, which keeps its axis."""
        one = copy.copy(self)
        for name in ("flux", "ivar", "relative", "power", "count"):
            setattr(one, name, getattr(self, name)[galaxy : galaxy + 1])
        return one

    def __call__(self, model: Tensor) -> Tensor:
        """Log likelihood up to a constant per galaxy.

        Arguments:
            model: Noise-free spectra, shape ``(sample, batch, wave)``.

        Returns:
            Shape ``(sample, batch)``, double precision.
        """
        return self.marginal(*self.sums(model))

    def sums(self, model: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sums over the pixels of spectra ``(sample, batch, wave)``: see :meth:`marginal`."""
        if self._takes_kernel(model):
            return self._sums_at_once(model)
        # The template error bounds w f^2, so these sums keep their digits in single precision
        # however bright the model is. Without one they need double precision.
        model = model.to(self._precision)
        weight, log_damping = self.weight(model)
        residual = self.flux - model
        weighted = weight * residual
        chi2 = (weighted * residual).sum(-1).double()
        return chi2, log_damping, *self._sums(model, weight, weighted)

    def marginal(
        self,
        chi2: Tensor,
        log_damping: Tensor,
        projected: Tensor,
        squares: Tensor,
        galaxy: Tensor | slice = slice(None),
    ) -> Tensor:
        r"""Log likelihood from its sums over the pixels, calibration and scale marginalised.

        Arguments:
            chi2: :math:`\sum w r^2`, shape ``(*, batch)``.
            log_damping: Minus :math:`\sum \log w` up to a constant, ``(*, batch)``.
            projected: :math:`\sum T_i w f r`, ``(*, batch, term)``.
            squares: :math:`\sum T_k w f^2`, ``(*, batch, 2 term - 1)``.
            galaxy: Which galaxies the last axis of ``chi2`` stands for; all, when left out.
        """
        # An expansion far from its centre may ask for a matrix that is not positive: impossible.
        factor, wrong = torch.linalg.cholesky_ex(self._gram(squares))
        half = torch.linalg.solve_triangular(factor, projected[..., None], upper=False)[..., 0]
        chi2 = (chi2 - half.square().sum(-1)).clamp(min=0.0)
        log_det = 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + log_damping
        dof = self.noise.scale_dof
        count, power = self.count[galaxy], self.power[galaxy]
        log_likelihood = -0.5 * (dof + count) * torch.log(dof + chi2) - 0.5 * log_det
        return (power * log_likelihood).masked_fill(wrong > 0, -math.inf)

    def calibrated(
        self, chi2: Tensor, projected: Tensor, squares: Tensor, design: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The design over the calibration's precision, and the inverse squared scale of the noise.

        Arguments:
            chi2: See :meth:`marginal`, as are the next two; of one spectrum, ``(batch,)``.
            projected: ``(batch, term)``.
            squares: ``(batch, 2 term - 1)``.
            design: Sums of other vectors against the polynomials, ``(batch, vector, term)``.

        Returns:
            ``(batch, vector, term)`` and ``(batch,)``.
        """
        gram = self._gram(squares)
        solved = torch.linalg.solve(gram, design.mT).mT
        explained = (projected * torch.linalg.solve(gram, projected)).sum(-1)
        dof = self.noise.scale_dof
        scale = (dof + self.count) / (dof + (chi2 - explained).clamp(min=0.0))
        return solved, self.power * scale

    def information(self, model: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
        r"""Gauss-Newton gradient and precision of a model that is linear in its parameters.

        With the calibration marginalised,
        :math:`A = J^T W J - J^T W D M^{-1} D^T W J` and
        :math:`g = J^T W r - J^T W D M^{-1} D^T W r`, both over the squared scale of the noise.

        Arguments:
            model: Spectra at the point of expansion, ``(batch, wave)``.
            jacobian: Derivatives, ``(batch, dim, wave)``.

        Returns:
            Gradient ``(batch, dim)`` and precision ``(batch, dim, dim)``, double precision.
        """
        weight, _ = self.weight(model)
        residual = self.flux - model
        projected, squares = self._sums(model, weight, weight * residual)
        chi2 = (weight * residual.square()).sum(-1).double()
        design = ((jacobian * (weight * model)[:, None]) @ self.basis.T).double()
        solved, scale = self.calibrated(chi2, projected, squares, design)
        weighted = (jacobian * weight[:, None]).double()
        gradient = (weighted @ residual.double()[..., None])[..., 0]
        gradient = gradient - (solved @ projected[..., None])[..., 0]
        precision = weighted @ jacobian.double().mT - solved @ design.mT
        return scale[:, None] * gradient, scale[:, None, None] * precision

    def weight(self, model: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse variances and the log determinant of the covariance, up to a constant."""
        growth = torch.addcmul(self.relative.new_ones(()), self.relative, model.square())
        return self.ivar / growth, _log_product(growth)

    def _sums(self, model: Tensor, weight: Tensor, weighted: Tensor) -> tuple[Tensor, Tensor]:
        basis, powers = self.basis.to(model.dtype), self.powers.to(model.dtype)
        projected = ((weighted * model) @ basis.T).double()
        return projected, ((weight * model.square()) @ powers.T).double()

    def _takes_kernel(self, model: Tensor) -> bool:
        """Whether :meth:`_sums_at_once` may be used: spectra of one galaxy, usual polynomials."""
        return (
            len(self.flux) == 1
            and self._precision == torch.float32
            and self.noise.calibration_terms == _TERMS_OF_KERNEL
            and model.is_contiguous()
            and usable(model, self.flux, self.ivar, self.relative, self.powers)
        )

    def _sums_at_once(self, model: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """:meth:`sums` by a kernel, which reads every spectrum once."""
        wave, sizes = model.shape[-1], (_TERMS_OF_KERNEL, 2 * _TERMS_OF_KERNEL - 1)
        found = self.count.new_empty(*model.shape[:-1], 2 + sum(sizes))
        kernels.sums(
            model.numel() // wave, wave, model.data_ptr(), self.flux.data_ptr(),
            self.ivar.data_ptr(), self.relative.data_ptr(), self.powers.data_ptr(),
            found.data_ptr(),
        )  # fmt: skip
        chi2, log_damping = found[..., 0], found[..., 1]
        return chi2, log_damping, *found[..., 2:].split(sizes, -1)

    def _gram(self, squares: Tensor) -> Tensor:
        """M, ``(*, term, term)``."""
        gram = 0.5 * (squares[..., self._sum] + squares[..., self._difference])
        unit = torch.eye(self.noise.calibration_terms, dtype=gram.dtype, device=gram.device)
        prior = unit / self.noise.calibration**2
        return gram + prior

    def coefficients(self, model: Tensor) -> Tensor:
        """Posterior mean of the calibration's coefficients, ``(sample, batch, term)``, double."""
        found = None
        if checks.fits(model, self.powers, self.flux, self.ivar, self.relative):
            found = checks.row_sums(model, self.flux, self.ivar, self.relative, self.powers)
        if found is None:
            weight = self.weight(model)[0]
            found = self._sums(model, weight, weight * (self.flux - model))
        projected, squares = found
        return torch.linalg.solve(self._gram(squares), projected[..., None])[..., 0]

    def calibration(self, model: Tensor) -> Tensor:
        """Posterior mean of the multiplicative polynomial, shape ``(sample, batch, wave)``."""
        return 1.0 + self.coefficients(model).float() @ self.basis

    def standard_residuals(self, model: Tensor) -> Tensor:
        """Residuals after calibration over their standard errors; NaN where masked."""
        residual = self.flux - model * self.calibration(model)
        weight = self.weight(model)[0]
        return torch.where(weight > 0, residual * weight.sqrt(), math.nan)

    def misfit(self, model: Tensor, width: int = 5) -> tuple[Tensor, Tensor]:
        """Robust standard deviations of the residuals, in bins of ``width`` pixels and single.

        Rebinned pixels are correlated with their neighbours, and their inverse variances conserve
        information: the weighted sum over a few pixels has the stated error, a single one less.

        Returns:
            About one for a good fit, each of shape ``(sample, batch)``.
        """

        def spread(values: Tensor) -> Tensor:
            centre = checks.nanmedian(values)[..., None]
            return 1.4826 * checks.nanmedian((values - centre).abs())

        rows = self.basis, self.flux, self.ivar, self.relative
        if width == checks.BIN and checks.fits(model, *rows):
            basis, *rows = rows
            coefficients = self.coefficients(model).float()
            binned, single = checks.deviates(model, *rows, basis, coefficients)
        else:
            binned, single = self._deviates(model, width)
        return spread(binned), spread(single)

    def _deviates(self, model: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Residuals in standard errors of bins and of single pixels, NaN where there are none."""
        weight = self.weight(model)[0]
        residual = (self.flux - model * self.calibration(model)) * weight
        pixels = residual.shape[-1] // width * width

        def binned(values: Tensor) -> Tensor:
            return values[..., :pixels].unflatten(-1, (-1, width)).sum(-1)

        total = binned(weight)
        scaled = torch.where(total > 0, binned(residual) / total.sqrt(), math.nan)
        return scaled, torch.where(weight > 0, residual / weight.sqrt(), math.nan)


def _log_product(values: Tensor) -> Tensor:
    """Sum of the logarithms of the last axis, a multiple of 4: one logarithm for four values.

    They are at least 1, and below 1e9 for any signal-to-noise ratio below a million.
    """
    for _ in range(2):
        first, second = values.chunk(2, -1)
        values = first * second
    return values.log().sum(-1).double()


@functools.cache
def _chebyshev(count: int, device: torch.device) -> Tensor:
    """Chebyshev polynomials over the instrument's pixels, shape ``(count, wave)``."""
    x = np.linspace(-1.0, 1.0, WAVELENGTH.size)
    rows = np.polynomial.chebyshev.chebvander(x, count - 1).T
    with torch.inference_mode(False):
        return torch.as_tensor(rows.copy()).float().to(device)
