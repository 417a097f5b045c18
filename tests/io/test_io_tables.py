"""Tables and images: units, media, errors and redshifts are read, never assumed."""

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from acie.errors import MalformedSpectrum, UnitMismatch
from acie.io import identify, read, write_observation
from acie.io.noise import estimate_noise
from acie.io.units import parse_unit
from acie.observation import WAVELENGTH, Observation
from acie.results import QualityFlag

FLUX = 1e-17 * u.erg / u.s / u.cm**2 / u.AA


def _table(spectrum, **meta):
    wave, flux, error = spectrum
    return Table(
        {"wavelength": wave * u.AA, "flux": flux * FLUX, "error": error * FLUX}, meta=meta
    )


def _write(table, path):
    kind = {"ecsv": "ascii.ecsv", "csv": "ascii.csv"}.get(path.suffix[1:], path.suffix[1:])
    table.write(path, format=kind)
    return path


@pytest.fixture
def reference(spectrum, tmp_path):
    return read(_write(_table(spectrum, REDSHIFT=0.1), tmp_path / "reference.fits"))


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "parquet"])
def test_units_and_redshift_are_read(spectrum, reference, tmp_path, suffix):
    path = _write(_table(spectrum, REDSHIFT=0.1), tmp_path / f"a.{suffix}")
    observation = read(path)
    assert identify(path) == "table"
    assert float(observation.redshift) == 0.1
    assert int(observation.quality) == 0
    torch.testing.assert_close(observation.flux, reference.flux, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(observation.ivar, reference.ivar, rtol=1e-6, atol=1e-6)
    native = spectrum[1] / spectrum[2]
    assert float(observation.signal_to_noise) == pytest.approx(
        np.median(native) / np.sqrt(1.5), rel=0.05
    )


@pytest.mark.parametrize(
    ("wave_unit", "flux_unit"),
    [
        (u.nm, FLUX),
        (u.micron, u.W / u.m**2 / u.micron),
        (u.AA, u.mJy),
        (u.nm, u.erg / u.s / u.cm**2 / u.Hz),
        (u.GHz, u.Jy),
    ],
)
def test_units_are_converted(spectrum, reference, tmp_path, wave_unit, flux_unit):
    wave, flux, error = spectrum
    density = u.spectral_density(wave * u.AA)
    table = Table(
        {
            "wave": (wave * u.AA).to(wave_unit, u.spectral()),
            "flam": (flux * FLUX).to(flux_unit, density),
            "ivar": (error * FLUX).to(flux_unit, density) ** -2,
        }
    )
    observation = read(_write(table, tmp_path / "a.ecsv"), redshift=0.1)
    torch.testing.assert_close(observation.flux, reference.flux, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(observation.ivar, reference.ivar, rtol=1e-6, atol=1e-6)


def test_csv_needs_units_from_somewhere(spectrum, reference, tmp_path):
    wave, flux, error = spectrum
    bare = tmp_path / "bare.csv"
    _write(Table({"wavelength": wave, "flux": flux, "err": error}), bare)
    with pytest.raises(UnitMismatch, match="wave_unit='AA'"):
        read(bare, redshift=0.1)
    with pytest.raises(UnitMismatch, match="flux_unit="):
        read(bare, redshift=0.1, wave_unit="AA")
    given = read(bare, redshift=0.1, wave_unit="AA", flux_unit="1e-17 erg/s/cm2/AA")
    torch.testing.assert_close(given.flux, reference.flux)
    named = tmp_path / "named.csv"
    names = ["Wavelength [AA]", "flux [1e-17 erg/s/cm2/AA]", "err"]
    rows = "\n".join(",".join(map(repr, map(float, row))) for row in zip(*spectrum, strict=True))
    named.write_text("# redshift: 0.1\n" + ",".join(names) + "\n" + rows + "\n")
    torch.testing.assert_close(read(named).flux, reference.flux)
    assert float(read(named).redshift) == 0.1


def test_columns_apart_by_blanks(spectrum, reference, tmp_path):
    rows = "\n".join(" ".join(map(repr, map(float, row))) for row in zip(*spectrum, strict=True))
    path = tmp_path / "a.txt"
    path.write_text("# made up, for a test\nlambda flux error\n" + rows + "\n")
    observation = read(path, redshift=0.1, wave_unit="AA", flux_unit="1e-17 erg/s/cm2/AA")
    torch.testing.assert_close(observation.flux, reference.flux)


def test_loglam_is_log10_of_angstrom(spectrum, reference, tmp_path):
    wave, flux, error = spectrum
    table = Table({"loglam": np.log10(wave), "flux": flux * FLUX, "sigma": error * FLUX})
    observation = read(_write(table, tmp_path / "a.ecsv"), redshift=0.1)
    torch.testing.assert_close(observation.flux, reference.flux)


def test_air_and_vacuum(tmp_path):
    wave = np.arange(6000.0, 7000.0, 0.5)
    line = np.exp(-0.5 * ((wave - 6562.8) / 2) ** 2)
    columns = {"wavelength": wave * u.AA, "flux": line * FLUX, "error": np.ones(2000) * FLUX}

    def centre(**options):
        observation = read(tmp_path / "a.fits", redshift=0.1, **options)
        weight = observation.flux.numpy()
        return (weight * WAVELENGTH).sum() / weight.sum()

    Table(columns).write(tmp_path / "a.fits")
    assert centre() == pytest.approx(6562.8, abs=0.02)
    assert centre(medium="air") == pytest.approx(6564.61, abs=0.02)
    for meta in ({"AIRORVAC": "air"}, {"CTYPE1": "AWAV"}, {"VACUUM": False}, {"MEDIUM": "Air"}):
        Table(columns, meta=meta).write(tmp_path / "a.fits", overwrite=True)
        assert centre() == pytest.approx(6564.61, abs=0.02)
        assert centre(medium="vacuum") == pytest.approx(6562.8, abs=0.02)


def test_noise_is_estimated_and_flagged(spectrum, tmp_path):
    wave, flux, error = spectrum
    table = Table({"wavelength": wave * u.AA, "flux": flux * FLUX})
    observation = read(_write(table, tmp_path / "a.fits"), redshift=0.1)
    assert int(observation.quality) == QualityFlag.NOISE_ESTIMATED
    # A median of 300 deviates has a scatter of about 8 % here.
    np.testing.assert_allclose(estimate_noise(flux), error, rtol=0.35)
    assert np.mean(estimate_noise(flux) / error) == pytest.approx(1, abs=0.05)
    noiseless = Table({"wavelength": wave * u.AA, "flux": np.ones(wave.size) * FLUX})
    with pytest.raises(MalformedSpectrum, match="no scatter"):
        read(_write(noiseless, tmp_path / "b.fits"), redshift=0.1)


def test_redshift_of_file_argument_or_unknown(spectrum, tmp_path):
    path = _write(_table(spectrum), tmp_path / "a.fits")
    unknown = read(path)
    assert bool(unknown.redshift.isnan())
    assert unknown.meta["redshift_source"] == "missing"
    table = _table(spectrum)
    table["z"] = 0.2
    known = _write(table, tmp_path / "b.ecsv")
    assert float(read(known).redshift) == 0.2
    # NaN as an argument means that the file's redshift is not to be used.
    unused = read(known, redshift=float("nan"))
    assert bool(unused.redshift.isnan())
    assert unused.meta["redshift_source"] == "missing"


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "parquet"])
@pytest.mark.parametrize("many", [False, True])
def test_an_unknown_redshift_survives_writing(spectrum, tmp_path, suffix, many):
    path = _write(_table(spectrum), tmp_path / "a.fits")
    observation = read(path)
    if many:
        observation = Observation.stack([observation, read(path, redshift=0.2)])
    again = read(write_observation(observation, tmp_path / f"b.{suffix}"))
    torch.testing.assert_close(again.redshift, observation.redshift, equal_nan=True)


