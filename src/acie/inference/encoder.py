"""Fixed, mask- and noise-aware compression of spectra."""

__all__ = ["Encoding", "Misfit", "SpectrumEncoder"]

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from acie.errors import ConfigurationError, NotFitted
from acie.inference.projection import (
    RidgeSystem,
    band_information,
    interpolate_from_rest,
    rest_positions,
    scatter_to_rest,
)
from acie.native import projection as compiled
from acie.native.checks import nanmedian
from acie.observation import WAVELENGTH, Observation
from acie.threads import spread

_BANDS = 12
_LEADING = 16
_PAIR_BATCH = 8


class Encoding(NamedTuple):
    """What the projection knows of a batch of spectra.

    Arguments:
        features: Raw features before standardisation, ``(batch, n_features)``.
        coefficients: Component coefficients in prior standard deviations, ``(batch, k)``.
        log_amplitude: Log10 of the flux scale, 1e-17 erg/s/cm2/A, ``(batch,)``.
        reduced_chi2: Misfit of the reconstruction per good pixel, ``(batch,)``; a calibration
            error of ``calibration_floor`` is part of the noise.
    """

    features: Tensor
    coefficients: Tensor
    log_amplitude: Tensor
    reduced_chi2: Tensor


class Misfit(NamedTuple):
    """How far spectra lie from the training population, each of shape ``(batch,)``.

    Arguments:
        reduced_chi2: See :class:`Encoding`.
        distance: Mahalanobis distance of the features, divided by the square root of their
            number, so that about one is typical.
        is_outlier: Whether either exceeds its threshold.
    """

    reduced_chi2: Tensor
    distance: Tensor
    is_outlier: Tensor


