"""A whole training run, tiny, from the template grids to an answer; and resuming it."""

import pytest
import torch

import acie
from acie.errors import ConfigurationError
from acie.training import TrainConfig
from acie.training.run import train

SETTINGS = """
name: tiny
components: 12
population: 200
simulations: 600
initial: 400
growth: 200
shard: 200
validation: 100
epochs: 2
batch: 64
"""


def test_unknown_settings_are_refused(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("epochz: 3")
    with pytest.raises(ConfigurationError, match="epochz"):
        TrainConfig.read(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_train_resume_and_answer(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(SETTINGS)
    config = TrainConfig.read(path)
    bundle = train(config, tmp_path / "run", device="cpu")
    shards = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "shards").iterdir()}
    assert len(shards) == 3
    engine = acie.load(bundle)
    assert engine.bundle.metrics["simulations"] > 450
    # A second call finds everything done: the shards are kept and the bundle is the same.
    again = train(config, tmp_path / "run", device="cpu")
    assert acie.load(again).bundle.digest == engine.bundle.digest
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "shards").iterdir()}
    assert after == shards
    # Going on from a model keeps its encoder and needs no settings of the networks.
    more = tmp_path / "more.yaml"
    more.write_text(SETTINGS + f"start: {bundle}\nlearning_rate: 1.0e-4\n")
    refined = acie.load(train(TrainConfig.read(more), tmp_path / "more", device="cpu"))
    assert torch.equal(refined.bundle.encoder.components, engine.bundle.encoder.components)
    assert refined.bundle.digest != engine.bundle.digest
