"""Training and tuning on a real local Ray: two workers; a search that goes on when repeated."""

import json
import shutil

import pytest

import acie
from acie.cluster.space import DEFAULT_SPACE, read_space, with_values
from acie.errors import ConfigurationError
from acie.training import TrainConfig
from acie.training.processes import Processes
from acie.training.run import prepare, train

SETTINGS = """
name: tiny
components: 12
population: 200
simulations: 400
initial: 400
shard: 200
validation: 100
epochs: 2
latent_epochs: 1
batch: 64
device: cpu
network: {width: 32, blocks: 1, embedding: 16, transforms: 1}
latent_network: {width: 32, blocks: 1, embedding: 16, transforms: 1}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(SETTINGS)
    return TrainConfig.read(path)


@pytest.fixture(scope="module")
def prepared(config, tmp_path_factory):
    """Templates, encoder and simulations, which take longest and are the same for all tests."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(config, folder, Processes(), lambda text: None)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_workers_train_the_same_model_as_one_process(local_ray, config, prepared, tmp_path):
    from acie.cluster.train import train_on_ray

    for name in ("ray", "plain"):
        shutil.copytree(prepared, tmp_path / name)
    bundle = train_on_ray(config, tmp_path / "ray", workers=2)
    metrics = acie.load(bundle).bundle.metrics
    plain = acie.load(train(config, tmp_path / "plain")).bundle.metrics
    # The batch is that of all workers: gradients differ by the order of their sums only.
    for name in ("spectral_loss", "latent_loss"):
        assert metrics[name] == pytest.approx(plain[name], rel=1e-4)
    assert metrics["simulations"] == plain["simulations"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_search_finds_the_rate_that_learns_and_is_not_repeated(
    local_ray, config, prepared, tmp_path
):
    from acie.cluster.tune import tune

    shutil.copytree(prepared, tmp_path / "shared")
    # Steps so small that nothing is learned are behind in every case.
    space = {"learning_rate": [1e-7, 3e-3], "network.width": [16, 32]}
    found = tune(config, tmp_path, space, 4)
    assert len(found.trials) == 4
    losses = [trial["validation_loss"] for trial in found.trials]
    assert losses == sorted(losses)
    rates = [trial["values"]["learning_rate"] for trial in found.trials]
    assert set(rates) == {1e-7, 3e-3}
    assert rates == sorted(rates, reverse=True)
    # What was written is a configuration to train with.
    best = TrainConfig.read(found.path)
    assert best == found.config
    assert best.learning_rate == 3e-3
    assert best.network["width"] == found.trials[0]["values"]["network.width"]
    assert json.loads((tmp_path / "trials.json").read_text()) == found.trials
    # The same search again is over at once, with the same trials.
    said = []
    again = tune(config, tmp_path, space, 4, progress=said.append)
    assert "going on with the search of this folder" in said
    assert again.trials == found.trials
    with pytest.raises(ConfigurationError, match="same search"):
        tune(config, tmp_path, space, 5)


def test_more_workers_than_the_cluster_has(local_ray, config, tmp_path):
    from acie.cluster.train import train_on_ray

    with pytest.raises(ConfigurationError, match="at most 2, the CPUs"):
        train_on_ray(config, tmp_path, workers=3)


def test_spaces(config, tmp_path):
    # Batches that the first epoch cannot fill are left out of the default space.
    assert read_space(None, config)["batch"] == [128, 256]
    path = tmp_path / "space.yaml"
    path.write_text("learning_rate: {low: 1.0e-4, high: 1.0e-2}\nnetwork.width: [64, 128]\n")
    assert read_space(path, config)["network.width"] == [64, 128]
    for text, message in (
        ("simulations: [1, 2]", "not searched"),
        ("learning_rate: 3", "a list, or"),
        ("batch: {low: 5, high: 2}", "0 < A < B"),
        ("- 1", "settings with their values"),
        ("a: [", "readable YAML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=message):
            read_space(path, config)
    tried = with_values(config, {"batch": 128, "network.width": 64})
    assert (tried.batch, tried.network["width"], tried.network["blocks"]) == (128, 64, 1)
    assert config.network["width"] == 32
    assert set(DEFAULT_SPACE) >= {"learning_rate", "batch", "network.width", "network.transforms"}


def test_a_model_that_goes_on_from_another_is_not_tuned(config, tmp_path):
    from dataclasses import replace

    from acie.cluster.tune import tune

    with pytest.raises(ConfigurationError, match="trains from nothing"):
        tune(replace(config, start="galaxy-v1"), tmp_path, {"batch": [64]}, 1)
