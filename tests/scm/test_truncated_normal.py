import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import log_ndtr

from acie.scm.truncated_normal import log_mass, noise_of_value, value_of_noise

INTERVALS = [
    (-math.inf, math.inf),
    (-1.0, 2.0),
    (-math.inf, 0.3),
    (0.3, math.inf),
    (-4.0, -3.5),
    (3.0, 3.1),
    (-12.0, -8.0),
    (-12.0, 6.0),
    (6.0, math.inf),
    (20.0, 21.0),
    (37.5, 60.0),
    (-60.0, -39.0),
    (300.0, 305.0),
    (-1e5, -1e4),
    (-5.5, -4.9999),
    (-5.5, -5.0001),
]


def tensors(*values):
    return [torch.as_tensor(value, dtype=torch.float64) for value in values]


@pytest.mark.parametrize(("lower", "upper"), INTERVALS)
def test_noise_is_recovered_between_any_bounds(lower, upper):
    noise = torch.linspace(-4.0, 4.0, 201, dtype=torch.float64)
    a, b = tensors(lower, upper)
    value = value_of_noise(noise, a, b)
    assert bool(((value >= lower) & (value <= upper)).all())
    assert bool((value.diff() > 0).all())
    # A value cannot be stored to better than its last digit, which the noise magnifies by
    # d noise / d value: the tolerance is that, and no more.
    point = value.clone().requires_grad_()
    recovered = noise_of_value(point, a, b)
    (slope,) = torch.autograd.grad(recovered.sum(), point)
    tolerance = 1e-12 + 8.0 * slope.abs() * value.abs() * 2.3e-16 + 1e-15 * slope.abs()
    assert bool(((recovered - noise).abs() <= tolerance).all())


@pytest.mark.parametrize(("lower", "upper"), INTERVALS)
def test_values_are_recovered_exactly(lower, upper):
    a, b = tensors(lower, upper)
    value = value_of_noise(torch.linspace(-5.0, 5.0, 101, dtype=torch.float64), a, b)
    again = value_of_noise(noise_of_value(value, a, b), a, b)
    torch.testing.assert_close(again, value, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("lower", "upper"), [(-1.0, 2.0), (-4.0, -3.5), (6.0, 9.0), (20.0, 21.0)])
def test_quantiles_agree_with_scipy(lower, upper):
    noise = np.linspace(-3.0, 3.0, 25)
    expected = stats.truncnorm.ppf(stats.norm.cdf(noise), lower, upper)
    got = value_of_noise(*tensors(noise, lower, upper)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize(("lower", "upper"), INTERVALS)
def test_log_mass_agrees_with_scipy(lower, upper):
    low, high = (-upper, -lower) if lower + upper > 0 else (lower, upper)
    expected = log_ndtr(high) + np.log1p(-np.exp(log_ndtr(low) - log_ndtr(high)))
    got = log_mass(*tensors(lower, upper)).item()
    assert got == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(
    ("lower", "upper"), [(-1.0, 2.0), (-4.0, -3.5), (6.0, 9.0), (-41.0, -40.0)]
)
@pytest.mark.parametrize("function", [value_of_noise, noise_of_value])
def test_gradients(function, lower, upper):
    points = torch.tensor([-1.5, 0.2, 1.1], dtype=torch.float64)
    a, b = tensors(lower, upper)
    if function is noise_of_value:
        points = value_of_noise(points, a, b)
    inputs = [points.requires_grad_(), a.requires_grad_(), b.requires_grad_()]
    assert torch.autograd.gradcheck(function, inputs, atol=1e-5)
    if upper - lower > 1.0:
        assert torch.autograd.gradgradcheck(function, inputs, atol=1e-4)


def test_gradients_of_the_mass():
    a, b = tensors([-1.0, 6.0, -41.0], [2.0, 9.0, -40.0])
    inputs = [a.requires_grad_(), b.requires_grad_()]
    assert torch.autograd.gradcheck(log_mass, inputs, atol=1e-5)
    assert torch.autograd.gradgradcheck(log_mass, inputs, atol=1e-4)


def test_an_empty_interval_has_no_value():
    noise, a, b = tensors([0.0, 0.0], [1.0, -9.0], [0.5, -10.0])
    assert bool(value_of_noise(noise, a, b).isnan().all())


def test_single_precision_keeps_its_type_and_its_tails():
    noise = torch.linspace(-3.0, 3.0, 7)
    a, b = torch.tensor(8.0), torch.tensor(12.0)
    value = value_of_noise(noise, a, b)
    assert value.dtype == torch.float32
    torch.testing.assert_close(noise_of_value(value, a, b), noise, atol=1e-3, rtol=0.0)


@pytest.mark.parametrize(("lower", "upper"), [(-1.0, 2.0), (-41.0, -40.0)])
@pytest.mark.parametrize("function", [value_of_noise, noise_of_value])
def test_function_transforms(function, lower, upper):
    points = torch.tensor([-0.5, 0.3], dtype=torch.float64)
    a, b = tensors(lower, upper)
    if function is noise_of_value:
        points = value_of_noise(points, a, b)
    forward = torch.func.jacfwd(function, argnums=(0, 1, 2))(points, a, b)
    reverse = torch.func.jacrev(function, argnums=(0, 1, 2))(points, a, b)
    for one, two in zip(forward, reverse, strict=True):
        torch.testing.assert_close(one, two)
    mapped = torch.func.vmap(function, in_dims=(0, None, None))(points, a, b)
    torch.testing.assert_close(mapped, function(points, a, b))
