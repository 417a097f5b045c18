"""Shards: files with many spectra, one row each, that are read row by row.

The layout, the same in three formats; what is not said is ACIE's own grid and unit:

==============  ===========================================================================
``flux``        1e-17 erg/s/cm2/A, NaN where bad; one vector a row
``ivar``        its inverse variance, 0 where bad
``redshift``    a number a row; NaN where unknown
``lsf``         may be left out: Gaussian width of the line-spread function, km/s
``id``          may be left out: a name a row (``targetid``, ``name``, ``object`` as well)
==============  ===========================================================================

They are columns of lists in Parquet, vector columns of a binary table in FITS, datasets at the
root in HDF5. In HDF5 ``wavelength`` (vacuum angstrom, one vector for all rows or one each) says
that the pixels are others; tables with a wavelength column, and the files of surveys, are read as
:func:`acie.io.read` reads them. A row that cannot be used does not spoil the others.
"""

__all__ = ["SpectraShard", "read_shard", "write_arrays", "write_shard"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from astropy.io import fits
from astropy.table import Table

from acie.errors import (
    CatalogueTooLarge,
    ConfigurationError,
    MalformedCatalogue,
    UnitMismatch,
)
from acie.io.arrays import from_arrays
from acie.io.assembly import to_observation
from acie.io.columns import find_columns
from acie.io.extent import stored_values
from acie.io.registry import ReadOptions, Source, guarded, identify, open_source, read
from acie.io.tables import table_rows
from acie.io.units import FLUX_UNIT, parse_unit
from acie.observation import Observation

_HDF5 = b"\x89HDF\r\n\x1a\n"
_UNIT = str(FLUX_UNIT)
_NAMES = ("id", "targetid", "name", "object")
_VECTORS, _NUMBERS = ("flux", "ivar", "lsf"), ("redshift",)


@dataclass(frozen=True)
class SpectraShard:
    """The rows of a file.

    Arguments:
        ids: A name for each row.
        row: Makes the observation of a row, without a batch axis; raises a
            :class:`~acie.errors.DataError` where the row cannot be used.
    """

    ids: tuple[str, ...]
    row: Callable[[int], Observation]

    def __len__(self) -> int:
        return len(self.ids)


def read_shard(path: str | Path, most: int | None = None) -> SpectraShard:
    """Open a Parquet, FITS or HDF5 file of many spectra, or any file that ACIE reads.

    Arguments:
        path: The file.
        most: Numbers that it may hold, for files of strangers: well packed ones are small.

    Raises:
        CatalogueTooLarge: It holds more; nothing was read.
        ReaderNotFound: No reader recognises the file, or there is no such file.
        MalformedSpectrum: The file is damaged.
        MalformedCatalogue: A column is missing, or of another length or kind.
        UnitMismatch: The file states another unit of the flux than ACIE's.
    """
    source = open_source(path)
    return guarded(source.path, lambda: _open(source, most))


def _open(source: Source, most: int | None) -> SpectraShard:
    if most is not None and (found := stored_values(source, most)) > most:
        raise CatalogueTooLarge(
            "file", expected=f"at most {most} numbers", found=f"{found} or more",
            remedy="Split it into smaller files.",
        )  # fmt: skip
    if source.head.startswith(_HDF5):
        return _hdf5(source)
    if source.kind == "parquet":
        names = pyarrow.parquet.read_schema(source.path).names
        if find_columns(names) is None and _has_layout(names):
            return _parquet(source)
    for index, names in enumerate(source.hdus.values()):
        if find_columns(names) is None and _has_layout(names):
            return _fits(source, index)
    if identify(source.path) == "table":
        natives = table_rows(source, ReadOptions())[1]
        return SpectraShard(
            _default_ids(source, len(natives)), lambda row: to_observation([natives[row]])
        )
    observation = read(source.path)
    rows = observation.batched()
    ids = rows.names or _default_ids(source, len(rows))
    return SpectraShard(ids, lambda row: rows[row])


def _has_layout(names: Sequence[str]) -> bool:
    return {"flux", "ivar"} <= {name.lower() for name in names}


def _default_ids(source: Source, count: int) -> tuple[str, ...]:
    return tuple(f"{source.path.stem}-{row}" for row in range(count))


def _shard(
    source: Source, columns: Mapping[str, Sequence], wavelength: Any = None
) -> SpectraShard:
    """A shard from its columns, each with one entry per row."""
    lengths = {name: len(values) for name, values in columns.items()}
    for name in ("flux", "ivar"):
        if name not in columns:
            raise MalformedCatalogue(
                "columns", expected=f"a column {name}", found=", ".join(columns) or "none",
                remedy="The layout is described in docs/cluster.md.",
            )  # fmt: skip
    if len(set(lengths.values())) != 1 or not lengths["flux"]:
        raise MalformedCatalogue(
            "columns",
            expected="columns of one length, of at least one row",
            found=", ".join(f"{name} {length}" for name, length in lengths.items()),
            remedy="The file may have been cut off while it was written; write it again.",
        )
    key = next((name for name in _NAMES if name in columns), None)
    count = lengths["flux"]
    ids = _default_ids(source, count) if key is None else tuple(_text(v) for v in columns[key])
    grid = None if wavelength is None else np.asarray(wavelength, dtype=np.float64)

    def row(index: int) -> Observation:
        arrays = {name: columns[name][index] for name in _VECTORS if name in columns}
        return from_arrays(
            **{name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()},
            wavelength=grid[index] if grid is not None and grid.ndim == 2 else grid,
            redshift=float(columns["redshift"][index]) if "redshift" in columns else None,
            name=ids[index],
        )

    return SpectraShard(ids, row)


def _text(value: Any) -> str:
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()


def _check_unit(name: str, unit: Any) -> None:
    """Refuse a stated unit of the flux that is not ACIE's; shards are not converted."""
    text = _text(unit) if unit is not None else ""
    if name == "flux" and text and parse_unit(text, "flux") != FLUX_UNIT:
        raise UnitMismatch(
            "flux", expected=f"the unit {_UNIT}", found=text,
            remedy="Convert flux and ivar, or give a table with a wavelength column and units.",
        )  # fmt: skip


class _Lists(Sequence):
    """A column of lists of an Arrow table, one array per row."""

    def __init__(self, column: pyarrow.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: int) -> np.ndarray:
        values = self._column[index].values
        # A missing list is a row without a pixel: refused as such.
        return np.empty(0) if values is None else values.to_numpy(zero_copy_only=False)


def _parquet(source: Source) -> SpectraShard:
    schema = pyarrow.parquet.read_schema(source.path)
    known = (*_VECTORS, *_NUMBERS, *_NAMES)
    wanted = {name.lower(): name for name in schema.names if name.lower() in known}
    table = pyarrow.parquet.read_table(source.path, columns=list(wanted.values()))
    columns: dict[str, Sequence] = {}
    for name, own in wanted.items():
        field, column = table.schema.field(own), table.column(own)
        _check_unit(name, (field.metadata or {}).get(b"unit"))
        if name in _VECTORS:
            kind = getattr(field.type, "value_type", None)
            if kind is None or not (
                pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind)
            ):
                raise MalformedCatalogue(
                    own, expected="lists of numbers", found=str(field.type),
                    remedy="Write one list of numbers per row.",
                )  # fmt: skip
            columns[name] = _Lists(column)
        elif name in _NUMBERS:
            columns[name] = column.cast(pyarrow.float64(), safe=False).to_numpy()
        else:
            columns[name] = column.to_pylist()
    return _shard(source, columns)


