"""Spectra from whatever the caller has: arrays, mappings, observations of ACIE."""

__all__ = ["Spectrum", "spectra_of", "spectrum_of"]

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from acie_sdk._errors import InvalidInputError

_GRID = 3600.0 + np.arange(6000, dtype=np.float64)
_FLUX = "1e-17 erg / (s cm2 AA)"
#: Units that quantities are converted to, and how arrays go over the wire.
_ARRAYS = {
    "flux": (_FLUX, np.float32),
    "ivar": ("1e34 s2 cm4 AA2 / erg2", np.float32),
    "mask": ("", np.bool_),
    "wavelength": ("AA", np.float64),
    "lsf": ("km / s", np.float32),
}


@dataclass(frozen=True)
class Spectrum:
    """One spectrum as arrays of one length.

    Arguments:
        flux: 1e-17 erg/s/cm2/angstrom, ``(pixel,)``, NaN where bad.
        ivar: Inverse variance, ``(pixel,)``.
        mask: True where bad, ``(pixel,)``.
        wavelength: Vacuum angstrom, ``(pixel,)``; None for the instrument grid.
        lsf: Gaussian sigma of the line-spread function, km/s, ``(pixel,)``.
        redshift: None to have it estimated.
        name: Of the galaxy.
    """

    flux: np.ndarray
    ivar: np.ndarray | None = None
    mask: np.ndarray | None = None
    wavelength: np.ndarray | None = None
    lsf: np.ndarray | None = None
    redshift: float | None = None
    name: str = ""

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Those that are there, by name."""
        found = {name: getattr(self, name) for name in _ARRAYS}
        return {name: value for name, value in found.items() if value is not None}


def spectrum_of(source: Any, redshift: float | None = None, name: str = "") -> Spectrum:
    """One spectrum.

    Arguments:
        source: A mapping with ``flux`` and any of ``ivar``, ``mask``, ``wavelength``, ``lsf``,
            ``redshift`` and ``name``; an object with such attributes, as ``acie.Observation``; or
            the flux alone. Arrays may be tensors or quantities with units.
        redshift: In place of that of ``source``.
        name: In place of that of ``source``.

    Raises:
        InvalidInputError: No flux, several galaxies, arrays that do not fit, infinities.
    """
    found = spectra_of(source)
    if len(found) != 1:
        raise InvalidInputError(
            "observation", expected="one galaxy (infer_batch takes many)", found=f"{len(found)}"
        )
    spectrum = found[0]
    changed = {"redshift": _redshift(redshift), "name": name}
    return Spectrum(**(vars(spectrum) | {k: v for k, v in changed.items() if v not in (None, "")}))


def spectra_of(source: Any) -> list[Spectrum]:
    """All spectra of a source: one, or those along the first axis of its flux."""
    if isinstance(source, Spectrum):
        return [source]
    members = _members(source)
    flux = _array(members.get("flux"), "flux")
    if flux is None or flux.ndim not in (1, 2) or flux.size == 0:
        found = "none" if flux is None else f"shape {flux.shape}"
        raise InvalidInputError("flux", expected="an array of shape (pixel,)", found=found)
    arrays = {name: _array(members.get(name), name) for name in _ARRAYS}
    count = 1 if flux.ndim == 1 else flux.shape[0]
    redshifts = np.atleast_1d(_plain(members.get("redshift", math.nan), "")).tolist()
    names = members.get("name") or members.get("names") or ""
    names = [names] if isinstance(names, str) else [str(one) for one in names]
    return [
        Spectrum(
            **{key: _row(value, index, flux) for key, value in arrays.items()},
            redshift=_redshift(redshifts[index if len(redshifts) == count else 0]),
            name=names[index] if index < len(names) else "",
        )
        for index in range(count)
    ]


def _members(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        unknown = set(source) - {*_ARRAYS, "redshift", "name"}
        if unknown:
            raise InvalidInputError(
                "observation",
                expected=f"only {', '.join(_ARRAYS)}, redshift and name",
                found=", ".join(sorted(map(str, unknown))),
            )
        return {name: value for name, value in source.items() if value is not None}
    if hasattr(source, "flux"):
        known = (*_ARRAYS, "redshift", "name", "names")
        return {n: getattr(source, n) for n in known if getattr(source, n, None) is not None}
    return {"flux": source}


def _plain(value: Any, unit: str) -> np.ndarray:
    """Numbers of a tensor, of a quantity, or of anything that numpy reads."""
    if hasattr(value, "to_value") and unit:
        value = value.to_value(unit)
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def _array(value: Any, name: str) -> np.ndarray | None:
    if value is None:
        return None
    unit, kind = _ARRAYS[name]
    try:
        array = np.asarray(_plain(value, unit), dtype=kind)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(name, expected=f"numbers, {unit}", found=str(error)) from error
    if array.dtype != np.bool_ and np.isinf(array).any():
        raise InvalidInputError(name, expected="finite numbers, NaN where bad", found="infinity")
    return array


def _row(values: np.ndarray | None, index: int, flux: np.ndarray) -> np.ndarray | None:
    """One galaxy's part of an array that may be shared by all; None for the instrument grid."""
    if values is None:
        return None
    row = values[index] if values.ndim == 2 else values
    if row.shape != flux.shape[-1:]:
        raise InvalidInputError(
            "observation",
            expected=f"arrays of one length, that of flux {flux.shape[-1:]}",
            found=f"one of {row.shape}",
        )
    is_grid = row.dtype == np.float64 and np.array_equal(row, _GRID)
    return None if is_grid else np.ascontiguousarray(row)


def _redshift(value: Any) -> float | None:
    """A redshift; NaN stands for one to be estimated, as in ``acie.Observation``."""
    if value is None:
        return None
    number = float(value)
    return None if math.isnan(number) else number
