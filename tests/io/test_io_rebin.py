"""Laws of rebinning: flux and information are conserved, nothing is counted twice."""

import numpy as np
import pytest

from acie.errors import MalformedSpectrum
from acie.io.assembly import lsf_after_rebinning
from acie.io.rebin import pixel_edges, rebin
from acie.observation import WAVELENGTH
from acie.units import LIGHT_KM_S


def _sdss_grid():
    return 10 ** (3.58 + 1e-4 * np.arange(3850))


def test_edges_are_geometric_on_a_log_linear_grid():
    wave = _sdss_grid()
    edges = pixel_edges(wave)
    np.testing.assert_allclose(edges[1:-1], np.sqrt(wave[1:] * wave[:-1]), rtol=1e-14)
    np.testing.assert_allclose(edges[1:] / edges[:-1], 10**1e-4, rtol=1e-12)


@pytest.mark.parametrize("step", [0.4, 0.8, 1.3, 2.1])
def test_flux_and_information_are_conserved(step):
    rng = np.random.default_rng(0)
    wave = np.arange(4000.0, 9000.0, step)
    edges = pixel_edges(wave)
    flux = rng.normal(5, 1, wave.size)
    ivar = np.full(wave.size, 0.7)
    # Output pixels that begin and end with the input, so that nothing is cut off.
    out = np.linspace(edges[0], edges[-1], 5001)
    flux_out, ivar_out = rebin(wave, flux, ivar, edges=out)
    integral = (flux * np.diff(edges)).sum()
    np.testing.assert_allclose((flux_out * np.diff(out)).sum(), integral, rtol=1e-12)
    np.testing.assert_allclose(ivar_out.sum(), ivar.sum(), rtol=1e-9)


def test_information_is_never_gained_and_hardly_lost():
    rng = np.random.default_rng(1)
    wave = _sdss_grid()
    ivar = np.exp(rng.normal(0, 0.2, wave.size))
    _, ivar_out = rebin(wave, np.ones(wave.size), ivar)
    assert 0.98 * ivar.sum() < ivar_out.sum() <= ivar.sum()


def test_identity_on_equal_grids():
    rng = np.random.default_rng(2)
    flux, ivar = rng.normal(size=6000), rng.uniform(0.1, 2, 6000)
    flux_out, ivar_out = rebin(WAVELENGTH, flux, ivar)
    np.testing.assert_allclose(flux_out, flux, atol=1e-9)
    np.testing.assert_allclose(ivar_out, ivar, rtol=1e-9)


def test_linear_in_flux_and_vectorised():
    rng = np.random.default_rng(3)
    wave = _sdss_grid()
    one, two = rng.normal(size=(2, wave.size))
    ivar = rng.uniform(0.5, 2, wave.size)
    both = np.stack([one, two, 2 * one - 3 * two])
    out, ivar_out = rebin(wave, both, np.broadcast_to(ivar, both.shape))
    np.testing.assert_allclose(out[2], 2 * out[0] - 3 * out[1], atol=1e-10)
    np.testing.assert_allclose(out[0], rebin(wave, one, ivar)[0], atol=1e-12)
    np.testing.assert_allclose(ivar_out[0], ivar_out[2])


def test_naive_propagation_where_output_pixels_are_broader():
    wave = np.arange(3600.0, 9600.0, 0.25) - 0.375
    rng = np.random.default_rng(4)
    ivar = rng.uniform(0.5, 2, wave.size)
    _, ivar_out = rebin(wave, np.ones(wave.size), ivar)
    naive = 16 / (1 / ivar).reshape(-1, 4).sum(-1)
    np.testing.assert_allclose(ivar_out, naive, rtol=1e-9)


