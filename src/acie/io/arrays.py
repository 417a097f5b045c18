"""Observations from arrays in memory."""

__all__ = ["from_arrays"]

from typing import Any

import numpy as np

from acie.errors import MalformedSpectrum
from acie.io.assembly import NativeSpectrum, to_observation
from acie.io.noise import estimate_noise
from acie.observation import WAVELENGTH, Observation
from acie.results import QualityFlag


def from_arrays(
    flux: Any,
    *,
    ivar: Any = None,
    mask: Any = None,
    wavelength: Any = None,
    lsf: Any = None,
    redshift: float | None = None,
    name: str = "",
) -> Observation:
    """One spectrum in ACIE's units, rebinned onto the instrument grid where it is on another.

    Arguments:
        flux: Flux density, 1e-17 erg/s/cm2/A, shape ``(pixel,)``; NaN where bad.
        ivar: Inverse variance of ``flux``, shape ``(pixel,)``, 0 where bad; when left out it is
            estimated from the scatter of the pixels, and NOISE_ESTIMATED is set.
        mask: True where bad, shape ``(pixel,)``.
        wavelength: Vacuum wavelengths, angstrom, increasing, shape ``(pixel,)``; the instrument
            grid when left out.
        lsf: Gaussian width of the line-spread function, km/s, shape ``(pixel,)``, NaN where
            unknown.
        redshift: Redshift; NaN, to be estimated, when left out.
        name: Name of the galaxy.

    Returns:
        The observation, without a batch axis.

    Raises:
        MalformedSpectrum: The arrays do not fit or hold nothing usable.
    """
    flux = np.asarray(flux, dtype=np.float64)
    wave = WAVELENGTH if wavelength is None else np.asarray(wavelength, dtype=np.float64)
    bad = np.zeros(flux.shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    known = {"flux": flux, "mask": bad, "ivar": ivar, "lsf": lsf}
    for key, values in known.items():
        if values is not None and np.shape(values) != wave.shape:
            raise MalformedSpectrum(
                key,
                expected=f"{wave.size} values, one per wavelength"
                + (" of the instrument grid" if wavelength is None else ""),
                found=f"shape {np.shape(values)}",
                remedy="Give wavelength with one value per pixel; acie.WAVELENGTH is the grid.",
            )
    quality = QualityFlag(0)
    if ivar is None:
        sigma = estimate_noise(np.where(bad, np.nan, flux))
        ivar, quality = sigma**-2.0, QualityFlag.NOISE_ESTIMATED
    ivar = np.where(bad, 0.0, np.asarray(ivar, dtype=np.float64))
    native = NativeSpectrum(
        wave=wave,
        flux=flux,
        ivar=ivar,
        redshift=redshift,
        lsf=None if lsf is None else np.asarray(lsf, dtype=np.float64),
        name=name,
        quality=quality,
    )
    return to_observation([native])
