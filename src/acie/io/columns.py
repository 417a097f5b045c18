"""Which column of a table is what: names, units in names, facts in headers."""

__all__ = [
    "Columns",
    "find_columns",
    "header_medium",
    "header_redshift",
    "header_resolution",
    "split_unit",
]

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from acie.errors import MalformedSpectrum
from acie.units import LIGHT_KM_S

#: Accepted column names in order of preference, lower case, without a unit in brackets.
_ROLES: dict[str, tuple[str, ...]] = {
    "wave": ("wavelength", "wave", "lambda", "lam", "loglam", "spectral_axis", "wl"),
    "flux": ("flux", "flam", "f_lambda", "flux_density", "fnu", "f_nu"),
    "ivar": ("ivar", "inverse_variance", "invvar"),
    "error": ("error", "err", "sigma", "uncertainty", "flux_error", "flux_err", "e_flux", "std"),
    "mask": ("mask", "and_mask"),
    "lsf": ("lsf", "lsf_km_s"),
    "redshift": ("redshift", "z", "z_spec", "zbest"),
    "name": ("name", "object", "target", "id", "targetid"),
}
_BRACKETS = re.compile(r"^\s*(?P<name>[^\[(]+?)\s*[\[(](?P<unit>.*)[\])]\s*$")
_REDSHIFT_KEYS = ("redshift", "z", "z_spec", "zbest", "z_best")
_MEDIUM_KEYS = ("airorvac", "medium", "wavelength medium", "wavelength_medium", "wave_medium")


def split_unit(name: str) -> tuple[str, str | None]:
    """Name and unit of a column that carries its unit in brackets.

    Arguments:
        name: The column's name.

    Returns:
        The name in lower case without unit, and the unit or None.

    Example:
        >>> split_unit("Flux [1e-17 erg/s/cm2/AA]")
        ('flux', '1e-17 erg/s/cm2/AA')
    """
    match = _BRACKETS.match(name)
    if match is None:
        return name.strip().lower(), None
    return match["name"].strip().lower(), match["unit"].strip() or None


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table by role; None where there is none."""

    wave: str
    flux: str
    ivar: str | None = None
    error: str | None = None
    mask: str | None = None
    lsf: str | None = None
    redshift: str | None = None
    name: str | None = None


def find_columns(names: Iterable[str]) -> Columns | None:
    """The columns of a spectrum among the columns of a table.

    Arguments:
        names: Names of all columns.

    Returns:
        The columns, or None where wavelength or flux is missing.

    Raises:
        MalformedSpectrum: Two columns have the same name apart from case and unit.
    """
    plain: dict[str, str] = {}
    for name in names:
        key = split_unit(name)[0]
        if key in plain and any(key in accepted for accepted in _ROLES.values()):
            raise MalformedSpectrum(
                "columns",
                expected="one column of each name",
                found=f"{plain[key]!r} and {name!r}",
                remedy="Rename or remove one of them.",
            )
        plain[key] = name
    found = {
        role: next((plain[key] for key in accepted if key in plain), None)
        for role, accepted in _ROLES.items()
    }
    if found["wave"] is None or found["flux"] is None:
        return None
    return Columns(**found)


def header_redshift(meta: Mapping) -> float | None:
    """The redshift of a header or of table metadata; None where there is none.

    Arguments:
        meta: Keywords and values; keywords in any case.

    Returns:
        The redshift.
    """
    lower = {str(key).lower(): value for key, value in meta.items()}
    for key in _REDSHIFT_KEYS:
        try:
            value = float(lower[key])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(value):
            return value
    return None


def header_medium(meta: Mapping) -> str | None:
    """Whether wavelengths are in air or vacuum, from a header; None where it does not say.

    ``AIRORVAC`` (IRAF and SDSS), ``VACUUM`` (SDSS), ``CTYPE1`` = ``AWAV`` or ``WAVE`` (FITS paper
    III) and ``medium`` are understood.

    Arguments:
        meta: Keywords and values; keywords in any case.

    Returns:
        ``"air"``, ``"vacuum"`` or None.
    """
    lower = {str(key).lower(): value for key, value in meta.items()}
    for key in _MEDIUM_KEYS:
        text = str(lower.get(key, "")).strip().lower()
        if text.startswith(("air", "vac")):
            return "air" if text.startswith("air") else "vacuum"
    if isinstance(lower.get("vacuum"), bool | np.bool_):
        return "vacuum" if lower["vacuum"] else "air"
    kind = str(lower.get("ctype1", "")).strip().upper()
    if kind.startswith("AWAV"):
        return "air"
    return "vacuum" if kind.startswith("WAVE") else None


def header_resolution(meta: Mapping) -> float | None:
    """Gaussian width of the line-spread function from a resolving power; None where not stated.

    Arguments:
        meta: Keywords and values; ``SPEC_RP`` (VO spectrum data model) or ``RESPOWER``.

    Returns:
        Width, km/s: c / (2.3548 R), for a resolving power R given by the full width at half
        maximum.
    """
    lower = {str(key).lower(): value for key, value in meta.items()}
    for key in ("spec_rp", "specrp", "respower", "resolving_power"):
        try:
            power = float(lower[key])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(power) and power > 0:
            return LIGHT_KM_S / (2.0 * np.sqrt(2.0 * np.log(2.0)) * power)
    return None