def _fits(source: Source, index: int) -> SpectraShard:
    with fits.open(source.path, memmap=False) as hdus:
        hdu = hdus[index]
        columns = {}
        for column in hdu.columns:
            name = column.name.lower()
            if name in (*_VECTORS, *_NUMBERS, *_NAMES):
                _check_unit(name, column.unit)
                columns[name] = hdu.data[column.name]
    return _shard(source, columns)


def _hdf5(source: Source) -> SpectraShard:
    import h5py

    with h5py.File(source.path, "r") as file:
        columns = {}
        for name in (*_VECTORS, *_NUMBERS, *_NAMES):
            if name in file:
                _check_unit(name, file[name].attrs.get("unit"))
                columns[name] = file[name][:]
        wavelength = file["wavelength"][:] if "wavelength" in file else None
    return _shard(source, columns, wavelength)


def write_arrays(
    columns: Mapping[str, Any], path: str | Path, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write columns as Parquet; arrays of two axes become lists of one length.

    Arguments:
        columns: Arrays ``(row,)`` or ``(row, pixel)``, or lists of text with None where missing.
        path: Where to; an existing file is replaced.
        metadata: Facts kept in the schema of the file.
    """
    table = pyarrow.table({name: _arrow(values) for name, values in columns.items()})
    pyarrow.parquet.write_table(table.replace_schema_metadata(dict(metadata or {})), path)
    return Path(path)


def _arrow(values: Any) -> pyarrow.Array:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        flat = pyarrow.array(np.ascontiguousarray(values).reshape(-1))
        return pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pyarrow.array(values)


def write_shard(
    observation: Observation, path: str | Path, extra: Mapping[str, np.ndarray] | None = None
) -> Path:
    """Write spectra as a shard in single precision; the suffix chooses the format.

    Arguments:
        observation: The spectra; their names become ``id``.
        path: Ends in ``.parquet``, ``.fits`` or ``.h5``; an existing file is replaced.
        extra: Further columns, ``(row,)`` or ``(row, k)``, such as the truth of a simulation.

    Raises:
        ConfigurationError: The suffix is none of these.
    """
    path, flat = Path(path), observation.batched()
    columns: dict[str, Any] = {
        name: getattr(flat, name).detach().cpu().numpy().astype(np.float32) for name in _VECTORS
    }
    columns["redshift"] = flat.redshift.detach().cpu().numpy().astype(np.float64)
    columns["id"] = list(flat.names) or [f"{path.stem}-{row}" for row in range(len(flat))]
    columns |= dict(extra or {})
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return write_arrays(columns, path, {"flux_unit": _UNIT})
    if suffix == ".fits":
        table = Table(columns)
        table["flux"].unit, table["lsf"].unit = FLUX_UNIT, "km/s"
        table.write(path, overwrite=True)
        return path
    if suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            for name, values in columns.items():
                file[name] = values
            file["flux"].attrs["unit"] = _UNIT
        return path
    raise ConfigurationError(
        "path", expected="a name that ends in .parquet, .fits or .h5", found=repr(path.name),
        remedy="Choose one of these formats.",
    )  # fmt: skip
