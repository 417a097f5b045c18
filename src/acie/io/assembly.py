"""From the pixels of a file to an :class:`acie.observation.Observation`: the last step of readers.

Readers know file formats; here they meet the instrument grid. What is wrong raises, what is weak
sets a bit of :class:`acie.results.QualityFlag`.
"""

__all__ = ["NativeSpectrum", "lsf_after_rebinning", "onto_grid", "to_observation"]

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from acie.errors import MalformedSpectrum
from acie.io.rebin import pixel_edges, rebin
from acie.observation import WAVELENGTH, Observation
from acie.results import QualityFlag
from acie.units import LIGHT_KM_S

#: Resolution taken where a file says nothing about it, km/s: that of SDSS and of DESI's blue arm.
DEFAULT_LSF_KM_S = 65.0
# Spectra whose pixels agree with the grid to this many angstrom are taken over unchanged.
_SAME_GRID = 1e-4


@dataclass(frozen=True)
class NativeSpectrum:
    """One spectrum on the pixels of its file, in ACIE's units.

    Arguments:
        wave: Vacuum wavelengths, angstrom, increasing, shape ``(pixel,)``.
        flux: Flux density, 1e-17 erg/s/cm2/A, shape ``(pixel,)``.
        ivar: Inverse variance of ``flux``, shape ``(pixel,)``, 0 where bad.
        redshift: Redshift; None where the file has none, which is read as NaN.
        lsf: Gaussian width of a line in these pixels, their own width included, km/s, shape
            ``(pixel,)``, NaN or 0 where unknown; None where the file says nothing. On the pixels
            of the grid it is taken over unchanged, hence without their width.
        name: Name of the galaxy.
        quality: Bits known from reading.
        meta: Facts about where the spectrum came from.
    """

    wave: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    redshift: float | None
    lsf: np.ndarray | None = None
    name: str = ""
    quality: QualityFlag = QualityFlag(0)
    meta: dict = field(default_factory=dict)


def lsf_after_rebinning(wave: np.ndarray, lsf: np.ndarray) -> np.ndarray:
    r"""Width of the line-spread function on the 1 angstrom grid, without the grid's own pixels.

    The width in a file is that of a line in the native pixels, their own width included. Taking
    flux as constant within a native pixel is one more convolution with a box, which adds the
    variance of the box, width squared over 12. The mean over a pixel of the grid, which
    :func:`rebin` takes as well, is not added: the forward model takes the same mean.

    Arguments:
        wave: Input pixel centres, angstrom, shape ``(pixel,)``.
        lsf: Gaussian width on the input pixels, km/s, shape ``(pixel,)``; NaN or 0 where unknown.

    Returns:
        Gaussian width on the grid, km/s, shape ``(wave,)``; the nearest known value where unknown.
    """
    known = np.isfinite(lsf) & (lsf > 0)
    if not known.any():
        return np.full(WAVELENGTH.size, DEFAULT_LSF_KM_S)
    added = np.diff(pixel_edges(wave)) ** 2 / 12.0 * (LIGHT_KM_S / wave) ** 2
    width = np.sqrt(lsf**2 + added)
    return np.interp(WAVELENGTH, wave[known], width[known])