def test_bad_pixels_are_left_out():
    wave = np.arange(3600.0, 9600.0, 0.5) - 0.25
    flux = np.ones(wave.size)
    ivar = np.ones(wave.size)
    good = np.ones(wave.size, bool)
    flux[200], ivar[200] = 1e9, 0.0  # half of output pixel 100
    flux[400] = np.nan  # half of pixel 200
    flux[600:602], good[600:602] = 1e9, False  # all of pixel 300
    ivar[800] = np.nan  # half of pixel 400
    flux_out, ivar_out = rebin(wave, flux, ivar, good)
    np.testing.assert_allclose(flux_out[[100, 200, 400]], 1.0)
    np.testing.assert_allclose(ivar_out[[100, 200, 400]], 1.0)
    assert (flux_out[300], ivar_out[300]) == (0.0, 0.0)
    np.testing.assert_allclose(np.delete(ivar_out, [100, 200, 300, 400]), 2.0)


def test_less_than_half_covered_is_masked():
    wave = np.arange(4000.0, 5000.0, 1.0) + 0.4  # the first pixel covers 3999.9 to 4000.9
    flux, ivar = rebin(wave, np.ones(1000), np.ones(1000))
    good = np.flatnonzero(ivar)
    assert WAVELENGTH[good[0]] == 4000.0
    # The pixel at 5000 would be covered from 4999.5 to 4999.9 only.
    assert WAVELENGTH[good[-1]] == 4999.0
    np.testing.assert_allclose(flux[good], 1.0)


def test_correlated_pixels_are_not_counted_twice():
    """Fits of one amplitude: their scatter is what the inverse variance promises."""
    rng = np.random.default_rng(5)
    wave = np.arange(3600.0, 9600.0, 2.1)
    ivar = 1 / (1 + 0.3 * np.sin(wave / 300)) ** 2
    noise = rng.normal(size=(1000, wave.size)) / np.sqrt(ivar)
    flux, ivar_out = rebin(wave, noise, np.broadcast_to(ivar, noise.shape))
    for template in (np.ones(6000), 1 + 0.5 * np.sin(WAVELENGTH / 50)):
        information = (ivar_out[0] * template**2).sum()
        pull = (flux * ivar_out * template).sum(-1) / np.sqrt(information)
        # The variance of 1000 draws has a standard deviation of sqrt(2 / 1000) = 0.045.
        assert abs(pull.var() - 1) < 4 * 0.045
    chi2 = (flux**2 * ivar_out).sum(-1).mean()
    # There are 2857 measurements, not 6000; interpolated pixels are smoother still.
    assert chi2 < 1.01 * wave.size


def test_resolution_is_that_before_the_mean_over_a_pixel():
    """The second moment of a rebinned line, averaged over its position in the pixel."""
    wave = _sdss_grid()
    centre, width = 4500.0, 60.0 / LIGHT_KM_S * 4500.0
    moments = []
    # The two grids drift through all relative phases in 28 angstrom.
    for shift in np.linspace(-14, 14, 57):
        line = np.exp(-0.5 * ((wave - centre - shift) / width) ** 2)
        flux, _ = rebin(wave, line, np.ones(wave.size))
        near = np.abs(WAVELENGTH - centre) < 30
        grid, weight = WAVELENGTH[near], flux[near] / flux[near].sum()
        # Samples of averages over 1 angstrom have that width in their second moment.
        moments.append((weight * (grid - (weight * grid).sum()) ** 2).sum() - 1.0 / 12.0)
    expected = lsf_after_rebinning(wave, np.full(wave.size, 60.0))[900] / LIGHT_KM_S * 4500.0
    np.testing.assert_allclose(np.sqrt(np.mean(moments)), expected, rtol=0.01)


@pytest.mark.parametrize(
    "wave", [np.ones(10), np.arange(10.0), np.array([4000.0]), np.ones((2, 5)), np.full(5, np.nan)]
)
def test_impossible_wavelengths_are_refused(wave):
    with pytest.raises(MalformedSpectrum, match="wavelength"):
        pixel_edges(wave)


def test_shapes_must_agree():
    with pytest.raises(MalformedSpectrum, match="flux"):
        rebin(np.arange(4000.0, 4010.0), np.ones(9), np.ones(10))
