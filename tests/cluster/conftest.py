"""One real local Ray for all tests of this folder, and a small catalogue."""

import os

import pytest
import torch

import acie
from acie.seeds import SeedStream
from acie.simulation import Simulator

pytest.importorskip("ray", reason="needs the extra cluster")


@pytest.fixture(scope="module")
def local_ray():
    """Ray with two processors; its workers import what this process imports.

    For one file, not for all: what it leaves running takes a tenth of two processors.
    """
    from acie.cluster import ray_session

    path = os.environ.get("PYTHONPATH", "")
    source = os.path.dirname(os.path.dirname(acie.__file__))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (source, path)))
    with ray_session(None, 2) as ray:
        yield ray


@pytest.fixture(scope="session")
def engine():
    return acie.load("galaxy-v1")


@pytest.fixture(scope="session")
def galaxies(engine):
    """Twelve simulated galaxies."""
    simulator = Simulator(engine.scm, engine.physics)
    return simulator.draw(12, SeedStream(11).generator("galaxies")).observation


@pytest.fixture(autouse=True)
def _threads():
    """The engine on one thread, as in the workers: they and the tests share two processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
