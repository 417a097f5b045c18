"""What must hold for every spectrum."""

import numpy as np
import pytest
import torch

from acie.observation import WAVELENGTH
from acie.refraction import air_to_vacuum


def changed(galaxy, **values):
    return galaxy | {name: torch.tensor(value, dtype=torch.float64).reshape(-1)
                     for name, value in values.items()}  # fmt: skip


def test_positive_and_linear_in_mass(physics, physics64, galaxy):
    spectrum = physics64(galaxy)
    assert spectrum.shape == (1, 6000)
    assert bool((spectrum > 0).all())
    tripled = physics64(changed(galaxy, stellar_mass=6e10))
    torch.testing.assert_close(tripled, 3.0 * spectrum, rtol=1e-12, atol=0)
    # Single precision is what training uses: 1e-4 of the median flux.
    single = physics(galaxy).double()
    assert float((single - spectrum).abs().max() / spectrum.median()) < 1e-4


def test_batches_and_broadcasting(physics64, galaxy):
    many = physics64(changed(galaxy, dust_av=[0.1, 0.7, 2.0]))
    torch.testing.assert_close(many[1], physics64(galaxy)[0], rtol=1e-10, atol=1e-12)
    grid = physics64(galaxy | {"dust_av": torch.tensor([[0.1], [0.7]], dtype=torch.float64)})
    assert grid.shape == (2, 1, 6000)
    torch.testing.assert_close(grid[1, 0], many[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("redshift", [0.02, 0.11, 0.31])
def test_halpha_is_where_it_should_be(physics64, galaxy, redshift):
    young = changed(galaxy, age=0.3, tau=5.0, dust_av=0.1, redshift=redshift)
    spectrum = physics64(young)[0].numpy()
    centre = float(air_to_vacuum(torch.tensor(6562.80).double())) * (1.0 + redshift)
    near = np.abs(WAVELENGTH - centre) < 12.0 * (1.0 + redshift)
    wave, flux = WAVELENGTH[near], spectrum[near]
    peak = flux.argmax()
    # Vertex of the parabola through the logarithms: exact for a Gaussian.
    a, b, c = np.log(flux[peak - 1 : peak + 2])
    position = wave[peak] + 0.5 * (a - c) / (a - 2.0 * b + c)
    assert abs(position - centre) < 0.5


def test_energy_balance(physics64, galaxy):
    a_v = torch.linspace(0.0, 4.0, 41).double()
    dust = physics64.read_outs({name: value.expand(41) for name, value in galaxy.items()}
                               | {"dust_av": a_v}).dust_luminosity  # fmt: skip
    assert float(dust[0]) == 0.0
    assert bool((dust.diff() > 0).all())
    # Never more than all the light there is: a wall of dust takes it all.
    wall = physics64.read_outs(changed(galaxy, dust_av=1e4, dust_slope=0.0)).dust_luminosity
    assert float(dust[-1]) < float(wall)


def test_little_dust_is_counted_exactly(physics, galaxy):
    thin, thinner = (physics.read_outs(changed(galaxy, dust_av=a)).dust_luminosity
                     for a in (1e-4, 1e-7))  # fmt: skip
    # Linear in A_V as A_V goes to 0; the second order is 0.4 ln(10) k A_V / 2 < 1e-3.
    assert float(thin / thinner) == pytest.approx(1000.0, rel=1e-3)


def test_dust_dims_every_pixel(physics64, galaxy):
    spectra = physics64(changed(galaxy, dust_av=[0.0, 0.5, 1.0, 3.0]))
    assert bool((spectra.diff(dim=0) < 0).all())


def test_read_outs(physics64, galaxy):
    read = physics64.read_outs(galaxy)
    fraction = float(read.surviving_fraction)
    # Kroupa IMF: about 45 % of the mass formed is returned after some Gyr.
    assert 0.5 < fraction < 0.7
    assert float(read.mass_formed * fraction / galaxy["stellar_mass"]) == pytest.approx(1.0)
    assert 0.0 < float(read.light_weighted_age) < float(read.mass_weighted_age) < 5.3
    masses = physics64.bin_masses(galaxy["age"], galaxy["tau"])
    assert float(masses.sum()) == pytest.approx(1.0, abs=1e-12)
    older = physics64.surviving_fraction(torch.tensor([0.5, 3.0, 13.0]).double(), galaxy["tau"])
    assert bool((older.diff() < 0).all())


def test_halpha_follows_star_formation(physics64, galaxy):
    # Kennicutt (1998): SFR = 7.9e-42 L(Halpha) for a Salpeter IMF, 0.67 of that for Kroupa. It is
    # an average over stellar metallicities, so 0.2 dex is asked for.
    steady = changed(galaxy, age=1.0, tau=1e4)
    read = physics64.read_outs(steady)
    # A rising history: SFR = 2 M_formed / age.
    rate = 2.0 * float(read.mass_formed) / 1e9
    ratio = 7.9e-42 * 0.67 * float(read.halpha_luminosity) / rate
    assert abs(np.log10(ratio)) < 0.2


def test_narrower_instrument_is_sharper(physics64, galaxy):
    young = changed(galaxy, age=0.3, tau=5.0, velocity_dispersion=60.0)
    heights = []
    for lsf in (60.0, 120.0, 200.0):
        excess = physics64.lsf_excess(young["redshift"], torch.full((1, 6000), lsf))
        heights.append(float(physics64(young, excess).max()))
    assert heights[0] > heights[1] > heights[2]
