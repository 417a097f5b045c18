r"""Template grids resampled onto one logarithmic vacuum grid and compressed.

Every template is divided by its mean, the set is factorised by a truncated singular value
decomposition, and a galaxy becomes a weighted sum of few basis spectra:
:math:`L(\lambda) = \sum_k c_k(\theta) B_k(\lambda)`, where the coefficients are linear in the mass
formed per bin of age and metallicity.
"""

__all__ = [
    "REST_SIZE",
    "REST_STEP",
    "REST_WAVELENGTH",
    "TemplateSet",
    "template_sigma_km_s",
    "undo_pixel_mean",
]

import math

import numpy as np
import torch
from torch import Tensor, nn

from acie.physics.ssp import NebularGrid, StellarGrid, read_nebular, read_stellar
from acie.refraction import air_to_vacuum
from acie.units import LIGHT_KM_S

REST_SIZE = 8192
_REST_RANGE = (2150.0, 9750.0)
#: Step of the rest-frame grid in ln(lambda): 55 km/s.
REST_STEP: float = math.log(_REST_RANGE[1] / _REST_RANGE[0]) / REST_SIZE
#: Rest-frame pixel centres, vacuum angstrom, shape ``(8192,)``.
REST_WAVELENGTH: np.ndarray = _REST_RANGE[0] * np.exp(REST_STEP * np.arange(REST_SIZE))
REST_WAVELENGTH.setflags(write=False)
#: Stars younger than this, and the gas they ionise, sit in birth clouds (Charlot & Fall 2000).
BIRTH_CLOUD_YR = 1e7
#: Pixels over which spectra fall to zero at both ends, so that the grid can be taken as periodic.
_TAPER = 96
#: Bins of the coarse grid, vacuum angstrom, on which the dust energy balance is integrated.
_COARSE_EDGES = np.geomspace(91.2, 50_000.0, 121)


def template_sigma_km_s(rest_angstrom: Tensor) -> Tensor:
    """Gaussian width of the templates' own resolution, km/s, same shape as the wavelength.

    MILES from 3540 to 7350 angstrom, FWHM 2.51 angstrom (Falcon-Barroso et al. 2011, A&A 532,
    A95); STELIB redward, 3 angstrom (Le Borgne et al. 2003, A&A 402, 433); the theoretical
    libraries blueward, 1 angstrom (Bruzual & Charlot 2003, 2016 update).
    """
    fwhm = torch.where(rest_angstrom < 3540.0, 1.0, torch.where(rest_angstrom < 7350.0, 2.51, 3.0))
    return fwhm / 2.3548 / rest_angstrom * LIGHT_KM_S


