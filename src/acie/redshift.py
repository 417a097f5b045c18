r"""Redshift of a galaxy from its spectrum: a scan of the model's own rest-frame components.

A spectrum :math:`y` with inverse variances :math:`W` is modelled at redshift z as
:math:`P_z a + Q b`: the leading principal components of the population shifted to z, and a smooth
polynomial :math:`Q` for calibration and for light that the population lacks. With Gaussian priors
:math:`\Lambda` on the coefficients, in units of the amplitude, the effective chi-square is

.. math:: \chi^2(z) = y^T W y - g^T (D^T W D + \Lambda^{-1})^{-1} g
    + \log |1 + \Lambda^{1/2} D^T W D \Lambda^{1/2}|, \quad D = (P_z, Q), \; g = D^T W y,

which is minus twice the log marginal likelihood. In log wavelength a redshift is a shift, so
every element of :math:`g` and of :math:`D^T W D` is a correlation, and one set of fast Fourier
transforms gives them for all redshifts of the scan.

References:
    Tonry & Davis 1979, AJ 84, 1511 (correlation in log wavelength); Bolton et al. 2012, AJ 144,
    144 (chi-square scan of eigenspectra and a polynomial); Glazebrook, Offer & Deeley
    1998, ApJ 492, 98 (the fit of components at all lags by Fourier transforms).
"""

__all__ = [
    "RedshiftEstimate",
    "RedshiftScanner",
    "estimate_redshift",
    "redshift_quality",
    "settle_redshift",
    "with_redshift",
]

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acie.inference.encoder import SpectrumEncoder
from acie.inference.projection import rest_positions, scatter_to_rest
from acie.observation import WAVELENGTH, Observation
from acie.results import QualityFlag
from acie.units import LIGHT_KM_S

#: Components of the population that are fitted, besides its mean.
COMPONENTS = 16
#: Terms of the additive Chebyshev polynomial, and their prior in units of the amplitude.
POLYNOMIAL, POLYNOMIAL_PRIOR = 4, 0.3
#: Redshifts that are tried: beyond the support of the model, so that what lies outside is seen.
RANGE = (-0.003, 1.0)
#: Minima closer than this are one.
DISTINCT_KM_S = 1000.0
#: Below this gap to the second minimum the redshift is ambiguous (that of redrock's ZWARN bit
#: SMALL_DELTA_CHI2).
SMALL_GAP = 9.0
#: The spectrum contradicts a given redshift that is this many standard errors, and this velocity,
#: from its own: the air and the vacuum wavelength of a line differ by 83 km/s, lines and stars of
#: one galaxy seldom by half of that.
CONFLICT_SIGMA, CONFLICT_KM_S = 4.0, 45.0
#: Relative error of the components.
_TEMPLATE_ERROR = 0.02
#: Prior standard deviation of the amplitude, relative to itself: next to none.
_AMPLITUDE_PRIOR = 3.0
#: The fine grid around a minimum: half width and step in pixels of the log grid.
_FINE = (2.0, 0.1)
#: Minima that are refined, and lags that interpolation uses.
_MINIMA, _TAPS = 3, 8


@dataclass(frozen=True)
class RedshiftEstimate:
    """Redshifts of a batch of galaxies, each tensor ``(batch,)``.

    Arguments:
        value: Redshift of the smallest chi-square.
        error: Its standard error from the curvature of the chi-square.
        delta_chi2: Chi-square of the second-best distinct minimum minus that of the best, in
            units of the reduced chi-square of the best where that exceeds one.
        second: Redshift of the second-best minimum.
        reduced_chi2: Misfit per good pixel at the best redshift.
    """

    value: Tensor
    error: Tensor
    delta_chi2: Tensor
    second: Tensor
    reduced_chi2: Tensor

    @property
    def ambiguous(self) -> Tensor:
        """Whether another redshift explains the spectrum nearly as well, ``(batch,)``."""
        return ~(self.delta_chi2 >= SMALL_GAP)

    def contradicts(self, redshift: Tensor) -> Tensor:
        """Whether the spectrum speaks against given redshifts, ``(batch,)``."""
        difference = (self.value - redshift.reshape(-1).double()).abs()
        velocity = difference / (1.0 + self.value) * LIGHT_KM_S
        far = (difference > CONFLICT_SIGMA * self.error) & (velocity > CONFLICT_KM_S)
        return far & ~self.ambiguous

    def to_json(self, galaxy: int = 0) -> dict[str, float | None]:
        """The estimate of one galaxy as plain numbers; None where there is no second minimum."""
        names = ("value", "error", "delta_chi2", "second")
        numbers = {name: float(getattr(self, name)[galaxy]) for name in names}
        return {name: x if math.isfinite(x) else None for name, x in numbers.items()}


