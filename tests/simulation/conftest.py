"""One forward model, and galaxies drawn from it, for all tests here."""

import pytest
import torch

from acie.physics import StellarPopulationModel, TemplateSet
from acie.simulation import Simulator, build_galaxy_scm


@pytest.fixture(scope="session")
def physics():
    return StellarPopulationModel(TemplateSet.build())


@pytest.fixture(scope="session")
def scm(physics):
    return build_galaxy_scm(physics)


@pytest.fixture(scope="session")
def simulator(scm, physics):
    return Simulator(scm, physics)


@pytest.fixture(scope="session")
def survey(simulator):
    return simulator.draw(48, torch.Generator().manual_seed(9))
