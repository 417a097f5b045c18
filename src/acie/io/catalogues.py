"""Catalogues: tables with one row per object, of which every column may be a variable.

CSV and Parquet are read with pyarrow, ECSV and FITS with astropy; which is decided by content,
never by the name of the file. Numbers become double precision with NaN where a value is missing,
truth values become 0 and 1, text stays text with None where it is missing.
"""

__all__ = ["Catalogue", "read_catalogue", "write_catalogue"]

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
from astropy.io import fits
from astropy.table import Table

from acie.errors import ConfigurationError, MalformedCatalogue
from acie.io.registry import Source, open_source

#: Text that stands for a missing value, in any column.
_MISSING = ("", "nan", "NaN", "NAN", "NA", "N/A", "null", "NULL", "None", "--")
_DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, AttributeError)


@dataclass(frozen=True)
class Catalogue:
    """The columns of a table.

    Arguments:
        columns: Numbers ``(row,)`` with NaN for missing values, or text with None.
        units: Units that the file states, as text, by column.
        source: Name of the file.
    """

    columns: dict[str, np.ndarray]
    units: dict[str, str] = field(default_factory=dict)
    source: str = "table"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def take(self, rows: slice | np.ndarray) -> "Catalogue":
        """Some of the rows."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Catalogue(columns, self.units, self.source)


def read_catalogue(path: str | Path) -> Catalogue:
    """Read a CSV, ECSV, FITS or Parquet table.

    Arguments:
        path: The file; of a FITS file the first table.

    Raises:
        ReaderNotFound: There is no such file.
        MalformedCatalogue: It is no table, damaged, empty, or has two columns of one name.
    """
    source = open_source(path)
    readers = {"parquet": _parquet, "fits": _fits, "ecsv": _ecsv, "text": _csv}
    reader = readers.get(source.kind)
    if reader is None:
        raise MalformedCatalogue(
            str(path),
            expected="a CSV, ECSV, FITS or Parquet table",
            found=f"a {source.kind} file",
            remedy="Convert it to one of these formats.",
        )
    try:
        found = reader(source)
    except MalformedCatalogue:
        raise
    except (*_DAMAGE, pyarrow.ArrowException) as error:
        raise MalformedCatalogue(
            str(path),
            expected=f"a readable {source.kind} table",
            found=" ".join(str(error).split())[:200] or type(error).__name__,
            remedy="The file may be truncated or corrupt; fetch or write it again.",
        ) from error
    if not found.columns or not len(found):
        raise MalformedCatalogue(
            str(path),
            expected="a table with rows",
            found=f"{len(found.columns)} columns and {len(found)} rows",
            remedy="Give a table with a heading and one row per object.",
        )
    return found


def _unique(names: list[str], source: Source) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise MalformedCatalogue(
            f"{source.path.name}",
            expected="columns of different names",
            found=f"{twice[0]!r} {Counter(names)[twice[0]]} times",
            remedy="Rename or drop one of them.",
        )


def _arrow(table: pyarrow.Table, source: Source) -> Catalogue:
    _unique(table.column_names, source)
    columns = {}
    for name in table.column_names:
        values = table.column(name)
        kind = values.type
        if pyarrow.types.is_dictionary(kind):
            values, kind = values.cast(kind.value_type), kind.value_type
        if pyarrow.types.is_null(kind):
            columns[name] = np.full(len(values), np.nan)
        elif pyarrow.types.is_boolean(kind):
            columns[name] = values.cast(pyarrow.float64()).to_numpy()
        elif pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
            columns[name] = _text(values.to_numpy())
        elif pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind):
            columns[name] = values.cast(pyarrow.float64(), safe=False).to_numpy()
        # Dates, lists and other kinds are no variables; asking for one names what there is.
    return Catalogue(columns, {}, source.path.name)


def _csv(source: Source) -> Catalogue:
    # A comment in front of the heading, as many archives write it, is skipped.
    lines = source.head.decode("utf-8", "replace").splitlines()
    skipped = next((i for i, line in enumerate(lines) if not line.startswith("#")), 0)
    table = pyarrow.csv.read_csv(
        source.path,
        read_options=pyarrow.csv.ReadOptions(skip_rows=skipped),
        convert_options=pyarrow.csv.ConvertOptions(
            null_values=list(_MISSING), strings_can_be_null=True
        ),
    )
    table = table.rename_columns([name.strip() for name in table.column_names])
    return _arrow(table, source)


def _parquet(source: Source) -> Catalogue:
    names = pyarrow.parquet.read_schema(source.path).names
    _unique(names, source)
    return _arrow(pyarrow.parquet.read_table(source.path), source)


def _fits(source: Source) -> Catalogue:
    with fits.open(source.path) as hdus:
        index = next((i for i, hdu in enumerate(hdus) if not hdu.is_image), None)
        if index is None:
            raise MalformedCatalogue(
                source.path.name,
                expected="a FITS file with a table",
                found="images only",
                remedy="Give the file with the catalogue.",
            )
        _unique(list(hdus[index].columns.names), source)
    return _astropy(Table.read(source.path, hdu=index, unit_parse_strict="silent"), source)


def _ecsv(source: Source) -> Catalogue:
    return _astropy(Table.read(source.path, format="ascii.ecsv"), source)


def _astropy(table: Table, source: Source) -> Catalogue:
    columns, units = {}, {}
    for name in table.colnames:
        data = np.ma.asarray(table[name])
        if data.ndim != 1:
            continue
        if data.dtype.kind in "fiub":
            columns[name] = np.ma.filled(data.astype(np.float64), np.nan)
        elif data.dtype.kind in "USO":
            text = np.char.strip(np.ma.filled(data.astype(str), ""))
            masked = np.ma.getmaskarray(data)
            columns[name] = _text(np.where(masked, None, text.astype(object)))
        unit = table[name].unit
        if unit is not None and str(unit):
            units[name] = str(unit)
    return Catalogue(columns, units, source.path.name)


def _text(values: np.ndarray) -> np.ndarray:
    missing = np.isin(values.astype(str), _MISSING)
    return np.where(missing, None, values.astype(object))


def write_catalogue(
    columns: Mapping[str, np.ndarray], path: str | Path, units: Mapping[str, str] | None = None
) -> Path:
    """Write columns as CSV, ECSV, FITS or Parquet, by the suffix of the name.

    Arguments:
        columns: Arrays of one length.
        path: Where to; an existing file is replaced.
        units: Units by column, kept by ECSV and FITS.

    Raises:
        ConfigurationError: The suffix is none of these.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq", ".csv"):
        table = pyarrow.table({name: pyarrow.array(v) for name, v in columns.items()})
        if suffix == ".csv":
            pyarrow.csv.write_csv(table, path)
        else:
            pyarrow.parquet.write_table(table, path)
    elif suffix in (".ecsv", ".fits", ".fit"):
        table = Table({n: v.astype(str) if v.dtype == object else v for n, v in columns.items()})
        for name, unit in (units or {}).items():
            table[name].unit = unit
        table.write(path, format="ascii.ecsv" if suffix == ".ecsv" else "fits", overwrite=True)
    else:
        raise ConfigurationError(
            "path",
            expected="a name that ends in .csv, .ecsv, .fits or .parquet",
            found=repr(path.name),
            remedy="Choose one of these formats.",
        )
    return path