class SpectrumEncoder(nn.Module):
    r"""Noise-weighted projection onto rest-frame principal components, with nothing trained.

    A spectrum :math:`x` is modelled as :math:`A (m + P a)` on a rest-frame grid that is uniform
    in log wavelength, with :math:`a \sim N(0, \Lambda)`, a free amplitude :math:`A` and the
    weights of its own pixels. The amplitude is free because the observed window slides over the
    rest frame with redshift: normalising by the observed mean alone would make the coefficients
    depend on redshift. The posterior mean of :math:`a` shrinks to zero where the pixels say
    nothing, and the features carry the information content beside it.

    References:
        Tipping & Bishop 1999, J. Royal Statistical Society B 61, 611 (probabilistic PCA);
        Connolly & Szalay 1999, AJ 117, 2052 (weighted projection of gappy spectra).

    Arguments:
        rest_pixels: Size of the rest grid.
        n_components: Number of principal components.
        rest_start: First rest wavelength, angstrom, vacuum.
        log_step: Step of the rest grid in natural log of wavelength.
        calibration_floor: Relative error below which a pixel is not believed.
    """

    #: What solves the normal equations; a graph has its own.
    ridge = RidgeSystem

    def __init__(
        self,
        rest_pixels: int,
        n_components: int,
        *,
        rest_start: float = 2250.0,
        log_step: float = 2e-4,
        calibration_floor: float = 0.02,
    ) -> None:
        super().__init__()
        self.config = {
            "rest_pixels": rest_pixels,
            "n_components": n_components,
            "rest_start": rest_start,
            "log_step": log_step,
            "calibration_floor": calibration_floor,
        }
        self.n_components = n_components
        self.leading = min(_LEADING, n_components)
        self.n_features = n_components + self.leading + _BANDS + 4
        n = self.n_features
        self.register_buffer("mean", torch.ones(rest_pixels))
        self.register_buffer("components", torch.zeros(rest_pixels, n_components))
        self.register_buffer("eigenvalues", torch.ones(n_components))
        self.register_buffer("feature_mean", torch.zeros(n))
        self.register_buffer("feature_std", torch.ones(n))
        self.register_buffer("feature_cholesky", torch.eye(n))
        self.register_buffer("distance_threshold", torch.tensor(math.inf))
        self.register_buffer("chi2_threshold", torch.tensor(math.inf))
        self.register_buffer("is_scaled", torch.zeros((), dtype=torch.bool))
        wavelength = torch.from_numpy(WAVELENGTH.copy())
        self.register_buffer("_wavelength", wavelength, persistent=False)
        row, column = torch.tril_indices(n_components + 1, n_components + 1)
        # Where element (i, j) of a symmetric matrix sits in its packed lower triangle.
        unpack = torch.zeros((n_components + 1,) * 2, dtype=torch.long)
        unpack[row, column] = unpack[column, row] = torch.arange(row.numel())
        self.register_buffer("_unpack", unpack, persistent=False)
        self._pairs: Tensor | None = None
        self._packed: Tensor | None = None
        self._joined: tuple[tuple[int, ...], Tensor] | None = None

    @staticmethod
    def rest_grid(
        start: float = 2250.0, stop: float = 9560.0, log_step: float = 2e-4
    ) -> np.ndarray:
        """Rest wavelengths, angstrom, vacuum, on which :meth:`from_spectra` wants spectra."""
        pixels = math.floor(math.log(stop / start) / log_step) + 1
        return start * np.exp(log_step * np.arange(pixels))

    @property
    def rest_wavelength(self) -> np.ndarray:
        """Rest wavelengths of the components, angstrom, vacuum, ``(rest_wave,)``."""
        index = np.arange(self.config["rest_pixels"])
        return self.config["rest_start"] * np.exp(self.config["log_step"] * index)

    @classmethod
    def from_spectra(cls, rest_spectra: Tensor, n_components: int = 80) -> "SpectrumEncoder":
        """Components of noise-free rest-frame spectra.

        Arguments:
            rest_spectra: F_lambda on :meth:`rest_grid`, ``(n, rest_wave)``; each is divided by
                its mean here, so any normalisation will do.
            n_components: Number of components to keep.
        """
        expected = cls.rest_grid().size
        if rest_spectra.ndim != 2 or rest_spectra.shape[1] != expected:
            raise ConfigurationError(
                "rest_spectra",
                expected=f"shape (n, {expected}), sampled on SpectrumEncoder.rest_grid()",
                found=str(tuple(rest_spectra.shape)),
            )
        if rest_spectra.shape[0] <= n_components:
            raise ConfigurationError(
                "rest_spectra",
                expected=f"more than n_components = {n_components} spectra",
                found=str(rest_spectra.shape[0]),
            )
        values = rest_spectra.double()
        values = values / values.mean(-1, keepdim=True)
        mean = values.mean(0)
        centred = values - mean
        # The eigenvectors of the smaller of the two covariances give those of the other.
        if centred.shape[0] <= centred.shape[1]:
            power, left = torch.linalg.eigh(centred @ centred.T)
            power, left = power.flip(0)[:n_components], left.flip(1)[:, :n_components]
            vectors = centred.T @ left / power.clamp_min(1e-300).sqrt()
        else:
            power, vectors = torch.linalg.eigh(centred.T @ centred)
            power, vectors = power.flip(0)[:n_components], vectors.flip(1)[:, :n_components]
        power = (power / (centred.shape[0] - 1)).clamp_min(1e-10 * float(power[0]))
        encoder = cls(expected, n_components)
        encoder.mean.copy_(mean)
        encoder.components.copy_(torch.nan_to_num(vectors))
        encoder.eigenvalues.copy_(power)
        return encoder

    @classmethod
    def from_state(cls, config: dict, tensors: dict[str, Tensor]) -> "SpectrumEncoder":
        """Rebuild from :attr:`config` (plain JSON) and a state dict (safetensors)."""
        encoder = cls(**config)
        encoder.load_state_dict(tensors)
        return encoder

    @torch.no_grad()
    def encode(self, observation: Observation, chunk: int = 20) -> Encoding:
        """Project a batch of spectra, ``chunk`` of them at a time to bound memory."""
        observation = observation.batched()
        parts = spread(
            lambda start: self._encode(observation[start : start + chunk]),
            range(0, len(observation), chunk),
        )
        return Encoding(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def features(self, observation: Observation) -> Tensor:
        """Raw features ``(batch, n_features)``, in the order of :meth:`_collect`."""
        return self.encode(observation).features

    def forward(self, observation: Observation) -> Tensor:
        """Standardised features ``(batch, n_features)``, what the estimator sees."""
        return self.standardise(self.features(observation))

    def standardise(self, features: Tensor) -> Tensor:
        """Raw features in training standard deviations, saturated at 10."""
        self._require_scaling()
        return ((features - self.feature_mean) / self.feature_std).clamp(-10.0, 10.0)

    @torch.no_grad()
    def fit_scaling(
        self, features: Tensor, reduced_chi2: Tensor | None = None, quantile: float = 0.995
    ) -> None:
        """Store the training population of raw features.

        Arguments:
            features: Raw features of the training set, ``(n, n_features)``.
            reduced_chi2: Their misfits, ``(n,)``; without them only the distance flags outliers.
            quantile: Fraction of the training set that counts as inside, for each threshold.
        """
        values = features.double()
        std = values.std(0)
        # A feature without spread must neither divide by zero nor amplify rounding.
        std = torch.where(std > 1e-6, std, torch.ones_like(std))
        self.feature_mean.copy_(values.mean(0))
        self.feature_std.copy_(std)
        white = (values - values.mean(0)) / std
        cov = white.T @ white / (len(white) - 1)
        # Bands and uncertainties are nearly collinear: the ridge keeps the distance sane.
        cov = 0.99 * cov + 0.01 * torch.eye(cov.shape[0], dtype=cov.dtype, device=cov.device)
        self.feature_cholesky.copy_(torch.linalg.cholesky(cov))
        self.is_scaled.fill_(True)
        self.distance_threshold.copy_(_quantile(self.distance(features), quantile))
        if reduced_chi2 is not None:
            self.chi2_threshold.copy_(_quantile(reduced_chi2, quantile))

    def distance(self, features: Tensor) -> Tensor:
        """Mahalanobis distance of raw features per root of their number, ``(batch,)``."""
        self._require_scaling()
        white = ((features - self.feature_mean) / self.feature_std).double().T
        solved = torch.linalg.solve_triangular(self.feature_cholesky.double(), white, upper=False)
        return solved.square().mean(0).sqrt().to(features.dtype)

    def misfit(self, observation: Observation) -> Misfit:
        """Distances of spectra to the training population, and whether they are outliers."""
        return self.misfit_of(self.encode(observation))

    def misfit_of(self, encoding: Encoding) -> Misfit:
        """The same for spectra that are already encoded."""
        distance = self.distance(encoding.features)
        outlier = (distance > self.distance_threshold) | (
            encoding.reduced_chi2 > self.chi2_threshold
        )
        return Misfit(encoding.reduced_chi2, distance, outlier)

    def _require_scaling(self) -> None:
        if not bool(self.is_scaled):
            raise NotFitted(
                "SpectrumEncoder",
                expected="an encoder whose scaling is set",
                found="no training population",
                remedy="Call fit_scaling with the features of the training set.",
            )

    def _basis(self) -> Tensor:
        """Mean and components side by side, ``(rest_wave, 1 + k)``; joined once for their values.

        What was made of other values is forgotten.
        """
        parts = (self.mean, self.components)
        state = tuple(n for part in parts for n in (part.data_ptr(), part._version))
        if self._joined is None or self._joined[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                joined = torch.cat([self.mean[:, None], self.components], -1)
                self._packed = compiled.packed(joined)
            self._joined, self._pairs = (state, joined), None
            return joined
        return self._joined[1]

    def _gram(self, weights: Tensor) -> Tensor:
        """P^T W P for weights ``(batch, rest_wave)``, ``(batch, 1 + k, 1 + k)``."""
        basis = self._basis()
        if len(weights) < _PAIR_BATCH:
            return (basis.T * weights.unsqueeze(1)) @ basis
        # For a batch, one large product with all pairs of columns: half the work of the symmetric
        # products and no copy of the basis per galaxy. The pairs take 100 MB for 80 components.
        pairs = self._pairs
        if pairs is None:
            row, column = torch.tril_indices(*self._unpack.shape, device=weights.device)
            self._pairs = pairs = basis[:, row] * basis[:, column]
        return (weights @ pairs)[:, self._unpack]

    def _encode(self, observation: Observation) -> Encoding:
        ivar = observation.ivar.float()
        flux = torch.where(ivar > 0, observation.flux.float(), 0.0)
        amplitude = _amplitude(flux, ivar)
        x, information = flux / amplitude, ivar * amplitude.square()
        # The calibration error is relative to the flux; the constant keeps dark pixels in check.
        floor = self.config["calibration_floor"] ** 2 * (x.square() + 0.01)
        weights = information / (1.0 + information * floor)
        position = rest_positions(
            self._wavelength,
            observation.redshift,
            math.log(self.config["rest_start"]),
            self.config["log_step"],
        )
        scale, mean, spread, chi2 = self._solve(x, weights, position)
        log_amplitude = torch.log10(amplitude.squeeze(-1) * scale)
        sigma = self.eigenvalues.sqrt() * scale.unsqueeze(-1)
        coefficients = mean[:, 1:] / sigma
        features = self._collect(
            observation,
            coefficients,
            spread[:, 1:] / sigma[:, : self.leading],
            log_amplitude,
            information * scale.square().unsqueeze(-1),
        )
        return Encoding(features, coefficients, log_amplitude, chi2)

    def _solve(
        self, x: Tensor, weights: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Amplitude relative to the first guess, coefficients (mean first), spreads, chi2."""
        gram, projected = self._equations(x, weights, position)
        scale = torch.ones_like(projected[:, 0])
        prior = torch.cat([self.eigenvalues.new_full((1,), 9.0), self.eigenvalues])
        for _ in range(2):
            # The component variances are those of unit spectra, so they grow with the scale;
            # the second pass uses the scale that the first one found.
            system = self.ridge(gram, prior * scale.unsqueeze(-1).square())
            mean = system.solve(projected)
            # Pure noise may prefer a negative amplitude, which no galaxy has.
            scale = mean[:, 0].float().clamp_min(0.05)
        # One step of iterative refinement on the observed pixels: it removes the float32 rounding
        # of the products and the error of lumping a pixel's weight onto two rest pixels.
        pulled, _ = self._residual(mean.float(), x, weights, position)
        mean = mean + system.solve(pulled.double() + system.pull(mean))
        _, chi2 = self._residual(mean.float(), x, weights, position, pull=False)
        scale = mean[:, 0].float().clamp_min(0.05)
        return scale, mean.float(), system.spread(self.leading + 1).float(), chi2

    def _equations(self, x: Tensor, weights: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """P^T W P, ``(batch, 1 + k, 1 + k)``, and P^T W x, ``(batch, 1 + k)``."""
        basis = self._basis()
        if self._packed is not None and compiled.fits(basis, weights, x):
            return compiled.equations(self._packed, basis.shape[1], position, weights, x)
        rest = scatter_to_rest(torch.stack([weights, weights * x]), position, len(basis))
        return self._gram(rest[0]), rest[1] @ basis

    def _residual(
        self, mean: Tensor, x: Tensor, weights: Tensor, position: Tensor, pull: bool = True
    ) -> tuple[Tensor | None, Tensor]:
        """P^T W (x - P a), ``(batch, 1 + k)``, where wanted, and the misfit per good pixel."""
        basis = self._basis()
        if self._packed is not None and compiled.fits(basis, weights, x):
            pulled, sums = compiled.residuals(self._packed, mean, position, weights, x)
            return pulled, (sums[:, 0] / sums[:, 1].clamp_min(1)).float()
        residual = x - interpolate_from_rest(mean @ basis.T, position)
        if pull:
            return scatter_to_rest(weights * residual, position, len(basis)) @ basis, None
        inside = (position >= 0) & (position < len(basis) - 1)
        squares = torch.where(inside, residual.square() * weights, 0.0).sum(-1)
        return None, squares / ((weights > 0) & inside).sum(-1).clamp_min(1)

    def _collect(
        self,
        observation: Observation,
        coefficients: Tensor,
        spread: Tensor,
        log_amplitude: Tensor,
        information: Tensor,
    ) -> Tensor:
        """Features in order: coefficients, uncertainties, bands, amplitude, z, lsf, S/N."""
        good = observation.ivar > 0
        lsf = nanmedian(torch.where(good, observation.lsf.float(), torch.nan))
        scalars = torch.stack(
            [
                log_amplitude,
                observation.redshift.float(),
                lsf,
                torch.log10(observation.signal_to_noise.float().clamp_min(0.01)),
            ],
            dim=-1,
        )
        parts = [
            torch.asinh(coefficients),
            spread.clamp_min(1e-6).log(),
            band_information(information, _BANDS),
            scalars,
        ]
        return torch.cat(parts, dim=-1)


def _amplitude(flux: Tensor, ivar: Tensor) -> Tensor:
    """A positive flux scale, ``(batch, 1)``: the weighted mean of the absolute flux."""
    total = ivar.sum(-1, keepdim=True).clamp_min(1e-30)
    mean = (ivar * flux.abs()).sum(-1, keepdim=True) / total
    # An exactly dark spectrum still has a noise level.
    noise = ((ivar > 0).sum(-1, keepdim=True) / total).sqrt()
    return torch.where(mean > 0, mean, noise)


def _quantile(values: Tensor, quantile: float) -> Tensor:
    """Quantile by sorting: torch.quantile refuses more than 16 million values."""
    ordered = values.sort().values
    return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]