def undo_pixel_mean(spectra: Tensor) -> Tensor:
    r"""Values at the pixel centres of spectra that are tabulated as means over the pixels.

    A mean over a pixel is a convolution with a box, whose transform at a frequency of f cycles
    per pixel is :math:`\sin(\pi f)/(\pi f)`. It is at least 0.64 up to half a cycle, so that
    dividing by it amplifies nothing by more than 1.57.

    Arguments:
        spectra: Zero at both ends, shape ``(*batch, rest)``.

    Returns:
        The same shape and precision.
    """
    size = spectra.shape[-1]
    frequency = torch.arange(size // 2 + 1, dtype=torch.float64, device=spectra.device) / size
    values = torch.fft.rfft(spectra.double()) / torch.sinc(frequency)
    return torch.fft.irfft(values, n=size).to(spectra.dtype)


class TemplateSet(nn.Module):
    """Compressed templates and the small tables that belong to them, all as buffers.

    The buffers are named as in :meth:`build`; ``state_dict`` is all there is to save.
    """

    def __init__(self, tables: dict[str, Tensor]) -> None:
        super().__init__()
        for name, table in tables.items():
            self.register_buffer(name, table)

    @classmethod
    def build(
        cls,
        stellar: StellarGrid | None = None,
        nebular: NebularGrid | None = None,
        *,
        components: tuple[int, int, int] = (96, 24, 32),
        line_fwhm_angstrom: float | None = None,
    ) -> "TemplateSet":
        """Read, resample and compress the grids (about half a minute).

        Arguments:
            stellar: Stellar grid; read from the installed data files when left out.
            nebular: Nebular grids; the same.
            components: Numbers of basis spectra for all stars, for young stars and for gas.
            line_fwhm_angstrom: Intrinsic width of the painted lines; left out, the lines get the
                resolution of the stellar templates, so that one kernel broadens both.
        """
        stellar = read_stellar() if stellar is None else stellar
        nebular = read_nebular() if nebular is None else nebular
        birth = _birth_cloud_share()
        young_bins = int((birth > 0).sum())
        stars = _resample(stellar.wave_angstrom, stellar.luminosity)
        gas = _resample(nebular.wave_angstrom, nebular.continuum[:, :, :young_bins])
        gas = gas + _paint_lines(nebular, young_bins, line_fwhm_angstrom)
        taper = np.ones(REST_SIZE)
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_TAPER) + 0.5) / _TAPER)
        taper[:_TAPER], taper[-_TAPER:] = ramp, ramp[::-1]
        tables: dict[str, np.ndarray] = {
            "metallicity": stellar.metallicity,
            "log_u": nebular.log_u,
            "surviving": stellar.surviving,
            "birth_cloud_share": birth,
            "coarse_width": np.diff(_COARSE_EDGES),
            "coarse_wave": np.sqrt(_COARSE_EDGES[1:] * _COARSE_EDGES[:-1]),
        }
        sets = {"stellar": stars, "young": stars[:, :young_bins], "nebular": gas}
        for (name, spectra), rank in zip(sets.items(), components, strict=True):
            coefficients, basis = _compress(spectra, rank)
            tables[f"{name}_coefficients"] = coefficients
            tables[f"{name}_basis"] = basis * taper
        ionised = stellar.luminosity[:, :young_bins] * (stellar.wave_angstrom >= 912.0)
        coarse = _coarse(stellar.wave_angstrom, stellar.luminosity)
        tables["coarse_stellar"] = coarse
        tables["coarse_young"] = _coarse(stellar.wave_angstrom, ionised)
        gas_coarse = _coarse(nebular.wave_angstrom, nebular.continuum[:, :, :young_bins])
        index = np.digitize(_vacuum(nebular.line_angstrom), _COARSE_EDGES) - 1
        for line in np.flatnonzero((index >= 0) & (index < gas_coarse.shape[-1])):
            gas_coarse[..., index[line]] += (
                nebular.lines[:, :, :young_bins, line] / np.diff(_COARSE_EDGES)[index[line]]
            )
        tables["coarse_nebular"] = gas_coarse
        halpha = int(np.argmin(np.abs(nebular.line_angstrom - 6562.80)))
        tables["halpha"] = nebular.lines[:, :, :young_bins, halpha]
        return cls({name: torch.as_tensor(table).float() for name, table in tables.items()})

    @property
    def young_bins(self) -> int:
        """Number of age bins that reach into the birth clouds."""
        return self.halpha.shape[-1]


def _birth_cloud_share() -> np.ndarray:
    """Share of each bin of age that is younger than the birth-cloud time, shape ``(age,)``."""
    from acie.physics.ssp import AGE_EDGES_YR

    low, high = AGE_EDGES_YR[:-1], AGE_EDGES_YR[1:]
    return np.clip((BIRTH_CLOUD_YR - low) / (high - low), 0.0, 1.0)


def _vacuum(air: np.ndarray) -> np.ndarray:
    return air_to_vacuum(torch.as_tensor(air, dtype=torch.float64)).numpy()