def test_masks_and_nan_pixels(spectrum, tmp_path):
    table = _table(spectrum, REDSHIFT=0.1)
    table["mask"] = np.zeros(len(table), int)
    table["mask"][1000:1010] = 4
    table["flux"][1000:1010] = 1e6
    table["flux"][2000:2010] = np.nan
    table["error"][3000:3010] = 0
    observation = read(_write(table, tmp_path / "a.fits"))
    for row in (1000, 2000, 3000):
        inside = np.abs(WAVELENGTH - spectrum[0][row + 4]) < 5
        assert not observation.ivar[inside].any()
        assert not observation.flux[inside].any()
    assert observation.flux.max() < 30
    assert int(observation.quality) == 0
    table["mask"][:3000] = 1
    observation = read(_write(table, tmp_path / "b.fits"))
    assert int(observation.quality) == QualityFlag.MASKED


def test_decreasing_wavelengths_are_turned(spectrum, reference, tmp_path):
    observation = read(_write(_table(spectrum)[::-1], tmp_path / "a.fits"), redshift=0.1)
    torch.testing.assert_close(observation.flux, reference.flux)


def test_resolving_power_of_the_header(spectrum, tmp_path):
    path = _write(_table(spectrum, REDSHIFT=0.1, SPEC_RP=2000.0), tmp_path / "a.fits")
    # Widened by the native pixel of 1.5 angstrom; the new one is left to the forward model.
    box = 1.5**2 / 12 * (299792.458 / 6600) ** 2
    expected = np.hypot(299792.458 / 2000 / 2.3548, np.sqrt(box))
    assert float(read(path).lsf[3000]) == pytest.approx(expected, rel=1e-3)


