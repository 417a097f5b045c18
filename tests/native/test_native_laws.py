"""Compiled kernels of laws on natural scales, against the torch code that they stand for."""

import math

import pytest
import torch

from acie.native import available, kernels_off
from acie.scm import AdditiveNoiseMechanism, TruncatedNormalMechanism
from acie.scm.unconstrained import from_real
from acie.variables import Variable

pytestmark = pytest.mark.skipif(not available(), reason="there was no compiler")

#: Standardised bounds: around the centre, far out on either side, all but touching, impossible.
BOUNDS = [
    (-1.0, 2.0), (-math.inf, 0.3), (0.3, math.inf), (-12.0, 6.0), (-40.0, 40.0), (3.0, 3.1),
    (-12.0, -8.0), (-5.5, -4.9999), (-5.5, -5.0001), (20.0, 21.0), (-60.0, -39.0), (300.0, 305.0),
    (-1e5, -1e4), (0.1, 0.1001), (1.0, 1.0), (2.0, -2.0), (-math.inf, math.inf),
]  # fmt: skip


def both(function, *arguments):
    with torch.no_grad():
        ours = function(*arguments)
        with kernels_off():
            return ours, function(*arguments)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("count", [1, 5, 64])
def test_density_between_bounds(bounds, count):
    low, high = bounds
    width = min(high, low + 50.0) - low if math.isfinite(low) else 3.0
    start = low if math.isfinite(low) else min(high, 3.0) - 3.0
    value = start - 0.1 * width + 1.2 * width * torch.rand(count).double()
    value[-1] = math.nan if count > 1 else value[-1]
    mechanism = TruncatedNormalMechanism(0.0, 1.0, low, high)
    ours, theirs = both(mechanism.log_prob, value, {})
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_density_of_a_logarithm_with_parents():
    generator = torch.Generator().manual_seed(3)
    location, spread, top = (torch.rand(7, 11, generator=generator).double() for _ in range(3))
    parents = {"a": location, "b": 0.1 + spread, "c": 10.0 ** (1.0 + top)}
    mechanism = TruncatedNormalMechanism(
        lambda v: v["a"], lambda v: v["b"], 0.5, lambda v: v["c"], transform="log10"
    )
    value = 10.0 ** (3.0 * torch.rand(7, 11, generator=generator).double() - 1.0)
    value[0, :2] = torch.tensor([0.0, -1.0])
    ours, theirs = both(mechanism.log_prob, value, parents)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert 0 < int(ours.isinf().sum()) < ours.numel()


@pytest.mark.parametrize("transform", ["identity", "log10"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (13,), (3, 5)])
def test_density_without_bounds(transform, shape):
    location = torch.rand(2, *shape).double()
    mechanism = AdditiveNoiseMechanism(lambda v: v["a"], 0.3, transform=transform)
    value = 2.0 * torch.rand(shape).double()
    if value.numel() > 2:
        value.view(-1)[:3] = torch.tensor([0.0, -1.0, math.nan])
    ours, theirs = both(mechanism.log_prob, value, {"a": location})
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, equal_nan=True)
    # One number for all.
    ours, theirs = both(mechanism.log_prob, value, {"a": torch.tensor(0.2).double()})
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("transform", ["identity", "log10"])
@pytest.mark.parametrize("kind", ["numbers", "tensors", "none"])
def test_real_numbers_to_values(transform, kind):
    real = torch.cat([torch.linspace(-40.0, 40.0, 321), torch.tensor([-800.0, 800.0, math.nan])])
    real = real.double()
    low, high = {"numbers": (0.02, 500.0), "none": (-math.inf, math.inf)}.get(
        kind, (0.02, torch.linspace(1.0, 7.0, len(real)).double())
    )
    if kind == "none":
        low, real = (0.0 if transform == "log10" else low), real.clamp(-300.0, 300.0)
    variable = Variable("value", transform=transform)
    ours, theirs = both(from_real, real, variable, (low, high))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12, equal_nan=True)
    if kind != "none":
        assert bool(((ours[0] >= low) & (ours[0] <= high))[:-1].all())


def test_gradients_take_the_code_of_torch():
    value = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=True)
    density = TruncatedNormalMechanism(0.2, 0.5, 0.0, 1.0).log_prob(value, {})
    (slope,) = torch.autograd.grad(density.sum(), value)
    torch.testing.assert_close(slope, (0.2 - value.detach()) / 0.25)
