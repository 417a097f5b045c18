"""Shards: the same rows from Parquet, FITS and HDF5, and what is refused."""

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from acie.errors import (
    ConfigurationError,
    DataError,
    MalformedCatalogue,
    MalformedSpectrum,
    UnitMismatch,
)
from acie.io import read_shard, write_arrays, write_observation, write_shard
from acie.observation import WAVELENGTH, Observation

FORMATS = (".parquet", ".fits", ".h5")


@pytest.fixture
def spectra():
    generator = torch.Generator().manual_seed(5)
    flux = 3.0 + torch.rand((3, WAVELENGTH.size), generator=generator)
    ivar = 4.0 + torch.rand(flux.shape, generator=generator)
    ivar[1, 100:200] = 0.0
    return Observation(
        flux=torch.where(ivar > 0, flux, 0.0), ivar=ivar, lsf=torch.full_like(flux, 60.0),
        redshift=torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), names=("a", "b", "c"),
    )  # fmt: skip


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_written_is_read(spectra, tmp_path, suffix):
    path = write_shard(spectra, tmp_path / f"s{suffix}", {"value.age": np.arange(3.0)})
    shard = read_shard(path)
    assert shard.ids == ("a", "b", "c")
    for index in range(3):
        row = shard.row(index)
        assert row.names == (shard.ids[index],)
        for name in ("flux", "ivar", "lsf", "redshift"):
            assert torch.equal(getattr(row, name), getattr(spectra[index], name).double())


@pytest.mark.parametrize("suffix", FORMATS)
def test_half_of_a_file_is_refused(spectra, tmp_path, suffix):
    path = write_shard(spectra, tmp_path / f"s{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MalformedSpectrum, match="truncated or corrupt"):
        read_shard(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_bad_row_is_refused_when_it_is_taken(spectra, tmp_path, suffix):
    broken = spectra.flux.numpy().copy()
    path = tmp_path / f"s{suffix}"
    write_shard(spectra, path)
    broken[1] = np.nan
    columns = {
        "flux": broken, "ivar": spectra.ivar.numpy(), "redshift": spectra.redshift.numpy(),
    }  # fmt: skip
    if suffix == ".parquet":
        write_arrays(columns, path)
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, values in columns.items():
                file[name] = values
    else:
        from astropy.table import Table

        Table(columns).write(path, overwrite=True)
    shard = read_shard(path)
    assert shard.ids == ("s-0", "s-1", "s-2")
    assert torch.isfinite(shard.row(0).flux).all()
    with pytest.raises(DataError, match="NaN or infinite in every pixel"):
        shard.row(1)
    assert float(shard.row(2).redshift) == 0.3


def test_lists_of_another_length_and_missing_ones_are_refused_one_by_one(tmp_path):
    good = [1.0 + 0.001 * i for i in range(WAVELENGTH.size)]
    table = pyarrow.table(
        {
            "flux": pyarrow.array([good, good[:10], None], pyarrow.list_(pyarrow.float32())),
            "ivar": pyarrow.array([good, good, good], pyarrow.list_(pyarrow.float64())),
            "targetid": [7, 8, 9],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "s.parquet")
    shard = read_shard(tmp_path / "s.parquet")
    assert shard.ids == ("7", "8", "9")
    # No redshift in the file: NaN, for the engine to refuse or to estimate.
    assert torch.isnan(shard.row(0).redshift)
    for index in (1, 2):
        with pytest.raises(MalformedSpectrum, match="one per wavelength"):
            shard.row(index)


def test_hdf5_on_its_own_pixels(tmp_path):
    wave = np.arange(3700.0, 9300.0, 2.0)
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["flux"], file["ivar"] = np.full((2, wave.size), 5.0), np.ones((2, wave.size))
        file["redshift"], file["wavelength"] = [0.1, 0.2], wave
    row = read_shard(tmp_path / "s.h5").row(1)
    good = row.ivar > 0
    assert torch.allclose(row.flux[good], torch.tensor(5.0, dtype=torch.float64))
    assert 5500 < int(good.sum()) < 5700


def test_tables_with_wavelengths_are_shards_as_well(spectra, tmp_path):
    shard = read_shard(write_observation(spectra, tmp_path / "w.fits"))
    assert len(shard) == 3
    assert shard.row(2).names == ("c",)
    assert torch.equal(shard.row(2).flux, spectra[2].flux.double())


def test_columns_that_do_not_fit(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["flux"], file["ivar"] = np.ones((2, 6000)), np.ones((3, 6000))
    with pytest.raises(MalformedCatalogue, match="flux 2, ivar 3"):
        read_shard(tmp_path / "s.h5")
    with h5py.File(tmp_path / "n.h5", "w") as file:
        file["flux"] = np.ones((2, 6000))
    with pytest.raises(MalformedCatalogue, match="a column ivar"):
        read_shard(tmp_path / "n.h5")
    pyarrow.parquet.write_table(
        pyarrow.table({"flux": ["a"], "ivar": ["b"]}), tmp_path / "t.parquet"
    )
    with pytest.raises(MalformedCatalogue, match="lists of numbers"):
        read_shard(tmp_path / "t.parquet")


def test_another_unit_is_refused(spectra, tmp_path):
    path = write_shard(spectra, tmp_path / "s.h5")
    with h5py.File(path, "a") as file:
        file["flux"].attrs["unit"] = "Jy"
    with pytest.raises(UnitMismatch, match="Jy"):
        read_shard(path)


def test_an_unknown_suffix(spectra, tmp_path):
    with pytest.raises(ConfigurationError, match=".parquet, .fits or .h5"):
        write_shard(spectra, tmp_path / "s.csv")