def test_image_through_specutils(spectrum, reference, tmp_path):
    wave, flux, error = spectrum
    hdu = fits.PrimaryHDU(flux)
    hdu.header.update(CRPIX1=1, CRVAL1=wave[0] / 10, CDELT1=0.15, CTYPE1="WAVE", CUNIT1="nm")
    hdu.header.update(BUNIT="1E-17 erg/cm^2/s/Ang", REDSHIFT=0.1)
    path = tmp_path / "image.fits"
    fits.HDUList([hdu, fits.ImageHDU(error**-2, name="IVAR")]).writeto(path)
    observation = read(path)
    assert identify(path) == "image"
    torch.testing.assert_close(observation.flux, reference.flux, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(observation.ivar, reference.ivar, rtol=1e-5, atol=1e-5)
    hdu.header["CTYPE1"] = "AWAV"
    fits.HDUList([hdu]).writeto(path, overwrite=True)
    air = read(path)
    assert air.meta["medium"] == "air"
    assert int(air.quality) == QualityFlag.NOISE_ESTIMATED
    del hdu.header["CUNIT1"]
    fits.HDUList([hdu]).writeto(path, overwrite=True)
    with pytest.raises(UnitMismatch, match="wave_unit"):
        read(path)


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "parquet"])
@pytest.mark.parametrize("many", [False, True])
def test_written_observations_come_back(spectrum, tmp_path, suffix, many):
    one = read(_write(_table(spectrum, REDSHIFT=0.1, OBJECT="a"), tmp_path / "a.fits"))
    two = read(_write(_table(spectrum, OBJECT="b"), tmp_path / "b.fits"), redshift=0.3)
    before = Observation.stack([one, two]) if many else two
    path = write_observation(before, tmp_path / f"out.{suffix}")
    after = read(path)
    for name in ("flux", "ivar", "lsf", "redshift"):
        torch.testing.assert_close(
            getattr(after, name), getattr(before, name), rtol=1e-12, atol=1e-12
        )
    assert torch.equal(after.quality, before.quality)
    assert after.names == before.names
    # A batch put together by hand has no provenance, so that of the file is added.
    assert before.meta.items() <= after.meta.items()


def test_single_galaxy_batch_keeps_its_spectrum(reference, tmp_path):
    path = write_observation(reference.batched(), tmp_path / "one.fits")
    torch.testing.assert_close(read(path).flux.reshape(-1), reference.flux)


@pytest.mark.parametrize(
    "text",
    [
        "1E-17 erg/cm^2/s/Ang",
        "10**-17 erg/(s cm2 Angstrom)",
        "1e-17 erg/s/cm2/A",
        "1.0E-17 erg s-1 cm-2 A-1",
        "1e-17 ergs/sec/cm**2/angstroms",
    ],
)
def test_spellings_of_surveys(text):
    assert parse_unit(text).to(FLUX) == pytest.approx(1.0)
