"""Survey spectra as they are published."""

import numpy as np
import pytest
import torch
from astropy.io import fits

from acie.errors import MalformedSpectrum
from acie.io import identify, read, read_desi, rebin
from acie.io.desi import combine_arms, resolution_width
from acie.observation import WAVELENGTH
from acie.results import QualityFlag

# Redshift and median S/N per native pixel, from the description of the data.
GOOD = {
    "spec-0266-51630-0168": (0.0674, 23.7),
    "spec-0266-51630-0215": (0.0217, 13.9),
    "spec-0266-51630-0367": (0.0618, 34.3),
    "spec-0266-51630-0481": (0.1208, 18.8),
    "spec-0266-51630-0486": (0.1413, 14.5),
    "spec-0266-51630-0598": (0.0802, 16.1),
    "spec-0267-51608-0413": (0.0940, 12.8),
    "spec-0268-51633-0074": (0.0919, 16.1),
    "spec-0268-51633-0223": (0.0872, 20.5),
    "spec-0268-51633-0251": (0.0318, 5.6),
    "spec-0266-51602-0166": (0.0216, 40.0),
    "spec-0266-51630-0174": (0.0216, 42.0),
    "spec-0266-51602-0573": (0.2619, 5.4),
    "spec-3586-55181-0003": (0.5887, 2.1),
    "spec-1931-53358-0251": (1.1885, 24.5),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_good_sdss_file(sdss_folder, name):
    redshift, native_snr = GOOD[name]
    path = sdss_folder / f"{name}.fits"
    observation = read(path)
    assert identify(path) == "sdss"
    assert observation.flux.shape == (6000,)
    assert observation.flux.dtype == torch.float64
    assert observation.names == (name,)
    assert float(observation.redshift) == pytest.approx(redshift, abs=6e-5)
    # A pixel of 1 angstrom holds less light than a native one of 0.9 to 2.1 angstrom.
    loglam = fits.getdata(path, 1)["loglam"].astype(float)
    width = np.median(10**loglam) * np.log(10) * 1e-4
    expected = native_snr / np.sqrt(width)
    assert float(observation.signal_to_noise) == pytest.approx(expected, rel=0.25)
    assert float(observation.lsf.min()) > 50
    assert float(observation.lsf.max()) < 120
    warned = bool(int(observation.quality) & QualityFlag.REDSHIFT_ESTIMATED)
    assert warned == (name == "spec-3586-55181-0003")
    assert observation.meta["class"] == ("QSO" if redshift > 1 else "GALAXY")
    assert observation.meta["plate"] == int(name.split("-")[1])
    assert not (observation.ivar[np.abs(WAVELENGTH - 5578.9) < 7] > 0).any()


def test_resolution_of_sdss_is_wider_than_a_line_before_the_pixels(sdss_folder):
    path = sdss_folder / "spec-0266-51630-0367.fits"
    table, lsf = fits.getdata(path, 1), read(path).lsf
    wave = 10 ** table["loglam"].astype(float)
    near = np.abs(wave - 6000.0).argmin()
    # The mean over a native pixel of 69 km/s, and flux taken as constant within it.
    expected = 69.03 * np.sqrt(float(table["wdisp"][near]) ** 2 + 2.0 / 12.0)
    pixel = np.abs(WAVELENGTH - wave[near]).argmin()
    assert float(lsf[pixel]) == pytest.approx(expected, rel=5e-3)


def test_information_of_sdss_is_conserved(sdss_folder):
    table = fits.getdata(sdss_folder / "spec-0266-51630-0367.fits", 1)
    wave, ivar = 10 ** table["loglam"].astype(float), table["ivar"].astype(float)
    _, ivar_out = rebin(wave, table["flux"], ivar)
    # Lost: where sky lines make the inverse variance jump from pixel to pixel.
    assert 0.99 * ivar.sum() < ivar_out.sum() <= ivar.sum()


def test_emission_lines_are_at_vacuum_wavelengths(sdss_folder):
    observation = read(sdss_folder / "spec-0266-51630-0168.fits")
    flux = observation.flux.numpy()
    for rest in (6564.61, 5008.24, 4862.68):
        centre = rest * (1 + float(observation.redshift))
        near = np.abs(WAVELENGTH - centre) < 8
        above = np.clip(flux[near] - np.median(flux[np.abs(WAVELENGTH - centre) < 60]), 0, None)
        assert abs((above * WAVELENGTH[near]).sum() / above.sum() - centre) < 1.5


def test_against_the_resampler_of_specutils(sdss_folder):
    u = pytest.importorskip("astropy.units")
    from specutils import Spectrum
    from specutils.manipulation import FluxConservingResampler

    table = fits.getdata(sdss_folder / "spec-0266-51630-0367.fits", 1)
    wave, flux = 10 ** table["loglam"].astype(float), table["flux"].astype(float)
    part = slice(500, 3500)
    theirs = FluxConservingResampler()(
        Spectrum(spectral_axis=wave[part] * u.AA, flux=flux[part] * u.Jy),
        np.arange(4300.0, 8300.0) * u.AA,
    ).flux.value
    ours = rebin(wave, flux, np.ones(wave.size))[0][700:4700]
    assert np.median(np.abs(ours / theirs - 1)) < 0.001
    assert np.percentile(np.abs(ours / theirs - 1), 99) < 0.01


def test_the_same_galaxy_twice(sdss_folder):
    one = read(sdss_folder / "spec-0266-51602-0166.fits")
    two = read(sdss_folder / "spec-0266-51630-0174.fits")
    both = (one.ivar > 0) & (two.ivar > 0)
    assert both.sum() > 4000
    ratio = (one.flux / two.flux)[both].median()
    # SDSS states a spectrophotometric calibration of about 5 %.
    assert 0.85 < float(ratio) < 1.15


def test_dead_fibre_is_refused_and_named(sdss_folder):
    with pytest.raises(MalformedSpectrum, match=r"spec-0269-51581-0003.*dead"):
        read(sdss_folder / "spec-0269-51581-0003.fits")


def test_redshift_argument_replaces_the_file(sdss_folder):
    observation = read(sdss_folder / "spec-3586-55181-0003.fits", redshift=0.5)
    assert float(observation.redshift) == 0.5
    assert observation.meta["redshift_source"] == "argument"
    assert not int(observation.quality) & QualityFlag.REDSHIFT_ESTIMATED


def test_desi_coadd(desi_coadd):
    observation = read(desi_coadd)
    assert identify(desi_coadd) == "desi"
    assert observation.flux.shape == (6000,)
    assert float(observation.redshift) == pytest.approx(0.3687, abs=5e-5)
    assert (observation.ivar > 0).float().mean() > 0.99
    # Resolving powers of 2000 to 5500 (DESI data model), widened by rebinning.
    assert float(observation.lsf.min()) > 20
    assert float(observation.lsf.max()) < 75
    assert observation.meta["target_id"] == 39633345008634465


def test_desi_lines_are_where_the_redshift_puts_them(desi_coadd):
    # A star-forming galaxy: no 4000 angstrom break, but lines in all three arms.
    observation = read(desi_coadd)
    flux = observation.flux.numpy()
    for rest in (3728.8, 4862.68, 4960.30, 5008.24, 6564.61):
        centre = rest * (1 + float(observation.redshift))
        near = np.abs(WAVELENGTH - centre) < 6
        above = np.clip(flux[near] - np.median(flux[np.abs(WAVELENGTH - centre) < 60]), 0, None)
        assert above.max() > 3
        assert abs((above * WAVELENGTH[near]).sum() / above.sum() - centre) < 0.5


def test_desi_arms_agree_where_they_overlap(desi_coadd):
    with fits.open(desi_coadd) as hdus:
        arms = {
            arm: rebin(*(hdus[f"{arm}_{part}"].data for part in ("WAVELENGTH", "FLUX", "IVAR")))
            for arm in "BRZ"
        }
    for one, two in ("BR", "RZ"):
        (flux, ivar), (other, other_ivar) = [(a[0][0], a[1][0]) for a in (arms[one], arms[two])]
        both = (ivar > 0) & (other_ivar > 0)
        pull = (flux - other)[both] / np.sqrt(1 / ivar[both] + 1 / other_ivar[both])
        assert both.sum() > 30
        assert abs(pull.mean()) < 1
        assert 0.4 < pull.std() < 1.6


def test_combined_arms_weight_by_information():
    flux, ivar, lsf = combine_arms(
        [np.array([1.0, 5.0, 0.0])] + [np.array([3.0, 0.0, 0.0])],
        [np.array([1.0, 2.0, 0.0])] + [np.array([3.0, 0.0, 0.0])],
        [np.full(3, 40.0)] * 2,
    )
    np.testing.assert_allclose(flux, [2.5, 5.0, 0.0])
    np.testing.assert_allclose(ivar, [4.0, 2.0, 0.0])
    np.testing.assert_allclose(lsf, [40.0, 40.0, np.nan])


def test_resolution_width_of_a_known_matrix():
    wave = np.arange(4000.0, 4080.0, 0.8)
    offset = np.arange(5, -6, -1)[:, None]
    bands = np.exp(-0.5 * (offset / 1.2) ** 2) * np.ones(wave.size)
    width = resolution_width(wave, bands) / 299792.458 * wave
    np.testing.assert_allclose(width, 1.2 * 0.8, rtol=0.002)


def test_desi_without_redrock(desi_coadd, tmp_path):
    alone = tmp_path / "coadd-alone.fits"
    alone.write_bytes(desi_coadd.read_bytes())
    assert bool(read(alone).redshift.isnan())
    assert float(read(alone, redshift=0.37).redshift) == 0.37
    redrock = desi_coadd.with_name(desi_coadd.name.replace("coadd", "redrock"))
    assert float(read_desi(alone, redrock=redrock).redshift) == pytest.approx(0.3687, abs=5e-5)


def test_desi_with_many_targets(desi_coadd, tmp_path):
    """Three fibres: the target, a copy under another id, and a dead one."""
    many = tmp_path / "coadd-many.fits"
    with fits.open(desi_coadd) as hdus:
        for hdu in hdus[1:]:
            if hdu.name == "FIBERMAP":
                hdu.data = np.concatenate([hdu.data] * 3).view(fits.FITS_rec)
                hdu.data["TARGETID"] = [11, 12, 13]
            elif hdu.is_image and hdu.data.ndim > 1:
                hdu.data = np.concatenate([hdu.data] * 3)
                if hdu.name.endswith("IVAR"):
                    hdu.data[2] = 0
        hdus.writeto(many)
    observation = read(many, redshift=0.3687)
    assert observation.flux.shape == (2, 6000)
    assert observation.names == ("desi-11", "desi-12")
    assert observation.meta["left_out"] == [13]
    assert torch.equal(observation.flux[0], read(desi_coadd).flux)
