"""The forward model at few pixels against the forward model."""

import pytest
import torch

from acie.physics import StellarPopulationModel, SubsetModel, TemplateSet

COUNT, GALAXIES = 24, 3


@pytest.fixture(scope="module")
def case():
    physics = StellarPopulationModel(TemplateSet.build())
    generator = torch.Generator().manual_seed(2)

    def uniform(low, high):
        draw = torch.rand(COUNT, GALAXIES, generator=generator, dtype=torch.float64)
        return low + (high - low) * draw

    state = {
        "stellar_mass": 10.0 ** uniform(9.5, 11.5),
        "age": uniform(1.0, 8.0),
        "tau": uniform(0.3, 5.0),
        "metallicity": uniform(0.004, 0.04),
        "gas_metallicity": uniform(8.0, 9.0),
        "ionization_parameter": uniform(-3.5, -2.0),
        "dust_av": uniform(0.0, 2.0),
        "dust_slope": uniform(-1.0, 0.4),
        "velocity_dispersion": torch.tensor([70.0, 150.0, 300.0]) * uniform(0.8, 1.2),
        "redshift": torch.tensor([0.05, 0.2, 0.5], dtype=torch.float64).expand(COUNT, -1),
    }
    redshift = state["redshift"][0]
    lsf = torch.tensor([[60.0], [75.0], [55.0]]) * torch.linspace(1.1, 0.9, 6000)
    excess = physics.lsf_excess(redshift, lsf)
    pixels = torch.stack([torch.arange(10 + shift, 5990, 41) for shift in (0, 7, 20)])
    sigma = state["velocity_dispersion"]
    model = SubsetModel(physics, redshift, excess, (sigma.amin(0), sigma.amax(0)), pixels)
    return physics, state, excess, pixels, model


def deviation(case, state):
    """Difference over the flux there, or over the typical flux where that is larger."""
    physics, _, excess, pixels, model = case
    whole = physics(state, excess).transpose(0, 1)
    expected = whole.gather(2, pixels[:, None].expand(-1, COUNT, -1))
    typical = torch.maximum(expected, whole.median(-1, keepdim=True).values)
    return (model(state) - expected).abs() / typical


def test_it_agrees_with_the_whole_spectrum(case):
    relative = deviation(case, case[1])
    assert float(relative.median()) < 1e-4
    assert float(relative.quantile(0.99)) < 1e-3
    # Dust comes after instead of before the broadening. The largest difference is at 6300
    # angstrom, where the two branches of the attenuation law do not quite meet.
    assert float(relative.max()) < 0.02


def test_without_dust_only_the_table_of_dispersions_is_left(case):
    state = {**case[1], "dust_av": torch.zeros_like(case[1]["dust_av"])}
    relative = deviation(case, state)
    # Five nodes over 40 % of dispersion, and single precision.
    assert float(relative[1:].max()) < 1e-4
    # Where the instrument resolves more than the templates the width is cut off at zero, at a
    # dispersion that lies between the nodes: measured 0.65 % on the flank of a strong line.
    assert float(relative[0].max()) < 0.01
