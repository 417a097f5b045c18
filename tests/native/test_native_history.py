"""Compiled kernels of histories and of their light, against the torch code that they stand for."""

import math

import pytest
import torch

import acie
from acie.native import available, kernels_off
from acie.physics.sfh import DelayedTauSolver, delayed_tau_specific_sfr
from acie.replay import Replay

pytestmark = pytest.mark.skipif(not available(), reason="there was no compiler")


@pytest.fixture(scope="module")
def physics():
    return acie.load("galaxy-v1").physics


def by_torch(function, *arguments):
    with torch.no_grad(), kernels_off():
        return function(*arguments)


def by_kernels(function, *arguments):
    with torch.no_grad():
        return function(*arguments)


def logarithmic(low, high, count, generator):
    unit = torch.rand(count, generator=generator, dtype=torch.float64)
    return torch.exp(math.log(low) + (math.log(high) - math.log(low)) * unit)


@pytest.fixture
def histories():
    """Ages and time scales over the range of the model and beyond, an odd number of them."""
    generator = torch.Generator().manual_seed(1)
    age = logarithmic(0.04, 14.0, 4003, generator)
    tau = age / logarithmic(1e-4, 700.0, 4003, generator)
    # Around the change of formula.
    tau[:50] = age[:50] / torch.linspace(0.2499, 0.2501, 50, dtype=torch.float64)
    return age, tau


def test_surviving_fraction(physics, histories):
    ours = by_kernels(physics.surviving_fraction, *histories)
    theirs = by_torch(physics.surviving_fraction, *histories)
    # The masses of torch lose 2 eps / x.
    bound = 1e-12 + 1e-15 * histories[1] / histories[0]
    assert bool(((ours / theirs - 1.0).abs() < bound).all())


def test_root_of_the_solver(physics, histories):
    age, tau = histories
    solver = DelayedTauSolver(physics.surviving_fraction, physics.history)
    x = age / tau
    surviving = by_torch(physics.surviving_fraction, age, tau)
    specific = by_torch(delayed_tau_specific_sfr, x) / surviving
    ours, theirs = by_kernels(solver, age, specific), by_torch(solver, age, specific)
    inside = (x > 2e-4) & (x < 39.0)
    # The rate hardly depends on x where it is small: rounding then moves the root.
    bound = 1e-9 + 4e-15 / x.square()
    assert bool(((ours / theirs).log().abs() < bound)[inside].all())
    assert bool(((ours / tau).log().abs() < 1e-8)[inside & (x > 0.1)].all())
    assert bool((ours.isfinite() & (ours > 0.0)).all())


def test_rates_that_no_history_has(physics):
    solver = DelayedTauSolver(physics.surviving_fraction, physics.history)
    age = torch.tensor([3.0, 3.0, 1e-3, 30.0, math.nan, 3.0], dtype=torch.float64)
    specific = torch.tensor([1e-30, 50.0, 1.0, 1.0, 1.0, math.nan], dtype=torch.float64)
    ours, theirs = by_kernels(solver, age, specific), by_torch(solver, age, specific)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0.0, equal_nan=True)
    assert by_kernels(solver, age[:0], specific[:0]).shape == (0,)


def states(count, physics):
    generator = torch.Generator().manual_seed(2)
    grid, ions = (table.double() for table in (physics.templates.metallicity,
                                               physics.templates.log_u))  # fmt: skip
    state = {
        "stellar_mass": logarithmic(1e6, 1e13, count, generator),
        "age": logarithmic(0.05, 13.5, count, generator),
        "tau": logarithmic(0.05, 1e6, count, generator),
        "metallicity": logarithmic(1e-5, 0.2, count, generator),
        "gas_metallicity": 6.0 + 4.0 * torch.rand(count, generator=generator).double(),
        "ionization_parameter": -5.0 + 5.0 * torch.rand(count, generator=generator).double(),
        "redshift": logarithmic(0.005, 0.6, count, generator),
    }
    # On the nodes themselves.
    for name, nodes in (("metallicity", grid), ("ionization_parameter", ions)):
        few = min(count, len(nodes))
        state[name][:few] = nodes[:few]
    return state


@pytest.mark.parametrize("count", [0, 1, 3, 501])
@pytest.mark.parametrize("observed", [True, False])
def test_coefficients(physics, count, observed):
    state = states(count, physics)
    ours = by_kernels(physics.coefficients, state, observed)
    theirs = by_torch(physics.coefficients, state, observed)
    # Of either kind there may be far less than what rounding leaves of the other.
    scale = torch.cat(theirs, -1).abs().amax(-1, keepdim=True)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert bool(((one - other).abs() <= 1e-6 * scale).all())


def test_coefficients_of_what_is_not_a_number(physics):
    whole = states(8, physics)
    for place, name in enumerate(whole):
        whole[name][place] = math.nan
    ours = torch.cat(by_kernels(physics.coefficients, whole), -1)
    theirs = torch.cat(by_torch(physics.coefficients, whole), -1)
    assert torch.equal(ours.isnan().any(-1), theirs.isnan().any(-1))


def test_axes_of_any_order(physics):
    state = {name: value.view(21, 13).T for name, value in states(273, physics).items()}
    old, young = by_kernels(physics.coefficients, state)
    flat = {name: value.flatten() for name, value in state.items()}
    expected = by_kernels(physics.coefficients, flat)
    assert torch.equal(old, expected[0].view_as(old))
    assert torch.equal(young, expected[1].view_as(young))


def test_gradients_take_the_code_of_torch(physics):
    state = states(5, physics)
    age = state["age"].requires_grad_()
    old, _ = physics.coefficients(state)
    (slope,) = torch.autograd.grad(old.sum(), age)
    assert bool((slope.isfinite() & (slope != 0.0)).all())


def test_a_recording_holds_the_kernels(physics):
    state, replay = states(40, physics), Replay(patience=1)
    with torch.inference_mode():
        for _ in range(3):
            found = replay("light", physics.coefficients, state)
        assert replay.recorded() == ["light"]
        other = {name: value[:17] for name, value in state.items()}
        again = replay("light", physics.coefficients, other)
    assert all(torch.equal(one, other[:17]) for one, other in zip(again, found, strict=True))
