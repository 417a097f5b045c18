"""Bad input raises an error of ACIE that names the file and says what to do."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from acie.errors import (
    ConfigurationError,
    DataError,
    MalformedSpectrum,
    ReaderNotFound,
    UnitMismatch,
)
from acie.io import identify, read, reader, write_observation
from acie.io.registry import _READERS

FLUX = 1e-17 * u.erg / u.s / u.cm**2 / u.AA


def _save(path, **columns):
    Table(columns, meta={"REDSHIFT": 0.1}).write(path, overwrite=True)
    return path


@pytest.fixture
def columns(spectrum):
    wave, flux, error = spectrum
    return {"wavelength": wave * u.AA, "flux": flux * FLUX, "error": error * FLUX}


def _refused(path, kind, match, **options):
    with pytest.raises(kind, match=match) as caught:
        read(path, **options)
    assert path.name in str(caught.value)
    assert caught.value.remedy


def test_missing_file_and_directory(tmp_path):
    _refused(tmp_path / "none.fits", ReaderNotFound, "no such file")
    _refused(tmp_path, ReaderNotFound, "directory")


@pytest.mark.parametrize(
    "content",
    [b"This is no spectrum.\n", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(5000), b"a,b\n1,2\n"],
)
def test_not_a_spectrum_under_the_name_of_one(tmp_path, content):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    _refused(path, ReaderNotFound, "no reader recognises")
    with pytest.raises(ReaderNotFound):
        identify(path)


def test_empty_file(tmp_path):
    (tmp_path / "a.fits").touch()
    _refused(tmp_path / "a.fits", MalformedSpectrum, "empty file")


@pytest.mark.parametrize("keep", [100, 2880, 10_000, 60_000])
def test_truncated_fits(tmp_path, columns, keep):
    whole = _save(tmp_path / "whole.fits", **columns)
    path = tmp_path / "cut.fits"
    path.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"cut\.fits"):
        read(path)


@pytest.mark.parametrize("keep", [2880, 40_000, 100_000])
def test_truncated_sdss_file(tmp_path, sdss_folder, keep):
    path = tmp_path / "spec.fits"
    path.write_bytes((sdss_folder / "spec-0266-51630-0168.fits").read_bytes()[:keep])
    with pytest.raises(DataError, match=r"spec\.fits"):
        read(path)


@pytest.mark.parametrize("suffix", ["parquet", "fits.gz"])
def test_truncated_parquet_and_gzip(tmp_path, columns, suffix):
    whole = _save(tmp_path / f"whole.{suffix}", **columns)
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole.read_bytes()[:20_000])
    _refused(path, DataError, "cut")


def test_gzipped_fits_is_read(tmp_path, columns):
    assert read(_save(tmp_path / "a.fits.gz", **columns)).flux.shape == (6000,)


def test_empty_tables(tmp_path, columns):
    none = {name: values[:0] for name, values in columns.items()}
    _refused(_save(tmp_path / "a.fits", **none), MalformedSpectrum, "0 rows")
    one = {name: values[:1] for name, values in columns.items()}
    _refused(_save(tmp_path / "b.fits", **one), MalformedSpectrum, "at least 2 pixels")


def test_missing_columns(tmp_path, columns):
    del columns["wavelength"]
    _refused(_save(tmp_path / "a.ecsv", **columns), MalformedSpectrum, "wavelength and flux")
    _refused(_save(tmp_path / "a.fits", **columns), DataError, "a.fits")


def test_all_nan_and_all_masked(tmp_path, columns):
    nan = columns | {"flux": np.full(len(columns["flux"]), np.nan) * FLUX}
    _refused(_save(tmp_path / "a.fits", **nan), MalformedSpectrum, "NaN or infinite in every")
    dead = columns | {"mask": np.ones(len(columns["flux"]), int)}
    _refused(_save(tmp_path / "b.fits", **dead), MalformedSpectrum, "leave this spectrum out")
    negative = columns | {"ivar": -np.ones(len(columns["flux"]))}
    _refused(_save(tmp_path / "c.fits", **negative), MalformedSpectrum, "negative")


@pytest.mark.parametrize("unit", [u.count, u.K, u.ABmag, u.erg / u.s, FLUX / u.arcsec**2])
def test_wrong_flux_units(tmp_path, columns, unit):
    if unit is u.ABmag:
        _refused(_save(tmp_path / "a.fits", **columns), UnitMismatch, "mag", flux_unit="mag(AB)")
        return
    bad = columns | {"flux": columns["flux"].value * unit, "error": columns["error"].value * unit}
    _refused(_save(tmp_path / "a.fits", **bad), UnitMismatch, "flux_unit")


def test_wrong_and_unknown_wavelength_units(tmp_path, columns):
    path = _save(tmp_path / "a.fits", **columns)
    _refused(path, UnitMismatch, "wave_unit", wave_unit="kg")
    _refused(path, UnitMismatch, "'parrots'", wave_unit="parrots")
    with pytest.raises(ConfigurationError, match="medium"):
        read(path, medium="water")


def test_no_overlap_with_the_grid(tmp_path, columns):
    path = _save(tmp_path / "a.fits", **columns)
    _refused(path, MalformedSpectrum, "overlap of 0 angstrom", wave_unit="micron")


def test_wrong_shapes(tmp_path, columns):
    wave, flux = columns["wavelength"], columns["flux"]
    two = {"wavelength": wave.reshape(2, -1), "flux": flux.reshape(2, -1)[:, :-5]}
    _refused(_save(tmp_path / "a.fits", **two), MalformedSpectrum, "shapes")
    shuffled = columns | {"wavelength": np.roll(wave, 7)}
    _refused(_save(tmp_path / "b.fits", **shuffled), MalformedSpectrum, "increasing")


def test_text_where_numbers_belong(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("wavelength [AA],flux [Jy]\n4000,1\n4001,oops\n")
    _refused(path, MalformedSpectrum, "numbers")


def test_image_of_many_rows_is_no_spectrum(tmp_path):
    fits.PrimaryHDU(np.ones((50, 60))).writeto(tmp_path / "a.fits")
    with pytest.raises(DataError, match=r"a\.fits"):
        read(tmp_path / "a.fits")


def test_unknown_suffix_to_write(tmp_path, columns):
    observation = read(_save(tmp_path / "a.fits", **columns))
    with pytest.raises(ConfigurationError, match=r"\.parquet"):
        write_observation(observation, tmp_path / "a.xyz")


def test_own_readers_can_be_registered(tmp_path, columns):
    known = read(_save(tmp_path / "a.fits", **columns))
    before = list(_READERS)
    try:

        @reader("mine", identify=lambda source: source.head.startswith(b"MINE"))
        def _mine(source, options):
            return known

        path = tmp_path / "a.dat"
        path.write_bytes(b"MINE" + bytes(10))
        assert identify(path) == "mine"
        assert read(path).meta["file"] == "a.fits"
    finally:
        _READERS[:] = before
