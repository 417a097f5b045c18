"""Broadening and redshift of a line whose answer is known."""

import math

import torch

from acie.physics.kinematics import broaden_and_shift
from acie.units import LIGHT_KM_S

STEP = 1.8e-4
SIZE = 2048
LOG_WAVE = STEP * torch.arange(SIZE, dtype=torch.float64)
CENTRE = STEP * 700


def line(sigma_km_s):
    return torch.exp(-0.5 * ((LOG_WAVE - CENTRE) / (sigma_km_s / LIGHT_KM_S)) ** 2)


def moments(spectrum):
    total = spectrum.sum(-1)
    mean = (spectrum * LOG_WAVE).sum(-1) / total
    variance = (spectrum * (LOG_WAVE - mean[..., None]) ** 2).sum(-1) / total
    return total, mean, variance.sqrt() * LIGHT_KM_S


def test_gaussian_line_adds_in_quadrature_and_moves():
    sigma = torch.tensor([0.0, 90.0, 300.0]).double()
    redshift = torch.tensor([0.01, 0.0, 0.1]).double()
    moved = broaden_and_shift(
        line(120.0).expand(3, -1), sigma**2, torch.log1p(redshift) / STEP, STEP
    )
    total, mean, width = moments(moved)
    torch.testing.assert_close(total, line(120.0).sum().expand(3), rtol=1e-10, atol=0)
    torch.testing.assert_close(mean, CENTRE + torch.log1p(redshift), rtol=0, atol=1e-9)
    torch.testing.assert_close(width, (120.0**2 + sigma**2).sqrt(), rtol=1e-6, atol=0)


def test_single_precision_keeps_the_shift():
    # The phase reaches thousands of radians; 1e-3 of a pixel is 0.05 km/s.
    z = torch.tensor(0.1).double()
    moved = broaden_and_shift(
        line(120.0).float(), torch.tensor(400.0), torch.log1p(z) / STEP, STEP
    )
    _, mean, _ = moments(moved.double().clamp(min=1e-6) - 1e-6)
    assert abs(float(mean) - CENTRE - math.log1p(float(z))) < 1e-3 * STEP
