"""Every relation at values published with it or computed by independent codes."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from acie.physics import FlatLambdaCDM, virial_log_dispersion
from acie.simulation import load_relations
from acie.simulation import relations as law

TABLE = load_relations()


def state(**values):
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in values.items()}


def close(found, expected, atol):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=atol)


def mass(*log):
    return 10.0 ** np.array(log)


@pytest.mark.parametrize(
    ("redshift", "halo", "expected"),
    [(0.0, (11, 12, 13, 14), (9.006, 10.535, 10.988, 11.381)),
     (1.0, (11, 12, 13), (8.511, 10.309, 11.014))],
)  # fmt: skip
def test_moster2013(redshift, halo, expected):
    parents = state(halo_mass=mass(*halo), redshift=redshift)
    close(law.moster2013_log_mass(parents, TABLE["stellar_mass"]), expected, 6e-4)


@pytest.mark.parametrize(
    ("redshift", "expected"),
    [(0.0, (0.089, 0.490, 0.903, 0.996)), (1.0, (0.016, 0.346, 0.912, 0.999))],
)
def test_behroozi2019(redshift, expected):
    parents = state(halo_mass=mass(11, 12, 13, 14), redshift=redshift)
    close(law.behroozi2019_quenched_fraction(parents, TABLE["quenched"]), expected, 6e-4)


def test_popesso2023():
    cosmology = FlatLambdaCDM()
    redshift = brentq(lambda z: float(cosmology.age_gyr(torch.tensor(z).double())) - 12.2, 0, 1)
    parents = state(stellar_mass=mass(9.5, 10, 10.5, 11), redshift=redshift, quenched=0.0)
    expected = (-0.156, 0.154, 0.328, 0.402)
    close(law.popesso2023_log_sfr(parents, TABLE["sfr"]), expected, 6e-4)
    # Declared branch: a constant specific rate, with its own scatter.
    quenched = parents | state(quenched=1.0)
    found = law.popesso2023_log_sfr(quenched, TABLE["sfr"])
    close(found, np.array([9.5, 10, 10.5, 11]) - 11.9, 1e-9)
    close(law.sfr_scatter(quenched, TABLE["sfr"]), 0.45, 1e-6)
    close(law.sfr_scatter(parents, TABLE["sfr"]), 0.3, 1e-6)


def test_curti2020():
    parents = state(stellar_mass=mass(9, 10, 10, 11), sfr=mass(-0.5, 0.0, 0.5, 0.5))
    expected = (8.521, 8.715, 8.649, 8.776)
    close(law.curti2020_oxygen(parents, TABLE["gas_metallicity"]), expected, 6e-4)


def test_kashino_inoue2019():
    # (O/H, mass, specific rate per year): the second rate is 10^(9 - 9) Msun/yr.
    parents = state(stellar_mass=mass(10, 9), sfr=mass(0, 0), gas_metallicity=(8.7, 8.2))
    found = law.kashino_inoue2019_log_u(parents, TABLE["ionization_parameter"])
    close(found, (-3.456, -2.901), 6e-4)


GALLAZZI = np.array([
    # log mass, log Z/Zsun P50, P16, P84, log age/yr P50, P16, P84
    (8.91, -0.60, -1.11, -0.00, 9.06, 8.80, 9.46), (9.11, -0.61, -1.07, -0.00, 9.09, 8.81, 9.48),
    (9.31, -0.65, -1.10, -0.05, 9.11, 8.85, 9.44), (9.51, -0.61, -1.03, -0.01, 9.17, 8.89, 9.49),
    (9.72, -0.52, -0.97, 0.05, 9.23, 8.94, 9.57), (9.91, -0.41, -0.90, 0.09, 9.32, 9.00, 9.71),
    (10.11, -0.23, -0.80, 0.14, 9.46, 9.09, 9.85), (10.31, -0.11, -0.65, 0.17, 9.61, 9.23, 9.93),
    (10.51, -0.01, -0.41, 0.20, 9.73, 9.34, 9.98), (10.72, 0.04, -0.24, 0.22, 9.82, 9.48, 10.03),
    (10.91, 0.07, -0.14, 0.24, 9.87, 9.60, 10.06), (11.11, 0.10, -0.09, 0.25, 9.90, 9.67, 10.08),
    (11.31, 0.12, -0.06, 0.26, 9.92, 9.72, 10.09), (11.51, 0.13, -0.04, 0.28, 9.94, 9.75, 10.11),
    (11.72, 0.14, -0.03, 0.29, 9.95, 9.76, 10.12), (11.91, 0.15, -0.03, 0.30, 9.96, 9.77, 10.12),
])  # fmt: skip


def test_gallazzi2005():
    # Tolerances: the largest residuals of the smooth fits, and rounding.
    parents = state(stellar_mass=10.0 ** GALLAZZI[:, 0])
    metal = law.gallazzi2005_log_metallicity(parents, TABLE["metallicity"])
    close(metal - math.log10(0.02), GALLAZZI[:, 1], 0.0385)
    close(law.gallazzi2005_log_age(parents, TABLE["age"]) + 9.0, GALLAZZI[:, 4], 0.0165)
    width = law.gallazzi2005_scatter(parents, TABLE["metallicity"])
    close(width, (GALLAZZI[:, 3] - GALLAZZI[:, 2]) / 2, 0.0265)
    width = law.gallazzi2005_scatter(parents, TABLE["age"])
    close(width, (GALLAZZI[:, 6] - GALLAZZI[:, 5]) / 2, 0.0495)


def test_garn_best2010():
    # Star-forming galaxies: the fading with the specific rate is over at 1e-9 per year. The mass
    # 8.5 lies below the range and takes the value at 8.66.
    parents = state(stellar_mass=mass(8.5, 9, 10, 11), sfr=mass(0.5, 1, 2, 3))
    halpha = law.garn_best2010_av(parents, TABLE["dust_av"]) / 0.536
    x = 8.66 - 10.0
    lowest = 0.91 + 0.77 * x + 0.11 * x**2 - 0.09 * x**3
    close(halpha, (lowest, 0.340, 0.910, 1.700), 2.5e-3)
    assert lowest == pytest.approx(0.292, abs=1e-3)
    quiet = law.garn_best2010_av(state(stellar_mass=mass(11), sfr=mass(-3)), TABLE["dust_av"])
    close(quiet, [0.15 * 0.536 * 1.70], 1e-3)


def test_salim2018():
    nodes = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
    values = (-0.548, -0.264, -0.135, -0.067, 0.048, 0.166)
    close(law.salim2018_slope(state(dust_av=nodes), TABLE["dust_slope"]), values, 1e-6)
    between = law.salim2018_slope(state(dust_av=(0.3, 0.0, 5.0)), TABLE["dust_slope"])
    close(between, (-0.406, -1.005, 0.166), 1e-6)


def test_van_der_wel2014():
    parents = state(stellar_mass=5e10, redshift=0.25, quenched=(0.0, 1.0))
    size = 10.0 ** law.vanderwel2014_log_size(parents, TABLE["size"])
    close(size, (7.24, 3.98), 6e-3)
    close(law.vanderwel2014_scatter(parents, TABLE["size"]), (0.16, 0.10), 1e-6)
    half = parents | state(redshift=0.5)
    close(law.vanderwel2014_log_size(half, TABLE["size"]), (0.82, 0.51), 1e-6)


def test_virial():
    parents = state(stellar_mass=(8e10, 3e9), size=(4.0, 1.7))
    found = law.virial_log_dispersion(parents, TABLE["velocity_dispersion"])
    # Mdyn = 1e11 Msun (a fifth of it dark), Re = 4 kpc: 146.6 km/s.
    close(10.0 ** found[0], 146.6, 0.1)
    # The law of the physical constraints is the same one.
    close(found, virial_log_dispersion(parents["stellar_mass"], parents["size"]), 1e-12)


def test_oldest_age():
    parents = state(stellar_mass=1e10, sfr=(1e-3, 10.0), redshift=0.1)
    cosmic = FlatLambdaCDM().age_gyr(torch.tensor(0.1, dtype=torch.float64))
    close(law.oldest_age(parents), (float(cosmic), 2.0), 1e-9)


def test_tables_can_be_replaced(tmp_path):
    (tmp_path / "mine.toml").write_text("[sfr]\nscatter_dex = 0.2\n")
    mine = load_relations(tmp_path / "mine.toml")
    assert mine["sfr"]["scatter_dex"] == 0.2
    assert mine["sfr"]["main"] == TABLE["sfr"]["main"]
    assert all(section["source"] and section["status"] for section in TABLE.values())
