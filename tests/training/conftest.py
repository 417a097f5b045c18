"""A tiny run in one process, with which the others are compared."""

import shutil
from pathlib import Path

import pytest

from acie.training import TrainConfig
from acie.training.run import train

SETTINGS = """
name: tiny
components: 12
population: 200
simulations: 600
initial: 400
growth: 100
shard: 100
validation: 101
epochs: 3
latent_epochs: 2
batch: 64
network: {width: 32, blocks: 1, embedding: 16, transforms: 2, hidden: [32]}
latent_network: {transforms: 1, width: 16, embedding: 8, hidden: [16]}
device: cpu
"""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The file with the settings."""
    path = tmp_path_factory.mktemp("settings") / "tiny.yaml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """Those of the shipped model, which are the compressed grids."""
    import acie

    shipped = Path(acie.__file__).parent / "models" / "galaxy-v1" / "templates.safetensors"
    return shipped


@pytest.fixture(scope="session")
def finished(tiny, templates, tmp_path_factory):
    """The folder of a finished run of one process."""
    out = tmp_path_factory.mktemp("finished")
    shutil.copy(templates, out)
    train(TrainConfig.read(tiny), out)
    return out


@pytest.fixture
def started(finished, tmp_path):
    """A folder in which everything but the fitting has been done."""
    out = tmp_path / "run"
    shutil.copytree(finished, out, ignore=shutil.ignore_patterns("checkpoints", "log-*", "bundle"))
    return out