class RedshiftScanner:
    """Fourier transforms of the components and of their products, made once (20 MB).

    Arguments:
        encoder: Carries mean, components and eigenvalues of the population.
        components: How many of its components are fitted.
        redshifts: Smallest and largest redshift that is tried.
    """

    def __init__(
        self,
        encoder: SpectrumEncoder,
        components: int = COMPONENTS,
        redshifts: tuple[float, float] = RANGE,
    ) -> None:
        self._step = encoder.config["log_step"]
        self._start = math.log(WAVELENGTH[0])
        self._size = math.floor((math.log(WAVELENGTH[-1]) - self._start) / self._step) + 2
        wave = torch.as_tensor(WAVELENGTH.copy())
        self._position = rest_positions(wave, torch.zeros(1), self._start, self._step)
        # Pixel j of the observed grid is pixel j - lag of the rest grid.
        self._origin = (math.log(encoder.config["rest_start"]) - self._start) / self._step
        first, last = (self._origin + math.log1p(z) / self._step for z in redshifts)
        self._lags = torch.arange(math.floor(first), math.ceil(last) + 1)
        count = min(components, encoder.n_components)
        basis = torch.cat([encoder.mean[:, None], encoder.components[:, :count]], 1).double().T
        self._rest_size = basis.shape[1]
        self._length = _fft_length(self._size + self._rest_size)
        x = np.linspace(-1.0, 1.0, self._size)
        rows = np.polynomial.chebyshev.chebvander(x, POLYNOMIAL - 1).T
        self._polynomial = torch.as_tensor(rows.copy())
        self._dim = (count + 1, POLYNOMIAL)
        self._kernels = self._transform(basis).conj()
        row, column = torch.tril_indices(count + 1, count + 1)
        self._pairs = self._transform(basis[row] * basis[column]).conj()
        self._unpack = _unpacking(count + 1)
        eigenvalues = encoder.eigenvalues[:count].double()
        mean = eigenvalues.new_full((1,), _AMPLITUDE_PRIOR**2)
        smooth = eigenvalues.new_full((POLYNOMIAL,), POLYNOMIAL_PRIOR**2)
        self._prior = torch.cat([mean, eigenvalues, smooth])

    @torch.no_grad()
    def __call__(self, observation: Observation) -> RedshiftEstimate:
        """Redshifts of one galaxy or a batch; those that the observation carries are not used."""
        observation = observation.batched()
        rows = [self._one(observation[index : index + 1]) for index in range(len(observation))]
        return RedshiftEstimate(*torch.tensor(rows, dtype=torch.float64).T)

    @torch.no_grad()
    def chi_square(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """The scan of one galaxy: redshifts and effective chi-squares, each ``(lag,)``."""
        system = self._system(observation.batched())
        return self._redshift(self._lags.double()), self._chi2(system)

    def _one(self, observation: Observation) -> list[float]:
        system = self._system(observation)
        coarse = self._chi2(system)
        separation = DISTINCT_KM_S / LIGHT_KM_S / self._step
        found = [self._refine(system, index) for index in _minima(coarse, separation, _MINIMA)]
        found.sort(key=lambda minimum: minimum[1])
        # Without a second valley nothing competes.
        (value, best, error), (second, other, _) = (*found, (math.nan, math.inf, math.nan))[:2]
        reduced = best / float((observation.ivar > 0).sum())
        scale = max(1.0, reduced)
        return [value, error * scale**0.5, (other - best) / scale, second, reduced]

    def _transform(self, values: Tensor) -> Tensor:
        return torch.fft.rfft(values, n=self._length)

    def _redshift(self, lag: Tensor) -> Tensor:
        return torch.expm1((lag - self._origin) * self._step)

    def _system(self, observation: Observation) -> "_System":
        """Normal equations of one galaxy at every lag."""
        flux, weight = observation.flux.double(), observation.ivar.double()
        # The error of the components is relative to the flux.
        weight = weight / (1.0 + weight * (_TEMPLATE_ERROR * flux).square())
        stacked = torch.stack([weight, weight * flux, weight * flux.square()])
        weight, data, square = scatter_to_rest(stacked, self._position, self._size)[:, 0]
        components, terms = self._dim
        # The polynomial is compared where there are components: sums over a sliding window.
        products = self._polynomial[:, None] * self._polynomial * weight
        rows = torch.cat([products.flatten(0, 1), self._polynomial * data])
        sums = self._window(rows)
        smooth = self._transform(torch.cat([weight * self._polynomial, data[None]]))
        cross = self._correlate(smooth[:, None] * self._kernels)
        gram = sums.new_empty((components + terms, components + terms, len(self._lags)))
        products = self._correlate(self._transform(weight) * self._pairs)
        gram[:components, :components] = products[self._unpack]
        gram[components:, :components] = cross[:terms]
        gram[:components, components:] = cross[:terms].transpose(0, 1)
        gram[components:, components:] = sums[: terms**2].unflatten(0, (terms, terms))
        right = torch.cat([cross[terms], sums[terms**2 :]]).T
        scale = float(square.sum() / weight.sum()) ** 0.5
        total = rows.sum(-1)
        everywhere = total[: terms**2].unflatten(0, (1, terms, terms))
        null = square.sum() - self._smooth_gain(everywhere, total[None, terms**2 :], scale)
        return _System(gram.movedim(-1, 0), right, scale, float(null))

    def _smooth_gain(self, gram: Tensor, right: Tensor, scale: float) -> Tensor:
        """What the polynomial alone takes off the chi-square, ``(lag,)``."""
        return _gain(gram, right, gram.new_full((1, self._dim[1]), _AMPLITUDE_PRIOR * scale))

    def _correlate(self, product: Tensor) -> Tensor:
        return torch.fft.irfft(product, n=self._length)[..., self._lags % self._length]

    def _window(self, rows: Tensor) -> Tensor:
        """Sums over the observed pixels that the components cover at each lag."""
        total = torch.nn.functional.pad(rows.cumsum(-1), (1, 0))
        first = self._lags.clamp(0, self._size)
        last = (self._lags + self._rest_size).clamp(0, self._size)
        return total[:, last] - total[:, first]

    def _chi2(self, system: "_System") -> Tensor:
        """Effective chi-square, ``(lag,)``.

        Where the components cover only a part of the pixels, the others are counted as if the
        polynomial alone fitted them as well as it fits the covered ones: the difference between
        the fits with and without components is what is compared.
        """
        components = self._dim[0]
        # A galaxy shines: a negative amplitude leaves the components next to no room.
        own = system.gram[:, 0, 0]
        # Where the components cover no good pixel there is only rounding.
        covered = own > 1e-9 * own.max()
        amplitude = torch.where(covered, system.right[:, 0] / own, 0.0)
        amplitude = amplitude.clamp(min=1e-3 * system.scale)
        gain = _gain(system.gram, system.right, self._prior.sqrt() * amplitude[:, None])
        smooth = system.gram[:, components:, components:]
        null = self._smooth_gain(smooth, system.right[:, components:], system.scale)
        return system.null - (gain - null)

    def _refine(self, system: "_System", index: int) -> tuple[float, float, float]:
        """Redshift, chi-square and error at the minimum next to a lag of the coarse scan."""
        half, step = _FINE
        offset = torch.arange(-half, half + step / 2, step, dtype=torch.float64)
        at = (index + offset).clamp(0, len(self._lags) - 1)
        chi2 = self._chi2(system.at(at))
        best = int(chi2[1:-1].argmin()) + 1
        before, here, after = chi2[best - 1 : best + 2].tolist()
        curvature = (before - 2.0 * here + after) / step**2
        slope = (after - before) / (2.0 * step)
        move = max(-step, min(step, -slope / curvature)) if curvature > 0 else 0.0
        lag = self._lags[0].double() + at[best] + move
        value = float(self._redshift(lag))
        error = math.sqrt(2.0 / curvature) * self._step * (1.0 + value) if curvature > 0 else 1.0
        return value, here + slope * move + 0.5 * curvature * move**2, error


@dataclass(frozen=True)
class _System:
    """Normal equations at every lag.

    Arguments:
        gram: ``(lag, k, k)``.
        right: ``(lag, k)``.
        scale: Root mean square of the flux.
        null: Effective chi-square of the polynomial alone on all pixels.
    """

    gram: Tensor
    right: Tensor
    scale: float
    null: float

    def at(self, index: Tensor) -> "_System":
        """The same between the lags: Lagrange interpolation over 8 neighbours.

        Correlations with components that have the width of the instrument's resolution vary over
        several pixels, so that few neighbours suffice.
        """
        first = (index.floor().long() - _TAPS // 2 + 1).clamp(0, len(self.gram) - _TAPS)
        t = index - first
        nodes = torch.arange(_TAPS, dtype=t.dtype)
        ratio = (t[:, None, None] - nodes) / (nodes[:, None] - nodes + torch.eye(_TAPS))
        ratio.diagonal(dim1=-2, dim2=-1).fill_(1.0)
        weights = ratio.prod(-1)
        rows = first[:, None] + nodes.long()
        return _System(
            torch.einsum("nt,ntij->nij", weights, self.gram[rows]),
            torch.einsum("nt,nti->ni", weights, self.right[rows]),
            self.scale,
            self.null,
        )


def _gain(gram: Tensor, right: Tensor, root: Tensor) -> Tensor:
    """What a fit with prior standard deviations ``root`` takes off the chi-square, ``(lag,)``."""
    system = gram * root[:, :, None] * root[:, None, :]
    system.diagonal(dim1=-2, dim2=-1).add_(1.0)
    factor = torch.linalg.cholesky(system)
    scaled = (right * root)[..., None]
    half = torch.linalg.solve_triangular(factor, scaled, upper=False)[..., 0]
    log_det = 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return half.square().sum(-1) - log_det


def _minima(chi2: Tensor, separation: float, count: int) -> list[int]:
    """The deepest local minima that are at least ``separation`` lags apart."""
    padded = torch.nn.functional.pad(chi2[None], (1, 1), value=math.inf)[0]
    valley = (chi2 <= padded[:-2]) & (chi2 <= padded[2:])
    left = torch.where(valley, chi2, math.inf)
    found: list[int] = []
    while len(found) < count and bool(left.isfinite().any()):
        index = int(left.argmin())
        found.append(index)
        left[max(math.floor(index - separation), 0) : math.ceil(index + separation) + 1] = math.inf
    return found


def _unpacking(size: int) -> Tensor:
    """Where element (i, j) of a symmetric matrix sits in its packed lower triangle."""
    row, column = torch.tril_indices(size, size)
    unpack = torch.zeros((size, size), dtype=torch.long)
    unpack[row, column] = unpack[column, row] = torch.arange(row.numel())
    return unpack


def _fft_length(least: int) -> int:
    """The smallest 2^n or 3 * 2^n that is at least this long."""
    power = 2 ** math.ceil(math.log2(least))
    return power * 3 // 4 if power * 3 // 4 >= least else power


def estimate_redshift(observation: Observation, source: Any) -> RedshiftEstimate:
    """Redshifts of one galaxy or a batch; those that the observation carries are not used.

    Arguments:
        observation: The spectra.
        source: A :class:`RedshiftScanner`; an engine, which keeps one; or an encoder or a model
            bundle, from which one is made (0.1 s: make it yourself for many calls).
    """
    if hasattr(source, "estimate_redshift"):
        return source.estimate_redshift(observation)
    if not isinstance(source, RedshiftScanner):
        bundle = getattr(source, "bundle", source)
        source = RedshiftScanner(getattr(bundle, "encoder", bundle))
    return source(observation)


def redshift_quality(observation: Observation, source: Any) -> Tensor:
    """The bit REDSHIFT_CONFLICT for galaxies whose given redshift their spectrum contradicts.

    Arguments:
        observation: Spectra with redshifts.
        source: As for :func:`estimate_redshift`.

    Returns:
        Bits of :class:`QualityFlag`, ``(batch,)``.
    """
    found = estimate_redshift(observation, source)
    return found.contradicts(observation.redshift).long() * int(QualityFlag.REDSHIFT_CONFLICT)


def with_redshift(observation: Observation, estimate: RedshiftEstimate) -> Observation:
    """The observation at its estimated redshift, with the bits that say so."""
    bits = torch.full_like(observation.quality, int(QualityFlag.REDSHIFT_ESTIMATED))
    ambiguous = estimate.ambiguous.reshape(bits.shape)
    bits = bits | ambiguous.long() * int(QualityFlag.REDSHIFT_AMBIGUOUS)
    return replace(
        observation,
        redshift=estimate.value.to(observation.redshift).reshape(observation.redshift.shape),
        quality=observation.quality | bits,
        meta={**observation.meta, "redshift_source": "estimated"},
    )


def settle_redshift(
    observation: Observation, source: Any
) -> tuple[Observation, RedshiftEstimate | None]:
    """Estimate the redshift of one galaxy if it is unknown (NaN), else check the one it has.

    Arguments:
        observation: One galaxy, with or without a batch axis.
        source: As for :func:`estimate_redshift`.

    Returns:
        The observation with the bits that apply, and the estimate; None where the redshift was
        known.
    """
    if bool(observation.redshift.isfinite().all()):
        bits = redshift_quality(observation, source).reshape(observation.quality.shape)
        return replace(observation, quality=observation.quality | bits), None
    estimate = estimate_redshift(observation, source)
    return with_redshift(observation, estimate), estimate
