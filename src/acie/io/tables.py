"""Spectra in tables: FITS binary tables, ECSV, CSV and Parquet, by the names of their columns.

Columns are found by name (:mod:`acie.io.columns`). Units are read: from TUNIT or BUNIT of a FITS
file, from ECSV, from Parquet as astropy writes it, from brackets in a column's name, or from the
caller. Nothing is assumed, except that errors have the unit of the flux where they state none and
that ``loglam`` is log10 of angstrom. Wavelengths are vacuum unless the header or the caller says
air. A table has one row per pixel, or one row per galaxy with vectors in its cells.
"""

__all__ = ["native_spectrum", "read_table", "table_rows"]

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from acie.errors import MalformedSpectrum
from acie.io.assembly import NativeSpectrum, to_observation
from acie.io.columns import (
    Columns,
    find_columns,
    header_medium,
    header_redshift,
    header_resolution,
    split_unit,
)
from acie.io.noise import estimate_noise
from acie.io.registry import ReadOptions, Source, reader
from acie.io.units import flux_to_f_lambda, parse_unit, to_angstrom
from acie.observation import Observation
from acie.refraction import air_to_vacuum
from acie.results import QualityFlag

#: Keywords of files that :func:`acie.io.write_observation` wrote.
_QUALITY_KEY = "ACIEQUAL"
_META_KEY = "ACIEMETA"


def _heading(source: Source) -> str:
    """First line of a text file that is no comment."""
    lines = source.head.decode("utf-8", "replace").lstrip("\ufeff").splitlines()
    return next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")


def _text_names(source: Source) -> list[str]:
    """Column names of a text file, from its heading."""
    line = _heading(source)
    names = line.split(",") if "," in line else line.split()
    return [name.strip().strip('"') for name in names]


def _table_index(source: Source) -> int | None:
    """Index of the first HDU with the columns of a spectrum."""
    for index, columns in enumerate(source.hdus.values()):
        if find_columns(columns) is not None:
            return index
    return None


def _is_table(source: Source) -> bool:
    if source.kind == "fits":
        return _table_index(source) is not None
    if source.kind == "text":
        return find_columns(_text_names(source)) is not None
    return source.kind in ("ecsv", "parquet")


def _load(source: Source) -> Table:
    """The table, with the keywords of the primary header added to its metadata."""
    if source.kind == "fits":
        index = _table_index(source)
        table = Table.read(source.path, hdu=index, unit_parse_strict="silent")
        table.meta = dict(fits.getheader(source.path, 0)) | dict(table.meta)
    elif source.kind == "parquet":
        table = Table.read(source.path, format="parquet")
    elif source.kind == "ecsv":
        table = Table.read(source.path, format="ascii.ecsv")
    else:
        kind = "ascii.csv" if "," in _heading(source) else "ascii.basic"
        table = Table.read(source.path, format=kind, comment=r"\s*#")
        for line in source.head.decode("utf-8", "replace").splitlines():
            if line.lstrip().startswith("#"):
                key, found, value = line.lstrip(" #").replace("=", ":", 1).partition(":")
                if found:
                    table.meta.setdefault(key.strip(), value.strip())
    return table


def _unit_of(table: Table, column: str) -> str | None:
    """Unit of a column as text, from its own statement or from its name."""
    unit = table[column].unit
    return str(unit) if unit is not None and str(unit) else split_unit(column)[1]


def _values(table: Table, column: str, index: int | None) -> np.ndarray:
    """Numbers of a column, masked entries as NaN: all rows, or the vector in one row."""
    data = table[column]
    cell = data if index is None else data[index]
    if getattr(cell, "dtype", np.dtype(object)).kind == "O":
        cell = np.array(list(cell), dtype=np.float64)
    if np.asarray(cell).dtype.kind not in "fiub":
        raise MalformedSpectrum(
            column,
            expected="numbers",
            found=f"text, such as {str(np.ravel(np.asarray(cell))[0])!r}",
            remedy="Remove footers and repeated headings from the table.",
        )
    filled = np.ma.filled(np.ma.asarray(cell).astype(np.float64), np.nan)
    return np.atleast_1d(np.asarray(filled, dtype=np.float64))


