"""One-dimensional FITS images and other formats that specutils reads."""

__all__ = ["read_image"]

import warnings

import numpy as np
from astropy import units as u
from astropy.io import fits

from acie.errors import MalformedSpectrum, UnitMismatch
from acie.io.assembly import to_observation
from acie.io.registry import ReadOptions, Source, reader
from acie.io.tables import native_spectrum
from acie.io.units import parse_unit, to_angstrom
from acie.observation import Observation

#: HDUs that specutils takes the flux from, in its order.
_FLUX_HDUS = ("FLUX", "SCI", "DATA", "PRIMARY")


def _flux_hdu(hdus: fits.HDUList) -> str | None:
    """Name of the HDU with a spectrum as a one-dimensional image."""
    for name in _FLUX_HDUS:
        if name in hdus and hdus[name].is_image and hdus[name].data is not None:
            return name if np.squeeze(hdus[name].data).ndim == 1 else None
    return None


def _is_image(source: Source) -> bool:
    if source.kind != "fits":
        return False
    with fits.open(source.path) as hdus:
        if _flux_hdu(hdus) is not None:
            return True
    from specutils.io.registers import identify_spectrum_format

    try:
        return bool(identify_spectrum_format(str(source.path)))
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        # One of specutils' identifiers stumbled over a file that is none of its formats.
        return False


def _spectrum_class() -> type:
    import specutils

    # Called Spectrum1D before specutils 2.0.
    return getattr(specutils, "Spectrum", None) or specutils.Spectrum1D


def _standard_deviation(spectrum: object) -> np.ndarray | None:
    """Errors of a specutils spectrum as standard deviations; None where it has none."""
    uncertainty = spectrum.uncertainty
    if uncertainty is None:
        return None
    from astropy.nddata import InverseVariance, VarianceUncertainty

    values = np.asarray(uncertainty.array, dtype=np.float64)
    positive = np.isfinite(values) & (values > 0)
    safe = np.where(positive, values, 1.0)
    if isinstance(uncertainty, InverseVariance):
        safe = safe**-0.5
    elif isinstance(uncertainty, VarianceUncertainty):
        safe = np.sqrt(safe)
    return np.where(positive, safe, 0.0)


def _wave_unit(header: fits.Header, options: ReadOptions) -> u.UnitBase:
    """Unit of the spectral axis: given, or of CUNIT1, or of IRAF's WAT1_001."""
    stated = options.wave_unit or header.get("CUNIT1")
    if not stated and "units=" in str(header.get("WAT1_001", "")).lower():
        stated = str(header["WAT1_001"]).lower().split("units=")[1].split()[0].strip('"')
    if not stated:
        raise UnitMismatch(
            "wave_unit",
            expected="CUNIT1 in the header or a unit given by the caller",
            found="no unit",
            remedy="Give the unit, for example wave_unit='AA' or wave_unit='nm'.",
        )
    return parse_unit(stated, "wave_unit")


@reader("image", identify=_is_image, priority=0)
def read_image(source: Source, options: ReadOptions) -> Observation:
    """Read a spectrum through specutils: an image with a linear or log-linear wavelength axis.

    Errors come from an extension STD, ERR, UNCERT, VAR or IVAR, a mask from MASK, DQ or QUALITY.

    Arguments:
        source: The file.
        options: What the caller knows better.

    Returns:
        One observation without batch axis.

    Raises:
        MalformedSpectrum: The file holds several spectra.
        UnitMismatch: A unit is missing or cannot be converted.
    """
    with warnings.catch_warnings(), fits.open(source.path) as hdus:
        # astropy and specutils comment on headers that they repair.
        warnings.simplefilter("ignore")
        header = dict(hdus[0].header)
        name = _flux_hdu(hdus)
        if name is not None:
            own = hdus[name].header
            header |= dict(own)
            wave_unit, flux_unit = _wave_unit(own, options), own.get("BUNIT")
            # specutils would refuse spellings that parse_unit knows, so units stay here.
            own.remove("BUNIT", ignore_missing=True)
            own["CUNIT1"] = "Angstrom"
            own["CTYPE1"] = "LINEAR"
            spectrum = _spectrum_class().read(
                hdus, format="wcs1d-fits", flux_unit=u.dimensionless_unscaled
            )
            axis = np.asarray(spectrum.spectral_axis.value, dtype=np.float64)
            # IRAF marks axes in log10 of the wavelength with DC-FLAG = 1.
            axis = 10.0**axis if header.get("DC-FLAG") == 1 else axis
            wave = to_angstrom(axis, wave_unit)
        else:
            spectrum = _spectrum_class().read(str(source.path))
            flux_unit = spectrum.flux.unit
            wave = spectrum.spectral_axis.to_value(u.AA, u.spectral())
    flux = np.squeeze(np.asarray(spectrum.flux.value, dtype=np.float64))
    if flux.ndim != 1:
        raise MalformedSpectrum(
            "flux",
            expected="one spectrum, shape (pixel,)",
            found=f"shape {flux.shape}",
            remedy="Cut the file into spectra, or write a table with one row per galaxy.",
        )
    error = _standard_deviation(spectrum)
    mask = spectrum.mask
    native = native_spectrum(
        wave=wave,
        flux=flux,
        flux_unit=flux_unit,
        error=None if error is None else np.squeeze(error),
        error_unit=None,
        bad=None if mask is None else np.squeeze(np.asarray(mask)) != 0,
        meta=header,
        options=options,
        name=str(header.get("OBJECT") or source.path.stem),
    )
    return to_observation([native], redshift=options.redshift)
