"""The delayed-exponential history against numerical integration."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from acie.physics.sfh import (
    DelayedTauSolver,
    delayed_tau_bin_masses,
    delayed_tau_mass_weighted_age,
    delayed_tau_specific_sfr,
)
from acie.physics.ssp import AGE_EDGES_YR

EDGES = torch.as_tensor(AGE_EDGES_YR * 1e-9)


def history(tau):
    return lambda t: t * np.exp(-t / tau)


@pytest.mark.parametrize(("age", "tau"), [(0.06, 3.0), (2.0, 0.3), (7.0, 900.0), (13.0, 4.0)])
def test_against_integration(age, tau):
    rate = history(tau)
    total, _ = quad(rate, 0.0, age)
    masses = delayed_tau_bin_masses(*torch.tensor([[age], [tau]]).double(), EDGES)[0].numpy()
    for index in (0, 5, 12, 20, 25, 33, 37):
        old, young = min(AGE_EDGES_YR[index + 1] * 1e-9, age), min(AGE_EDGES_YR[index] * 1e-9, age)
        expected = quad(rate, age - old, age - young, epsabs=0)[0] / total
        assert masses[index] == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert masses.sum() == pytest.approx(1.0, abs=1e-12)
    mean = quad(lambda t: (age - t) * rate(t), 0.0, age)[0] / total
    ours = delayed_tau_mass_weighted_age(*torch.tensor([age, tau]).double())
    assert float(ours) == pytest.approx(mean, rel=1e-5)
    ours = delayed_tau_specific_sfr(torch.tensor(age / tau).double())
    assert float(ours) == pytest.approx(rate(age) * age / total, rel=1e-6)


def test_specific_rate_limits():
    x = torch.logspace(-6, 1.6, 400, dtype=torch.float64)
    h = delayed_tau_specific_sfr(x)
    assert float(h[0]) == pytest.approx(2.0, abs=1e-5)
    assert bool((h < 2.0).all())
    assert bool((h.diff() < 0).all())


def test_solve_roundtrip():
    def surviving(age, tau):
        return 0.55 + 0.2 * torch.exp(-0.3 * age / tau)

    age = torch.linspace(0.1, 13.0, 50, dtype=torch.float64)
    tau = age / torch.logspace(-2, 1.4, 50, dtype=torch.float64)
    specific = delayed_tau_specific_sfr(age / tau) / surviving(age, tau)
    torch.testing.assert_close(DelayedTauSolver(surviving)(age, specific), tau, rtol=1e-8, atol=0)


def test_solve_beyond_the_range_stays_finite():
    age = torch.tensor([3.0, 3.0], dtype=torch.float64, requires_grad=True)
    tau = DelayedTauSolver(lambda a, t: 0.6 + 0 * a)(age, torch.tensor([1e-30, 50.0]).double())
    assert bool((tau > 0).all())
    assert float(tau[0].detach()) == pytest.approx(3.0 / 40.0, rel=1e-6)
    (slope,) = torch.autograd.grad(tau.sum(), age)
    assert bool(slope.isfinite().all())
