"""Published numbers and an independent code for the closed-form laws."""

import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM as Astropy

from acie.physics import FlatLambdaCDM
from acie.physics.dust import (
    calzetti2000_attenuation,
    drude_bump,
    modified_calzetti_attenuation,
    transmission,
)
from acie.physics.interpolation import linear_weights
from acie.refraction import air_to_vacuum, vacuum_to_air


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_calzetti_values():
    # Calzetti et al. 2000, equation 4, by hand: k(1 micron) = 2.659 (-1.857 + 1.040) + 4.05; and
    # k(0.12) from the blue branch; as published, the two
    # branches meet at 0.63 micron only to 0.025 in k.
    k = 4.05 * calzetti2000_attenuation(double(10000.0, 1200.0, 31500.0))
    blue = 2.659 * (-2.156 + 1.509 / 0.12 - 0.198 / 0.12**2 + 0.011 / 0.12**3) + 4.05
    torch.testing.assert_close(k, double(1.8776, blue, 0.0), rtol=0, atol=1e-4)
    edges = 4.05 * calzetti2000_attenuation(double(1199.999, 1200.001, 6299.999, 6300.001))
    assert abs(edges[0] - edges[1]) < 1e-4
    assert abs(edges[2] - edges[3]) < 0.026


def test_calzetti_at_halpha():
    # k(Halpha) = 3.326 is the value commonly quoted with R_V = 4.05.
    assert float(4.05 * calzetti2000_attenuation(double(6564.6))) == pytest.approx(3.326, abs=5e-3)


def test_modified_law_reduces_and_tilts():
    wave = double(1500.0, 2175.0, 5500.0, 9000.0)
    plain = modified_calzetti_attenuation(wave, double(0.0))[0]
    torch.testing.assert_close(plain, calzetti2000_attenuation(wave))
    steep = modified_calzetti_attenuation(wave, double(-0.5))[0]
    torch.testing.assert_close(steep, plain * (wave / 5500.0) ** -0.5)
    bump = modified_calzetti_attenuation(wave, double(0.0), double(2.0))[0] - plain
    torch.testing.assert_close(bump, 2.0 / 4.05 * drude_bump(wave))
    assert float(drude_bump(double(2175.0))) == pytest.approx(1.0, abs=1e-12)


def test_one_magnitude_dims_by_its_definition():
    assert float(transmission(double(1.0), double(2.5))) == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize(
    ("air", "vacuum"), [(6562.80, 6564.61), (5006.84, 5008.24), (4861.33, 4862.68)]
)
def test_air_and_vacuum(air, vacuum):
    assert float(air_to_vacuum(double(air))) == pytest.approx(vacuum, abs=0.01)
    assert float(vacuum_to_air(double(vacuum))) == pytest.approx(air, abs=0.01)


def test_air_vacuum_roundtrip():
    wave = torch.linspace(2000.0, 30000.0, 1000, dtype=torch.float64)
    torch.testing.assert_close(air_to_vacuum(vacuum_to_air(wave)), wave, rtol=0, atol=1e-8)
    assert float(vacuum_to_air(double(1500.0))) == 1500.0


def test_cosmology_against_astropy():
    z = np.array([0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0])
    # astropy without radiation, as ours.
    other = Astropy(70.0, 0.3, Tcmb0=0.0)
    ours = FlatLambdaCDM()
    age = ours.age_gyr(torch.as_tensor(z)).numpy()
    distance = ours.luminosity_distance_mpc(torch.as_tensor(z)).numpy()
    np.testing.assert_allclose(age, other.age(z).value, rtol=1e-5)
    np.testing.assert_allclose(distance, other.luminosity_distance(z).value, rtol=1e-5)


def test_linear_weights_interpolate():
    nodes = double(0.0, 1.0, 3.0, 4.5)
    x = torch.linspace(-1.0, 6.0, 57, dtype=torch.float64)
    weights = linear_weights(x, nodes)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(x))
    assert int((weights > 0).sum(-1).max()) == 2
    values = double(2.0, -1.0, 5.0, 0.5)
    expected = np.interp(x.numpy(), nodes.numpy(), values.numpy())
    np.testing.assert_allclose((weights @ values).numpy(), expected, atol=1e-12)
