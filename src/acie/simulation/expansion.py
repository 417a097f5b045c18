r"""The likelihood of spectra in a small basis.

In :math:`f = c + \sum_j a_j \Phi_j`, with the weights of the pixels kept at those of c, every sum
over the pixels that the likelihood needs is a quadratic function of a, whose coefficients are
computed once. The weights do change with f, through the template error, by a factor
:math:`\kappa(\lambda)` that is nearly a low polynomial; its coefficients follow from few pixels.
A likelihood then costs as much as the basis is small, however many pixels there are.

References:
    Canizares et al. 2015, PRL 114, 071104 (reduced-order quadrature for likelihoods).
"""

__all__ = ["ReducedExpansion"]

import functools

import torch
from torch import Tensor

from acie.native import basis as compiled
from acie.native import reduced, usable
from acie.simulation.noise import SpectrumLikelihood
from acie.threads import spread

#: Chebyshev terms of the change of the weights.
_TERMS = 3
#: Pixels over which the polynomials are replaced by their mean in the quadratic forms. They have
#: degrees up to eight over 6000 pixels, and the calibration that multiplies them is small.
_BLOCK = 12


class ReducedExpansion:
    """A :class:`SpectrumLikelihood` as a function of coordinates in a basis.

    Arguments:
        likelihood: That of one batch.
        centre: c, shape ``(batch, wave)``.
        basis: Phi, shape ``(batch, component, wave)``.
        pixels: Pixels at which the flux will be given, ``(batch, pixel)``.
        shares: How many pixels each of them stands for, up to a constant, ``(batch, pixel)``.
    """

    def __init__(
        self,
        likelihood: SpectrumLikelihood,
        centre: Tensor,
        basis: Tensor,
        pixels: Tensor,
        shares: Tensor,
    ) -> None:
        self._likelihood = likelihood
        count = len(likelihood.basis)
        self._terms = (_TERMS, count + _TERMS - 1, 2 * count + _TERMS - 2)
        polynomials = likelihood.noise.polynomials(self._terms[2], centre.device)
        weight, self._damping = likelihood.weight(centre)
        residual = likelihood.flux - centre
        flat = polynomials.unflatten(1, (-1, _BLOCK)).mean(-1)

        rows = weight, centre, residual
        self._constant, self._of_residual, self._of_centre, self._square = (
            compiled.expanded(*rows, basis, polynomials, flat)
            if compiled.expands(basis, polynomials, _BLOCK, *rows)
            else _expanded(*rows, basis, polynomials, flat)
        )
        self._relative = likelihood.relative.gather(1, pixels)[:, None]
        self._growth = 1.0 + self._relative * centre.gather(1, pixels)[:, None].square()
        low = polynomials[:_TERMS].T
        self._counts = (likelihood.ivar > 0).double() @ low.double()
        root = shares.sqrt()[..., None]
        self._fit = (torch.linalg.pinv((root * low[pixels]).double()) * root.mT).mT.to(basis.dtype)
        # The same once more, as the kernel reads it.
        self._tables = self._tabulated()

    def _tabulated(self) -> tuple[Tensor, ...]:
        """What ``struct expansion`` of ``kernels.h`` holds."""
        likelihood = self._likelihood
        linear = torch.stack([self._of_residual, self._of_centre], 2)
        rest = torch.stack([self._damping, likelihood.count, likelihood.power], -1)
        numbers = torch.cat([self._counts, rest], -1)
        at_pixels = self._relative[:, 0], self._growth[:, 0], self._fit
        parts = self._constant, linear, self._square, *at_pixels, numbers
        return tuple(part.contiguous() for part in parts)

    def __call__(self, coordinates: Tensor, flux: Tensor) -> Tensor:
        """Log likelihood, shape ``(sample, batch)``.

        Arguments:
            coordinates: a, shape ``(batch, sample, component)``.
            flux: Flux at the pixels, ``(batch, sample, pixel)``.
        """
        if self._fits(coordinates, flux):
            noise = self._likelihood.noise
            numbers = noise.scale_dof, noise.calibration**-2
            return reduced.log_likelihood(coordinates, flux, self._tables, *numbers)
        few, some, many = self._terms
        chi2, projected, squares, _ = self._sums(coordinates)
        chi2, projected, squares = chi2[..., :few], projected[..., :some], squares[..., :many]
        change = self._growth / (1.0 + self._relative * flux.square())
        factor = (change @ self._fit).double()
        logarithm = (change.log() @ self._fit).double()
        return self._likelihood.marginal(
            (factor * chi2).sum(-1).T,
            (self._damping[:, None] - (logarithm * self._counts[:, None]).sum(-1)).T,
            _product(factor, projected, some - few + 1).transpose(0, 1),
            _product(factor, squares, many - few + 1).transpose(0, 1),
        )

    def _fits(self, *given: Tensor) -> bool:
        """Whether the kernel may take coordinates and flux."""
        return (
            usable(*given, *self._tables[1:-1])
            and self._terms == reduced.TERMS
            and given[0].shape[-1] <= reduced.MOST_COMPONENTS
            and all(part.is_contiguous() for part in given)
        )

    def _sums(self, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sums of w T_k times r^2, f r and f^2, and the products Q_k a.

        Returns:
            Three of shape ``(batch, sample, polynomial)``, and the last
            ``(batch, sample, polynomial, component)``.
        """
        forms = (coordinates @ self._square).unflatten(-1, (self._terms[2], -1))
        square = (forms @ coordinates[..., None])[..., 0].double()
        of_residual = (coordinates @ self._of_residual).double()
        of_centre = (coordinates @ self._of_centre).double()
        constant = self._constant[:, :, None]
        chi2 = constant[:, 0] - 2.0 * of_residual + square
        projected = constant[:, 1] + of_residual - of_centre - square
        return chi2, projected, constant[:, 2] + 2.0 * of_centre + square, forms

    def information(self, at: Tensor) -> tuple[Tensor, Tensor]:
        r"""Gauss-Newton gradient and precision of the coordinates.

        With D the design of the calibration polynomial and M as in :class:`SpectrumLikelihood`,
        :math:`A = \Phi W \Phi^T - \Phi W D M^{-1} D^T W \Phi^T` and
        :math:`g = \Phi W r - \Phi W D M^{-1} D^T W r`, both over the squared scale of the noise.

        Arguments:
            at: Coordinates of the spectrum at which to expand, ``(batch, component)``.

        Returns:
            Gradient ``(batch, component)`` and precision ``(batch, component, component)``.
        """
        chi2, projected, squares, forms = (part[:, 0] for part in self._sums(at[:, None]))
        terms = len(self._likelihood.basis)
        moved = forms.mT.double()
        design = (self._of_centre.double() + moved)[..., :terms]
        residual = self._of_residual[..., 0].double() - moved[..., 0]
        projected = projected[:, :terms]
        solved, scale = self._likelihood.calibrated(
            chi2[:, 0], projected, squares[:, : 2 * terms - 1], design
        )
        gradient = residual - (solved @ projected[..., None])[..., 0]
        square = self._square[..., : self._square.shape[1]].double()
        precision = square - solved @ design.mT
        return scale[:, None] * gradient, scale[:, None, None] * precision


def _expanded(
    weight: Tensor,
    centre: Tensor,
    residual: Tensor,
    basis: Tensor,
    polynomials: Tensor,
    flat: Tensor,
) -> tuple[Tensor, ...]:
    """What :func:`acie.native.basis.expanded` gives."""

    def sums_of(galaxy: int) -> tuple[Tensor, ...]:
        w, f, r, phi = weight[galaxy], centre[galaxy], residual[galaxy], basis[galaxy]
        weighted = w * polynomials
        # The products of the components, in blocks of pixels over which a polynomial is flat.
        left = (w * phi).unflatten(1, (-1, _BLOCK)).transpose(0, 1)
        products = torch.bmm(left, phi.unflatten(1, (-1, _BLOCK)).permute(1, 2, 0))
        products = (flat @ products.flatten(1)).unflatten(1, (len(phi), -1))
        return (
            torch.stack([r * r, f * r, f * f]).double() @ weighted.T.double(),
            (phi * r) @ weighted.T,
            (phi * f) @ weighted.T,
            # (component, polynomial * component): one product gives all quadratic forms.
            products.transpose(0, 1).flatten(1),
        )

    return tuple(map(torch.stack, zip(*spread(sums_of, range(len(centre))), strict=True)))


def _product(factor: Tensor, sums: Tensor, count: int) -> Tensor:
    """Sums against T_i times the polynomial of ``factor``, from sums against each T_k."""
    both = (sums @ _shifts(count).to(sums)).unflatten(-1, (_TERMS, count))
    return (factor[..., None] * both).sum(-2)


@functools.cache
def _shifts(count: int) -> Tensor:
    """From sums against T_k to those against T_i T_k = (T_(i+k) + T_|i-k|) / 2.

    Shape ``(_TERMS + count - 1, _TERMS * count)``.
    """
    with torch.inference_mode(False):
        shifts = torch.zeros(_TERMS + count - 1, _TERMS, count, dtype=torch.float64)
        for order in range(_TERMS):
            for degree in range(count):
                shifts[order + degree, order, degree] += 0.5
                shifts[abs(order - degree), order, degree] += 0.5
        return shifts.flatten(1)
