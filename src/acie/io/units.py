"""Units of files: read as they are written, converted to those of ACIE, refused otherwise."""

__all__ = ["flux_factor", "flux_to_f_lambda", "parse_unit", "same_unit", "to_angstrom"]

import re
import warnings

import numpy as np
from astropy import units as u

from acie.errors import UnitMismatch
from acie.units import FLUX_SCALE

#: Unit of flux density in every observation.
FLUX_UNIT = FLUX_SCALE * u.erg / u.s / u.cm**2 / u.AA

_FLUX_REMEDY = "Give the unit, for example flux_unit='1e-17 erg/s/cm2/AA' or flux_unit='Jy'."
_WAVE_REMEDY = "Give the unit, for example wave_unit='AA' or wave_unit='nm'."
# Spellings in survey files that astropy does not know; a lone A means angstrom in a spectrum.
_SPELLINGS = (
    (re.compile(r"(?<![A-Za-z])(?:[Aa]ng|A)(?![A-Za-z])"), "Angstrom"),
    (re.compile(r"(?i)\bangstroms?\b"), "Angstrom"),
    (re.compile(r"\bergs\b"), "erg"),
    (re.compile(r"\bsec\b"), "s"),
    (re.compile(r"\bmicrons\b"), "micron"),
    (re.compile(r"\b1?[eE]([+-]\d+)\b(?!\s*\*\*)"), r"1e\1"),
)


def parse_unit(text: str | u.UnitBase, argument: str = "unit") -> u.UnitBase:
    """A unit from the text of a header.

    Arguments:
        text: The text, such as ``"1E-17 erg/cm^2/s/Ang"``, or a unit.
        argument: What to call it in an error.

    Returns:
        The unit.

    Raises:
        UnitMismatch: The text is not a unit.

    Example:
        >>> parse_unit("1E-17 erg/cm^2/s/Ang")
        Unit("1e-17 erg / (Angstrom s cm2)")
    """
    if isinstance(text, u.UnitBase):
        return text
    cleaned = str(text).strip()
    for pattern, spelling in _SPELLINGS:
        cleaned = pattern.sub(spelling, cleaned)
    try:
        # "erg/s/cm2/A" has more slashes than the FITS standard likes, but only one meaning.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)
            return u.Unit(cleaned)
    except (ValueError, TypeError) as error:
        raise UnitMismatch(
            argument,
            expected="a unit that astropy understands",
            found=repr(str(text)),
            remedy=_WAVE_REMEDY if "wave" in argument else _FLUX_REMEDY,
        ) from error


def same_unit(one: str, other: str) -> bool:
    """Whether two units are the same, however they are written.

    Example:
        >>> same_unit("solMass", "Msun")
        True
    """
    if one.strip() == other.strip():
        return True
    try:
        return bool(u.Unit(one) == u.Unit(other))
    except ValueError:
        # Units that astropy does not know are compared as text.
        return False


def _refuse(argument: str, expected: str, unit: object, remedy: str) -> UnitMismatch:
    found = "no unit" if unit is None or str(unit) == "" else f"{unit!s}"
    return UnitMismatch(argument, expected=expected, found=found, remedy=remedy)


def to_angstrom(wave: np.ndarray, unit: str | u.UnitBase | None) -> np.ndarray:
    """Wavelengths in angstrom, from a unit of length; frequencies and energies work as well.

    Arguments:
        wave: Values, any shape.
        unit: Their unit; None is refused.

    Returns:
        Wavelengths, angstrom, same shape.

    Raises:
        UnitMismatch: No unit, or one that is no wavelength.
    """
    expected = "a unit of wavelength"
    if unit is None or unit == "":
        raise _refuse("wave_unit", expected, None, _WAVE_REMEDY)
    parsed = parse_unit(unit, "wave_unit")
    try:
        return (np.asarray(wave, dtype=np.float64) * parsed).to_value(u.AA, u.spectral())
    except u.UnitConversionError as error:
        raise _refuse("wave_unit", expected, unit, _WAVE_REMEDY) from error


def flux_to_f_lambda(
    values: np.ndarray, unit: str | u.UnitBase | None, wave: np.ndarray
) -> np.ndarray:
    """Flux density per angstrom; per frequency and photon rates are converted.

    Arguments:
        values: Flux density or its error, shape ``(..., pixel)``.
        unit: Its unit; None is refused.
        wave: Wavelengths in angstrom, shape ``(pixel,)``.

    Returns:
        Flux density, 1e-17 erg/s/cm2/A, shape ``(..., pixel)``.

    Raises:
        UnitMismatch: No unit, or one that is no flux density (counts, kelvin, magnitudes).
    """
    expected = "a flux density per wavelength or frequency, such as 1e-17 erg/s/cm2/AA or Jy"
    if unit is None or unit == "":
        raise _refuse("flux_unit", expected, None, _FLUX_REMEDY)
    parsed = parse_unit(unit, "flux_unit")
    if isinstance(parsed, u.function.FunctionUnitBase):
        # Magnitudes would convert, but an error of 0.1 mag is not the flux of 0.1 mag.
        raise _refuse("flux_unit", expected, unit, _FLUX_REMEDY)
    try:
        values = np.asarray(values, dtype=np.float64)
        return (values * parsed).to_value(FLUX_UNIT, u.spectral_density(wave * u.AA))
    except (u.UnitConversionError, u.UnitTypeError, TypeError) as error:
        raise _refuse("flux_unit", expected, unit, _FLUX_REMEDY) from error


def flux_factor(unit: str | u.UnitBase) -> float:
    """Factor from a unit of flux per wavelength to 1e-17 erg/s/cm2/A.

    Arguments:
        unit: The unit.

    Returns:
        The factor.

    Raises:
        UnitMismatch: Not a flux density per wavelength.
    """
    try:
        return float(parse_unit(unit, "flux_unit").to(FLUX_UNIT))
    except u.UnitConversionError as error:
        expected = "a flux density per wavelength, such as 1e-17 erg/s/cm2/AA"
        raise _refuse("flux_unit", expected, unit, _FLUX_REMEDY) from error