def native_spectrum(
    *,
    wave: np.ndarray,
    flux: np.ndarray,
    flux_unit: str | u.UnitBase | None,
    error: np.ndarray | None,
    error_unit: str | u.UnitBase | None,
    bad: np.ndarray | None,
    meta: Mapping,
    options: ReadOptions,
    **facts: object,
) -> NativeSpectrum:
    """A spectrum in ACIE's units, from one in its own.

    Arguments:
        wave: Wavelengths in angstrom, in the medium of the file, shape ``(pixel,)``.
        flux: Flux density in ``flux_unit``, shape ``(pixel,)``.
        flux_unit: Its unit; None is refused.
        error: Standard deviation of ``flux``, shape ``(pixel,)``; None to estimate it.
        error_unit: Its unit; None for that of the flux.
        bad: True in pixels to leave out, shape ``(pixel,)``.
        meta: Keywords of the file, for medium, redshift and resolution.
        options: What the caller knows better.
        facts: Further arguments of :class:`~acie.io.assembly.NativeSpectrum`.

    Returns:
        The spectrum, by increasing vacuum wavelength.
    """
    sizes = {np.shape(values) for values in (wave, flux, error, bad) if values is not None}
    if len(sizes) != 1 or len(next(iter(sizes))) != 1 or not np.size(wave):
        raise MalformedSpectrum(
            "flux",
            expected="one value per pixel in every column, at least 2 pixels",
            found=f"shapes {sorted(sizes)}",
            remedy="Give wavelength, flux and error on the same pixels.",
        )
    medium = options.medium or header_medium(meta) or "vacuum"
    if medium == "air":
        # The factor 1.0003 on the width of the pixels is far below any flux calibration.
        wave = air_to_vacuum(torch.as_tensor(wave)).numpy()
    f_lambda = flux_to_f_lambda(flux, options.flux_unit or flux_unit, wave)
    quality = QualityFlag(int(meta.get(_QUALITY_KEY, 0)))
    if error is None:
        usable = np.isfinite(f_lambda) if bad is None else np.isfinite(f_lambda) & ~bad
        sigma = estimate_noise(np.where(usable, f_lambda, np.nan))
        quality |= QualityFlag.NOISE_ESTIMATED
    else:
        unit = options.flux_unit or error_unit or flux_unit
        sigma = flux_to_f_lambda(error, unit, wave)
    good = np.isfinite(sigma) & (sigma > 0) & np.isfinite(f_lambda)
    good &= True if bad is None else ~bad
    ivar = np.where(good, 1.0 / np.where(good, sigma, 1.0) ** 2, 0.0)
    order = slice(None, None, -1) if wave[0] > wave[-1] else slice(None)
    lsf = facts.pop("lsf", None)
    if lsf is None and (resolution := header_resolution(meta)) is not None:
        lsf = np.full(wave.size, resolution)
    details = {"medium": medium, "lsf_assumed": lsf is None}
    redshift = facts.pop("redshift", None)
    return NativeSpectrum(
        wave=wave[order],
        flux=f_lambda[order],
        ivar=ivar[order],
        redshift=header_redshift(meta) if redshift is None else redshift,
        lsf=None if lsf is None else lsf[order],
        quality=quality,
        meta=details,
        **facts,
    )


def _error(
    table: Table, columns: Columns, index: int | None
) -> tuple[np.ndarray | None, str | u.UnitBase | None]:
    """Standard deviation and its unit, from errors or inverse variances."""
    if columns.ivar is not None:
        ivar = _values(table, columns.ivar, index)
        if (ivar < 0).any():
            raise MalformedSpectrum(
                columns.ivar,
                expected="inverse variances of at least 0",
                found="negative values",
                remedy="Set ivar to 0 in bad pixels.",
            )
        unit = _unit_of(table, columns.ivar)
        unit = None if unit is None else parse_unit(unit, "flux_unit") ** -0.5
        return np.where(ivar > 0, 1.0 / np.sqrt(np.where(ivar > 0, ivar, 1.0)), 0.0), unit
    if columns.error is not None:
        return _values(table, columns.error, index), _unit_of(table, columns.error)
    return None, None