def onto_grid(native: NativeSpectrum) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flux, inverse variance and resolution on the instrument grid.

    Arguments:
        native: The spectrum of a file.

    Returns:
        Flux density (1e-17 erg/s/cm2/A), inverse variance and Gaussian width (km/s), each of
        shape ``(wave,)``.

    Raises:
        MalformedSpectrum: Shapes differ, nothing is finite, or no pixel lies on the grid.
    """
    wave, flux, ivar = native.wave, native.flux, native.ivar
    edges = pixel_edges(wave)
    grid = (WAVELENGTH[0] - 0.5, WAVELENGTH[-1] + 0.5)
    overlap = min(edges[-1], grid[1]) - max(edges[0], grid[0])
    if overlap <= 0:
        raise MalformedSpectrum(
            "wavelength",
            expected=f"some overlap with {grid[0]:.0f} to {grid[1]:.0f} angstrom (vacuum)",
            found=f"{wave[0]:.6g} to {wave[-1]:.6g} angstrom, an overlap of 0 angstrom",
            remedy="Check the wavelength unit (`wave_unit=`), or use a spectrum in the optical.",
        )
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    if not np.isfinite(flux).any():
        raise MalformedSpectrum(
            "flux",
            expected="finite numbers",
            found="NaN or infinite in every pixel",
            remedy="The spectrum holds no data; leave it out.",
        )
    if (ivar[np.isfinite(ivar)] < 0).any():
        raise MalformedSpectrum(
            "ivar",
            expected="inverse variances of at least 0",
            found="negative values",
            remedy="Set ivar to 0 in bad pixels.",
        )
    if not good.any():
        raise MalformedSpectrum(
            "ivar",
            expected="at least one good pixel",
            found="inverse variance 0, or masked, everywhere",
            remedy="The fibre is dead or the mask covers everything; leave this spectrum out.",
        )
    same = wave.size == WAVELENGTH.size and np.abs(wave - WAVELENGTH).max() < _SAME_GRID
    unknown = np.full(wave.size, np.nan)
    lsf = unknown if native.lsf is None else np.asarray(native.lsf, dtype=np.float64)
    if same:
        known = np.isfinite(lsf) & (lsf > 0)
        if known.any():
            width = np.interp(WAVELENGTH, wave[known], lsf[known])
        else:
            width = np.full(WAVELENGTH.size, DEFAULT_LSF_KM_S)
        return np.where(good, flux, 0.0), np.where(good, ivar, 0.0), width
    flux_out, ivar_out = rebin(wave, flux, ivar, good)
    if not (ivar_out > 0).any():
        raise MalformedSpectrum(
            "wavelength",
            expected=f"good pixels between {grid[0]:.0f} and {grid[1]:.0f} angstrom (vacuum)",
            found=f"none; {max(overlap, 0.0):.0f} angstrom overlap, masked or too narrow",
            remedy="Check the wavelength unit (`wave_unit=`) and the mask.",
        )
    return flux_out, ivar_out, lsf_after_rebinning(wave, lsf)


def to_observation(
    natives: Sequence[NativeSpectrum],
    *,
    redshift: float | None = None,
    meta: dict | None = None,
) -> Observation:
    """Spectra of one file as an observation: no batch axis for one spectrum, else one.

    Arguments:
        natives: The spectra of the file, at least one.
        redshift: Redshift that replaces the file's, for every spectrum; a warning of the survey's
            redshift pipeline then no longer applies. NaN stands for unknown.
        meta: Facts about the file; those of a single spectrum are added, those of several are
            kept in a list under ``"targets"``.

    Returns:
        The observation, in float64.

    Raises:
        MalformedSpectrum: A spectrum cannot be used.
    """
    rows, redshifts, qualities = [], [], []
    for native in natives:
        flux, ivar, lsf = onto_grid(native)
        quality = native.quality
        value = native.redshift
        if redshift is not None:
            value = float(redshift)
            quality &= ~QualityFlag.REDSHIFT_ESTIMATED
        if value is None or not np.isfinite(value):
            # Not refused here: acie.redshift can estimate it, and the engine asks for it.
            value = math.nan
        if (ivar > 0).mean() < 0.5:
            quality |= QualityFlag.MASKED
        rows.append((flux, ivar, lsf))
        redshifts.append(value)
        qualities.append(int(quality))

    facts = dict(meta or {})
    if len(natives) == 1:
        facts |= natives[0].meta
    elif any(native.meta for native in natives):
        facts["targets"] = [dict(native.meta) for native in natives]
    known = "file" if redshift is None else "argument"
    facts["redshift_source"] = known if np.isfinite(redshifts).all() else "missing"
    index = 0 if len(natives) == 1 else slice(None)
    flux, ivar, lsf = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
    return Observation(
        flux=flux[index],
        ivar=ivar[index],
        redshift=torch.tensor(redshifts, dtype=torch.float64)[index],
        lsf=lsf[index],
        names=tuple(native.name for native in natives),
        quality=torch.tensor(qualities, dtype=torch.int64)[index],
        meta=facts,
    )
