"""A tiny run in one process, with which the others are compared."""

import os
import shutil
import subprocess
import sys
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


def command(config, out, *options):
    """Arguments of another Python that trains."""
    options = map(str, options)
    return ["-m", "acie", "train", "--config", str(config), "--out", str(out), *options]


def start(arguments, log):
    """Another Python; it uses one thread."""
    source = str(Path(sys.modules["acie"].__file__).parents[1])
    environment = {
        name: value
        for name, value in os.environ.items()
        # What Lightning left behind in this process is not meant for that one.
        if name not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    } | {"OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    with open(log, "a") as stream:
        return subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=stream, stderr=stream
        )
