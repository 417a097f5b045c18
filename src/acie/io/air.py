r"""Air and vacuum wavelengths, as SDSS converts them.

SDSS and DESI give vacuum wavelengths, many older spectra and line lists give air wavelengths. At
5000 angstrom the two differ by 1.4 angstrom, 83 km/s, which would be taken for a redshift.
"""

__all__ = ["air_to_vacuum", "vacuum_to_air"]

import numpy as np

#: Shorter wavelengths are given in vacuum by convention, angstrom.
AIR_LIMIT = 2000.0


def _index(vacuum: np.ndarray) -> np.ndarray:
    """Refractive index of standard air from the vacuum wavelength in angstrom."""
    wavenumber2 = (1e4 / vacuum) ** 2
    return (
        1.0 + 8.34254e-5 + 2.406147e-2 / (130.0 - wavenumber2) + 1.5998e-4 / (38.9 - wavenumber2)
    )


def vacuum_to_air(wave_angstrom: np.ndarray | float) -> np.ndarray:
    """Wavelength in standard air (15 C, 1013.25 hPa); unchanged below 2000 angstrom.

    References:
        Morton 2000, ApJS 130, 403, equation 8, adopted by the IAU and by SDSS since DR8.

    Arguments:
        wave_angstrom: Vacuum wavelength, angstrom, any shape.

    Returns:
        Air wavelength, angstrom, same shape.

    Example:
        >>> float(vacuum_to_air(6564.61).round(2))
        6562.8
    """
    vacuum = np.asarray(wave_angstrom, dtype=np.float64)
    # The clip keeps the formula away from its poles in the far ultraviolet, where it is not used.
    return np.where(vacuum < AIR_LIMIT, vacuum, vacuum / _index(np.maximum(vacuum, AIR_LIMIT)))


def air_to_vacuum(wave_angstrom: np.ndarray | float) -> np.ndarray:
    """Vacuum wavelength: the inverse of :func:`vacuum_to_air`, by fixed-point iteration.

    The index changes by 1e-8 per angstrom, so four steps reach double precision.

    Arguments:
        wave_angstrom: Wavelength in standard air, angstrom, any shape.

    Returns:
        Vacuum wavelength, angstrom, same shape.

    Example:
        >>> float(air_to_vacuum(5006.84).round(2))
        5008.24
    """
    air = np.asarray(wave_angstrom, dtype=np.float64)
    vacuum = np.maximum(air, AIR_LIMIT / 1.001)
    for _ in range(4):
        vacuum = air * _index(np.maximum(vacuum, AIR_LIMIT / 1.001))
    return np.where(vacuum < AIR_LIMIT, air, vacuum)
