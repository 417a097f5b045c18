"""Transmission filled in between few points against the law at every pixel."""

import math

import pytest
import torch

from acie.physics.dust import BIRTH_CLOUD_RATIO, CALZETTI_BREAK, modified_calzetti_attenuation
from acie.physics.screen import DustScreen

FIRST, STEP, SIZE = 2150.0, 1.845e-4, 9000
WAVE = FIRST * torch.exp(STEP * torch.arange(SIZE, dtype=torch.float64))


@pytest.fixture(scope="module")
def screen():
    return DustScreen(FIRST, STEP, SIZE).double()


@pytest.mark.parametrize("pixels", [slice(None), slice(0, 1), slice(700, 6332), slice(5800, 5850)])
def test_it_is_the_law_at_every_pixel(screen, pixels):
    a_v = torch.tensor([0.0, 0.3, 1.0, 3.0]).double()[:, None]
    slope = torch.tensor([-1.2, 0.0, 0.4]).double()
    a_v, slope = torch.broadcast_tensors(a_v, slope)
    curve = modified_calzetti_attenuation(WAVE[pixels], slope)
    depth = 0.4 * math.log(10.0) * a_v[..., None] * curve
    old, young = screen(a_v, slope, pixels)
    # The logarithms are tabulated in single precision, rounded to 2**-24 of themselves; within a
    # block they change by up to 0.04. Interpolation between six Chebyshev points amplifies what
    # is wrong there by up to 2.1 (its Lebesgue constant).
    log = torch.log(WAVE[pixels] / 5500.0)
    calzetti = curve.log() - slope[..., None] * log
    size = calzetti.abs() + (slope[..., None] * log).abs() + 0.04
    rounding = 2.1 * 2.0**-24 * 1.04 * depth * size
    for passed, ratio in ((old, 1.0), (young, BIRTH_CLOUD_RATIO)):
        # And 2 I_6(0.42) of interpolation: the depth of young light changes by 0.42 at most from
        # the middle of a block to its end.
        error = (passed.log() + ratio * depth).abs()
        assert bool((error <= ratio * rounding + 2.4e-7).all())


def test_the_step_of_the_law_stays_sharp(screen):
    one = torch.ones(1, dtype=torch.float64)
    old, _ = screen(one, 0.0 * one, slice(None))
    before = int((WAVE < CALZETTI_BREAK).sum()) - 1
    change = old[0].log().diff()
    # The two branches differ by 0.0060 in A / A_V there; the curve moves by 2e-4 per pixel.
    step = 0.4 * math.log(10.0) * 0.0060
    assert float(change[before]) == pytest.approx(-step, rel=0.05)
    others = torch.cat([change[before - 200 : before], change[before + 1 : before + 200]])
    assert float(others.abs().max()) < 0.1 * step


def test_gradients(screen):
    a_v = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    slope = torch.tensor([-0.7, 0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, s: torch.cat(screen(a, s, slice(5810, 5840)), -1), (a_v, slope)
    )
