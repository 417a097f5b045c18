"""Catalogues: the same columns from every format, gaps included."""

import gzip

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from acie.errors import ConfigurationError, MalformedCatalogue, ReaderNotFound
from acie.io import read_catalogue, same_unit, write_catalogue

COLUMNS = {
    "mass": np.array([1e9, np.nan, 3.5e11]),
    "kind": np.array(["disc", None, "red one"], dtype=object),
    "count": np.array([0.0, 2.0, 1.0]),
}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_written_is_read(tmp_path, suffix):
    found = read_catalogue(write_catalogue(COLUMNS, tmp_path / f"table.{suffix}"))
    assert list(found.columns) == list(COLUMNS)
    for name, values in COLUMNS.items():
        np.testing.assert_array_equal(found.columns[name], values)


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_astropy_tables_with_units_and_masks(tmp_path, suffix):
    table = Table()
    table["mass"] = MaskedColumn(COLUMNS["mass"], mask=[False, True, False], unit="solMass")
    table["kind"] = MaskedColumn(["disc", "", "red one"], mask=[False, True, False])
    table["count"] = [0, 2, 1]
    table["flag"] = [True, False, True]
    table["vector"] = np.zeros((3, 2))
    table.write(tmp_path / f"t.{suffix}", format={"ecsv": "ascii.ecsv", "fits": "fits"}[suffix])
    found = read_catalogue(tmp_path / f"t.{suffix}")
    # A vector in a cell is no variable.
    assert list(found.columns) == ["mass", "kind", "count", "flag"]
    for name, values in COLUMNS.items():
        np.testing.assert_array_equal(found.columns[name], values)
    assert found.columns["flag"].tolist() == [1.0, 0.0, 1.0]
    assert same_unit(found.units["mass"], "Msun")


def test_comments_before_the_heading_and_words_for_missing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# from an archive\nx, y\n1,a\nNaN,NA\n3,b\n", "utf-8")
    found = read_catalogue(path)
    np.testing.assert_array_equal(found.columns["x"], [1.0, np.nan, 3.0])
    assert found.columns["y"].tolist() == ["a", None, "b"]


def test_gzipped_fits(tmp_path):
    Table({"a": [1.0, 2.0]}).write(tmp_path / "t.fits")
    packed = tmp_path / "t.fits.gz"
    packed.write_bytes(gzip.compress((tmp_path / "t.fits").read_bytes()))
    assert read_catalogue(packed).columns["a"].tolist() == [1.0, 2.0]


def test_refusals(tmp_path):
    with pytest.raises(ReaderNotFound):
        read_catalogue(tmp_path)
    with pytest.raises(ConfigurationError, match="parquet"):
        write_catalogue(COLUMNS, tmp_path / "t.txt")
    (tmp_path / "t.ecsv").write_text("# %ECSV 1.0\n# ---\nbroken", "utf-8")
    with pytest.raises(MalformedCatalogue):
        read_catalogue(tmp_path / "t.ecsv")


def test_units_however_they_are_written():
    assert same_unit("km / s", "km s-1")
    assert not same_unit("km/s", "m/s")
    assert same_unit("dex(my)", "dex(my)")
    assert not same_unit("nonsense", "km/s")