def _integral_at(wave: np.ndarray, spectra: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Integral of the piecewise-linear spectra from the first wavelength to each of ``at``."""
    at = np.clip(at, wave[0], wave[-1])
    width = np.diff(wave)
    cell = np.clip(np.searchsorted(wave, at, side="right") - 1, 0, wave.size - 2)
    cumulative = np.zeros_like(spectra)
    np.cumsum(
        (spectra[..., 1:] + spectra[..., :-1]) / 2.0 * width, axis=-1, out=cumulative[..., 1:]
    )
    offset = at - wave[cell]
    slope = (spectra[..., cell + 1] - spectra[..., cell]) / width[cell]
    return cumulative[..., cell] + spectra[..., cell] * offset + slope * offset**2 / 2.0


def _pixel_mean(wave_air: np.ndarray, spectra: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean over the pixels between ``edges`` (vacuum), conserving flux; ``(..., pixel)``."""
    wave = _vacuum(wave_air)
    # Luminosity per angstrom is per angstrom of air in the files: 0.03 % is kept right.
    density = spectra * np.gradient(wave_air) / np.gradient(wave)
    flat = density.reshape(-1, wave.size)
    means = [np.diff(_integral_at(wave, row, edges)) / np.diff(edges) for row in flat]
    return np.array(means).reshape(*spectra.shape[:-1], edges.size - 1)


def _rest_edges() -> np.ndarray:
    centres = np.arange(REST_SIZE + 1) - 0.5
    return _REST_RANGE[0] * np.exp(REST_STEP * centres)


def _resample(wave_air: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    return _pixel_mean(wave_air, spectra, _rest_edges())


def _coarse(wave_air: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    return _pixel_mean(wave_air, spectra, _COARSE_EDGES)


def _paint_lines(grid: NebularGrid, young_bins: int, fwhm: float | None) -> np.ndarray:
    """Lines as Gaussians; ``(metal, log_u, age, wave)``, Lsun/angstrom/Msun.

    Painted in Fourier space, where a line is a phase: its centre is then right to any fraction of
    a pixel, however narrow it is. (A narrow line that is put into one pixel is up to 27 km/s off,
    which is 10 % of the flux on its flanks.)
    """
    position = np.log(_vacuum(grid.line_angstrom) / _REST_RANGE[0]) / REST_STEP
    keep = (position > -0.5) & (position < REST_SIZE - 0.5)
    centre = _vacuum(grid.line_angstrom)[keep]
    if fwhm is None:
        sigma_km_s = template_sigma_km_s(torch.as_tensor(centre)).numpy()
    else:
        sigma_km_s = np.full_like(centre, fwhm / 2.3548) / centre * LIGHT_KM_S
    sigma = sigma_km_s / (LIGHT_KM_S * REST_STEP)
    omega = 2.0 * np.pi * np.arange(REST_SIZE // 2 + 1) / REST_SIZE
    spectrum = np.exp(-1j * omega * position[keep, None] - 0.5 * (omega * sigma[:, None]) ** 2)
    # Per pixel of ln(lambda); divided by the width of a pixel it is per angstrom.
    profile = np.fft.irfft(spectrum, n=REST_SIZE) / (REST_WAVELENGTH * REST_STEP)
    return grid.lines[:, :, :young_bins, keep] @ profile


def _compress(spectra: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Truncated SVD of the templates, each divided by its mean.

    Returns:
        Coefficients, shape ``(*grid, rank)``, and basis, shape ``(rank, wave)``.
    """
    flat = torch.as_tensor(spectra.reshape(-1, spectra.shape[-1]))
    mean = flat.mean(1, keepdim=True)
    weight = mean.clamp(min=1e-30)
    left, values, right = torch.linalg.svd(flat / weight, full_matrices=False)
    rank = min(rank, values.numel())
    coefficients = left[:, :rank] * values[:rank] * weight
    shape = (*spectra.shape[:-1], rank)
    return coefficients.reshape(shape).numpy(), right[:rank].numpy()