def _one(
    table: Table, columns: Columns, index: int | None, source: Source, options: ReadOptions
) -> NativeSpectrum:
    """One spectrum of a table: all its rows, or one row of vectors."""
    wave = _values(table, columns.wave, index)
    wave_unit = options.wave_unit or _unit_of(table, columns.wave)
    if split_unit(columns.wave)[0] == "loglam":
        wave, wave_unit = 10.0**wave, options.wave_unit or "Angstrom"
    error, error_unit = _error(table, columns, index)
    bad = None
    if columns.mask is not None:
        mask = _values(table, columns.mask, index)
        bad = ~(np.isfinite(mask) & (mask == 0))
    facts: dict = {}
    if columns.lsf is not None:
        unit = parse_unit(_unit_of(table, columns.lsf) or "km/s", "lsf_unit")
        facts["lsf"] = (_values(table, columns.lsf, index) * unit).to_value(u.km / u.s)
    if columns.redshift is not None:
        facts["redshift"] = float(_values(table, columns.redshift, index)[0])
    name = None if columns.name is None else str(table[columns.name][index or 0])
    meta = dict(table.meta)
    if index is not None and "quality" in table.colnames:
        meta[_QUALITY_KEY] = int(table["quality"][index])
    return native_spectrum(
        wave=to_angstrom(wave, wave_unit),
        flux=_values(table, columns.flux, index),
        flux_unit=_unit_of(table, columns.flux) or meta.get("BUNIT"),
        error=error,
        error_unit=error_unit,
        bad=bad,
        meta=meta,
        options=options,
        name=name or str(meta.get("OBJECT") or source.path.stem),
        **facts,
    )


@reader("table", identify=_is_table, priority=1)
def read_table(source: Source, options: ReadOptions) -> Observation:
    """Read a table with columns wavelength, flux and, if present, errors, mask and resolution.

    Arguments:
        source: The file.
        options: What the caller knows better.

    Returns:
        One observation; with a batch axis where a row holds a whole spectrum and there are many.

    Raises:
        MalformedSpectrum: Columns are missing, empty, or of different length.
        UnitMismatch: A unit is missing or cannot be converted.
    """
    table, natives = table_rows(source, options)
    observation = to_observation(list(natives), redshift=options.redshift)
    if _META_KEY not in table.meta:
        return observation
    # Provenance of a file that ACIE wrote is that of the observation it was written from.
    facts = json.loads(table.meta[_META_KEY])
    if options.redshift is not None:
        facts["redshift_source"] = observation.meta["redshift_source"]
    return replace(observation, meta=facts)


def table_rows(
    source: Source, options: ReadOptions
) -> tuple[Table, Sequence[NativeSpectrum]]:
    """The table of a file and its spectra, each of which is made, or refused, when it is taken.

    Arguments:
        source: The file.
        options: What the caller knows better.

    Raises:
        MalformedSpectrum: Columns are missing or empty.
    """
    table = _load(source)
    columns = find_columns(table.colnames)
    if columns is None or len(table) == 0:
        raise MalformedSpectrum(
            "columns",
            expected="columns wavelength and flux with at least 2 rows",
            found=f"{len(table)} rows of {', '.join(table.colnames) or 'nothing'}",
            remedy="Name the columns wavelength, flux and error (or ivar).",
        )
    vectors = table[columns.flux].ndim > 1 or table[columns.flux].dtype.kind == "O"
    rows = list(range(len(table))) if vectors else [None]
    return table, _Rows(rows, lambda row: _one(table, columns, row, source, options))


class _Rows(Sequence):
    """Spectra made one by one, so that one that cannot be used does not spoil the others."""

    def __init__(self, rows: list[int | None], make: Callable) -> None:
        self._rows, self._make = rows, make

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> NativeSpectrum:
        return self._make(self._rows[index])
