"""One set of templates for all tests here; building it takes seconds."""

import copy

import pytest
import torch

from acie.physics import StellarPopulationModel, TemplateSet


@pytest.fixture(scope="session")
def physics():
    return StellarPopulationModel(TemplateSet.build())


@pytest.fixture(scope="session")
def physics64(physics):
    return copy.deepcopy(physics).double()


@pytest.fixture
def galaxy():
    """A star-forming galaxy in double precision, away from the nodes of every table."""
    values = {
        "stellar_mass": 2e10, "age": 5.3, "tau": 2.1, "metallicity": 0.013,
        "gas_metallicity": 8.6, "ionization_parameter": -3.1, "dust_av": 0.7, "dust_slope": -0.2,
        "velocity_dispersion": 130.0, "redshift": 0.11,
    }  # fmt: skip
    return {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}
