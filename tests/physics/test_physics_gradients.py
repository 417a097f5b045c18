"""The gradient of every law against finite differences, in double precision."""

import pytest
import torch

from acie import refraction
from acie.physics import (
    FlatLambdaCDM,
    constraints,
    dust,
    interpolation,
    kinematics,
    sfh,
)

WAVE = torch.tensor([1000.0, 1500.0, 2300.0, 5500.0, 7000.0, 15000.0, 40000.0]).double()
EDGES = torch.tensor([0.0, 0.013, 0.17, 1.3, 4.1, 20.0]).double()


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def surviving(age, tau):
    return 0.6 + 0.1 * torch.exp(-age / tau)


def luminosity(old, young, slope, a_v):
    curve = dust.modified_calzetti_attenuation(WAVE, slope)
    return dust.absorbed_luminosity(old, young, curve, a_v, WAVE.diff(append=WAVE[-1:] * 1.5))


SPECTRUM = torch.rand(2, 32, generator=torch.Generator().manual_seed(0)).double()
SPECTRUM.requires_grad_()
LAWS = {
    "calzetti": (dust.calzetti2000_attenuation, (WAVE.clone().requires_grad_(),)),
    "bump": (dust.drude_bump, (leaf(1800.0, 2175.0, 2400.0),)),
    "modified_calzetti": (
        lambda slope, bump: dust.modified_calzetti_attenuation(WAVE, slope, bump),
        (leaf(-0.7, 0.3), leaf(1.0, 2.5)),
    ),
    "transmission": (dust.transmission, (leaf(2.0, 1.0, 0.3), leaf(0.8))),
    "absorbed": (luminosity, (SPECTRUM[:, :7], SPECTRUM[:, 7:14], leaf(-0.7, 0.3),
                              leaf(0.1, 1.2))),
    "bin_masses": (lambda t, tau: sfh.delayed_tau_bin_masses(t, tau, EDGES),
                   (leaf(0.9, 6.0), leaf(9.0, 0.7))),
    "specific_sfr": (sfh.delayed_tau_specific_sfr, (leaf(1e-2, 0.3, 2.0, 30.0),)),
    "specific_sfr_series": (sfh.delayed_tau_specific_sfr, (leaf(5e-4, 8e-4),)),
    "mass_weighted_age": (sfh.delayed_tau_mass_weighted_age, (leaf(1.0, 6.0), leaf(3.0, 0.4))),
    "solve_tau": (lambda t, q: sfh.DelayedTauSolver(surviving)(t, q),
                  (leaf(1.0, 6.0, 3.0), leaf(1.9, 0.3, 0.01))),
    "age_of_universe": (FlatLambdaCDM().age_gyr, (leaf(0.01, 0.5, 3.0),)),
    "distance": (FlatLambdaCDM().luminosity_distance_mpc, (leaf(0.01, 0.5, 3.0),)),
    "broaden_and_shift": (
        lambda f, v, z: kinematics.broaden_and_shift(f, v, z, 2e-4),
        (SPECTRUM, leaf(9e3, 4e4), leaf(2.1, 5.6)),
    ),
    "linear_weights": (
        lambda x: interpolation.linear_weights(x, torch.tensor([0.0, 1.0, 3.0]).double()),
        (leaf(-0.5, 0.25, 1.7, 3.2),),
    ),
    "vacuum_to_air": (refraction.vacuum_to_air, (leaf(1500.0, 3000.0, 9000.0),)),
    "air_to_vacuum": (refraction.air_to_vacuum, (leaf(1500.0, 3000.0, 9000.0),)),
    "virial": (constraints.virial_log_dispersion, (leaf(1e0, 2e1), leaf(1.0, 4.0))),
}  # fmt: skip


@pytest.mark.parametrize("name", LAWS)
def test_gradient(name):
    law, arguments = LAWS[name]
    arguments = tuple(a.detach().requires_grad_() for a in arguments)
    assert torch.autograd.gradcheck(law, arguments, eps=1e-6, atol=2e-6, rtol=1e-4)


PARAMETERS = ("stellar_mass", "age", "tau", "metallicity", "gas_metallicity",
              "ionization_parameter", "dust_av", "dust_slope", "velocity_dispersion",
              "redshift")  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_spectrum_gradient(physics64, galaxy, name):
    weight = torch.rand(6000, generator=torch.Generator().manual_seed(1)).double()

    def summary(value):
        return (physics64(galaxy | {name: value}) * weight).sum().log()

    value = galaxy[name].clone().requires_grad_()
    (slope,) = torch.autograd.grad(summary(value), value)
    step = 1e-5 * galaxy[name].abs()
    with torch.no_grad():
        rise = summary(galaxy[name] + step) - summary(galaxy[name] - step)
    torch.testing.assert_close(slope[0], (rise / (2 * step))[0], rtol=1e-4, atol=1e-9)
    assert slope.abs() > 0


def test_dust_luminosity_gradient(physics64, galaxy):
    names = ("age", "tau", "metallicity", "dust_av", "dust_slope")

    def law(*values):
        state = galaxy | dict(zip(names, values, strict=True))
        return physics64.read_outs(state).dust_luminosity.log()

    values = tuple(galaxy[name].clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(law, values, eps=1e-6, atol=1e-6, rtol=1e-4)
