"""A likelihood per galaxy that costs a hundredth of the exact one.

The spectra that are plausible for one galaxy differ in a few tens of ways only. A basis is made
from exact spectra of a few draws; other states are computed at a few pixels, which fix their
coordinates in the basis, and the likelihood is a quadratic form there. Draws are weighted with
the exact likelihood afterwards, so what is lost here costs efficiency, not truth.
"""

__all__ = ["ReducedLikelihood"]

import torch
from torch import Tensor

from acie.native import basis as compiled
from acie.physics import StellarPopulationModel, SubsetModel
from acie.simulation import ReducedExpansion, SpectrumLikelihood
from acie.threads import spread

#: Basis spectra at most, and pixels per basis spectrum.
_RANK, _OVERSAMPLING = 18, 4
#: Share of the pixels that is spread evenly, whatever the basis looks like.
_EVEN = 0.3
#: Velocity dispersions of the table reach beyond those of the draws by this factor.
_ROOM = 1.25


class ReducedLikelihood:
    """Approximate log likelihood of states of a batch of galaxies.

    References:
        Peherstorfer, Drmac & Gugercin 2020, SIAM J. Sci. Comput. 42, A2837 (oversampled
        empirical interpolation).

    Arguments:
        physics: The forward model.
        likelihood: The exact likelihood.
        redshift: Shape ``(batch,)``.
        excess_km2_s2: From :meth:`StellarPopulationModel.lsf_excess`, ``(batch, wave)``.
        states: Draws that cover where the posterior may be, each ``(sample, batch)``.
        spectra: Their exact spectra, ``(sample, batch, wave)``.
        log_weights: How plausible each draw is; none is ignored, ``(sample, batch)``.
    """

    def __init__(
        self,
        physics: StellarPopulationModel,
        likelihood: SpectrumLikelihood,
        redshift: Tensor,
        excess_km2_s2: Tensor,
        states: dict[str, Tensor],
        spectra: Tensor,
        log_weights: Tensor,
    ) -> None:
        spectra = spectra.transpose(0, 1)
        share = torch.softmax(log_weights.float().T, -1).contiguous()
        centre, root, white, basis, pixels, leverage = _basis(likelihood, spectra, share)
        sigma = states["velocity_dispersion"]
        ends = ((sigma.amin(0) / _ROOM).clamp(min=20.0), (sigma.amax(0) * _ROOM).clamp(max=500.0))
        self._model = SubsetModel(physics, redshift, excess_km2_s2, ends, pixels)
        own = self._model(states)
        exact = spectra.gather(2, pixels[:, None].expand(-1, spectra.shape[1], -1))
        # What the model of few pixels gets wrong is nearly the same for all draws of a galaxy.
        self._correction = (exact.sum(1) / own.sum(1))[:, None]
        self._scale = (root.gather(1, pixels) * leverage)[:, None]
        columns = pixels[:, None].expand(-1, white.shape[1], -1)
        design = white.gather(2, columns) * leverage[:, None]
        self._inverse = torch.linalg.pinv(design.double()).to(spectra.dtype)
        self._at_pixels = centre.gather(1, pixels)[:, None]
        self._expansion = ReducedExpansion(likelihood, centre, basis, pixels, leverage.square())

    def __call__(self, states: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log likelihood of states ``(sample, batch)``, same shape, and their coordinates.

        Returns:
            ``(sample, batch)`` and ``(sample, batch, component)``.
        """
        flux = self._model(states) * self._correction
        coordinates = ((flux - self._at_pixels) * self._scale) @ self._inverse
        return self._expansion(coordinates, flux), coordinates.transpose(0, 1)

    def information(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`ReducedExpansion.information`."""
        return self._expansion.information(at)


def _basis(
    likelihood: SpectrumLikelihood, spectra: Tensor, share: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What spans the draws ``(batch, sample, wave)`` of shares ``(batch, sample)``.

    Returns:
        Their mean and the roots of the inverse variances there, ``(batch, wave)``; orthonormal
        directions in standard errors, and in units of flux, ``(batch, rank, wave)``; pixels that
        fix the coordinates and their weights, ``(batch, pixel)``.
    """
    # Implausible draws may stretch the basis, not fill it.
    floor = 0.1 / share.shape[-1]
    stretch = (share.clamp(min=floor) / floor).sqrt().double()
    rows = likelihood.ivar, likelihood.relative
    if compiled.fits(spectra, share, *rows):
        centre, root, products = compiled.centred(spectra, share, *rows)
        factors = _factors(products * stretch[:, None] * stretch[..., None])
        made = compiled.combined(spectra, centre, root, factors * stretch[:, None])
        white, basis, leverage = made
        count = _OVERSAMPLING * white.shape[1]
        return centre, root, white, basis, *compiled.strata(leverage, root, count, _EVEN)
    centre = (share[..., None] * spectra).sum(1)
    root = likelihood.weight(centre)[0].sqrt()

    def directions(one: int) -> Tensor:
        weighted = ((spectra[one] - centre[one]) * root[one]).double() * stretch[one, :, None]
        return (_factors(weighted @ weighted.mT) @ weighted).to(spectra.dtype)

    white = torch.stack(spread(directions, range(len(centre))))
    basis = torch.where(root > 0.0, 1.0 / root, 0.0)[:, None] * white
    return centre, root, white, basis, *_pixels(white, root > 0.0)


def _factors(products: Tensor) -> Tensor:
    """Of leading orthonormal directions, from products of draws: ``(*, rank, sample)``."""
    # From the small Gram matrix; in double precision, because it squares the singular values.
    power, left = torch.linalg.eigh(products)
    power, left = power.flip(-1)[..., :_RANK], left.flip(-1)[..., :_RANK]
    least = 1e-13 * power[..., :1]
    return left.mT / power.clamp(min=least).sqrt()[..., None]


def _pixels(white: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels that fix the coordinates, and their weights in the fit, each ``(batch, pixel)``.

    Strata of equal leverage: a pixel is the likelier the more a direction depends on it.
    """
    count = _OVERSAMPLING * white.shape[1]
    leverage = white.square().sum(1).double()
    good = good.double()
    share = (1.0 - _EVEN) * leverage / leverage.sum(-1, keepdim=True)
    share = share + _EVEN * good / good.sum(-1, keepdim=True).clamp(min=1.0)
    share = share * good
    total = (share / share.sum(-1, keepdim=True)).cumsum(-1)
    steps = (torch.arange(count, dtype=total.dtype) + 0.5) / count
    chosen = torch.searchsorted(total, steps.expand(len(total), -1).contiguous())
    chosen = chosen.clamp(max=total.shape[-1] - 1)
    return chosen, (count * share.gather(1, chosen).clamp(min=1e-12)).rsqrt().to(white.dtype)
