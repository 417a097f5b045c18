"""Settings of the fit: parts of a batch, precision, patience, determinism."""

from dataclasses import replace

import pytest
import torch
from training_runs import curve

import acie
from acie.training import TrainConfig
from acie.training.run import train

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def epochs_in(out, factor="spectral"):
    """Epochs that the last checkpoint has seen."""
    last = torch.load(out / "checkpoints" / factor / "last.ckpt", weights_only=True)
    return last["epoch"] + 1


@pytest.fixture
def config(tiny):
    return TrainConfig.read(tiny)


def test_a_batch_in_parts_gives_the_same_curve(config, started, finished):
    train(replace(config, accumulate=2), started)
    for name in ("epoch_loss", "validation_loss"):
        want = curve(finished, name)
        # Sums in another order: a few units in the last of seven digits a step, 15 steps.
        assert curve(started, name) == pytest.approx(want, rel=2e-5)
        assert len(want) >= 3


def test_mixed_precision_learns_the_same(config, started, finished):
    bundle = acie.load(train(replace(config, precision="bf16-mixed"), started)).bundle
    assert all(p.dtype == torch.float32 for p in bundle.estimator.parameters())
    want, found = curve(finished, "validation_loss"), curve(started, "validation_loss")
    fallen = max(want.values()) - min(want.values())
    assert fallen > 0.5
    # Three digits in the embedding: a small part of what is learned in three epochs.
    assert found == pytest.approx(want, abs=0.05 * fallen)
    assert found != want


def test_patience_stops_keeps_the_best_and_stays_stopped(config, started):
    # A rate at which the loss must rise again.
    hasty = replace(config, learning_rate=0.3, epochs=12, growth=0, patience=2)
    bundle = train(hasty, started)
    seen, stopped = curve(started, "validation_loss"), epochs_in(started)
    assert stopped < 12
    metrics = acie.load(bundle).bundle.metrics
    assert metrics["spectral_loss"] == pytest.approx(min(seen.values()), rel=1e-6)
    digest = acie.load(bundle).bundle.digest
    assert acie.load(train(hasty, started)).bundle.digest == digest
    assert epochs_in(started) == stopped


def test_deterministic_runs_have_the_same_digits(config, started, finished):
    bundle = train(replace(config, deterministic=True), started)
    again = acie.load(finished / "bundle").bundle.estimator.state_dict()
    found = acie.load(bundle).bundle.estimator.state_dict()
    assert all(torch.equal(found[name], again[name]) for name in again)
    # The rest of the process is left as it was.
    assert not torch.are_deterministic_algorithms_enabled()
