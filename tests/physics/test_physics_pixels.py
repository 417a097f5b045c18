"""Means over observed pixels, and the templates' own pixels undone, against exact integrals."""

import math

import pytest
import torch

from acie.physics.kinematics import broaden_and_shift
from acie.physics.pixels import PixelWindow
from acie.physics.templates import REST_SIZE, REST_STEP, undo_pixel_mean
from acie.units import LIGHT_KM_S


def exact_mean(low, high, centre, sigma):
    """Mean over [low, high] of a Gaussian of unit peak."""
    scale = sigma * math.sqrt(2.0)
    area = torch.erf((high - centre) / scale) - torch.erf((low - centre) / scale)
    return area * sigma * math.sqrt(math.pi / 2.0) / (high - low)


def observed_line(window, centre, sigma_km_s):
    """A line of Gaussian shape in wavelength, through the filter and the pixels."""
    sigma = centre * sigma_km_s / LIGHT_KM_S
    line = torch.exp(-0.5 * ((window.wavelength - centre) / sigma) ** 2)[None]
    zero = torch.zeros(1, dtype=torch.float64)
    moved = broaden_and_shift(line, zero, zero, REST_STEP, gain=window.prefilter)
    return window.double().sample(moved)[0], sigma


def spline_error(sigma):
    """Bound on the error of a quintic spline through samples of a Gaussian of unit peak.

    At f cycles per pixel a share a of the spline is at f + k instead of at f (Unser 1999, section
    on approximation error): the error is at most 2 a. What the Gaussian has beyond half a cycle
    is lost, and appears elsewhere.
    """
    frequency = (torch.arange(4000, dtype=torch.float64) + 0.5) / 8000.0
    copies = torch.sinc(frequency + torch.arange(-40, 41)[:, None]).abs() ** 6
    share = 1.0 - copies[40] / copies.sum(0)
    content = sigma * math.sqrt(2.0 * math.pi)
    content = content * torch.exp(-2.0 * (math.pi * frequency * sigma) ** 2)
    beyond = math.erfc(math.pi * sigma / math.sqrt(2.0))
    return float((content * 2.0 * share).sum() / 4000.0) + 2.0 * beyond


@pytest.mark.parametrize("sigma_km_s", [45.0, 65.0, 110.0, 200.0])
@pytest.mark.parametrize("centre", [3700.3, 5000.0, 9400.45])
def test_a_pixel_holds_the_mean_of_a_line(centre, sigma_km_s):
    window = PixelWindow()
    flux, sigma = observed_line(window, centre, sigma_km_s)
    exact = exact_mean(window.instrument - 0.5, window.instrument + 0.5, centre, sigma)
    bound = spline_error(sigma_km_s / (LIGHT_KM_S * REST_STEP))
    # Single precision of the tables of weights besides.
    assert float((flux - exact).abs().max()) < bound + 1e-6


def test_the_second_moment_grows_by_that_of_the_pixel():
    window = PixelWindow()
    for centre in (3800.0, 6000.0, 9300.0):
        flux, sigma = observed_line(window, centre, 110.0)
        weight = flux / flux.sum()
        mean = (weight * window.instrument).sum()
        variance = float((weight * (window.instrument - mean) ** 2).sum())
        assert abs(float(mean) - centre) < 1e-4
        # Samples at the centres would have sigma**2, 0.083 square angstrom less.
        assert variance - sigma**2 == pytest.approx(1.0 / 12.0, abs=1e-3)


def test_flux_is_kept_where_the_spectrum_is_smooth():
    window = PixelWindow().double()
    log = torch.log(window.wavelength / 6000.0)
    smooth = 1.0 + 0.3 * torch.sin(20.0 * log)
    zero = torch.zeros(1, dtype=torch.float64)
    tapered = window.taper(smooth[None].clone())
    moved = broaden_and_shift(tapered, zero, zero, REST_STEP, gain=window.prefilter)
    at = 1.0 + 0.3 * torch.sin(20.0 * torch.log(window.instrument / 6000.0))
    # The mean over 1 angstrom differs from the value in the middle by f''/24 < 2e-6.
    torch.testing.assert_close(window.sample(moved)[0], at, rtol=0, atol=3e-6)


@pytest.mark.parametrize("sigma", [1.2, 2.0])
def test_values_come_back_from_means(sigma):
    pixel = torch.arange(REST_SIZE, dtype=torch.float64)
    centre = 4000.37
    means = exact_mean(pixel - 0.5, pixel + 0.5, centre, sigma)
    values = torch.exp(-0.5 * ((pixel - centre) / sigma) ** 2)
    # What the Gaussian has beyond half a cycle per pixel has folded over, in means and values.
    folded = 4.0 * math.erfc(math.pi * sigma / math.sqrt(2.0))
    assert float((undo_pixel_mean(means[None])[0] - values).abs().max()) < folded + 1e-12


def test_blocks_hold_the_taps():
    window = PixelWindow().double()
    values = torch.randn(
        2, window.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    index, weights = window.taps(torch.arange(6000))
    expected = sum(weight * values[:, index + tap] for tap, weight in enumerate(weights))
    torch.testing.assert_close(window.sample(values), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights.sum(0), torch.ones(6000).double(), rtol=0, atol=1e-6)
