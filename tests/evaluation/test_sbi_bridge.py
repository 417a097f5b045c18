"""The package sbi on stored draws, and what it must leave as it was."""

import sys

import pytest
import torch
from torch.distributions import Distribution

from acie.errors import ConfigurationError
from acie.evaluation.sbi_bridge import StoredPosterior, local_test, sbc_ranks


def toy(batch, width, dim=2, seed=0):
    """Truth, data and draws: prior N(0, 1), four observations with error 0.5 of each variable."""
    g = torch.Generator().manual_seed(seed)
    truth = torch.randn(batch, dim, generator=g)
    data = truth + 0.25 * torch.randn(batch, dim, generator=g)
    precision = 1.0 + 16.0
    noise = torch.randn(200, batch, dim, generator=g)
    return truth, data, 16.0 * data / precision + width * precision**-0.5 * noise


def test_sbc_ranks_count_the_draws_below():
    truth, _, draws = toy(120, 1.0)
    assert torch.equal(sbc_ranks(truth, draws).long(), (draws < truth).sum(0))


def test_the_state_of_torch_is_left_alone():
    truth, _, draws = toy(50, 1.0)
    before = Distribution._validate_args, torch.get_rng_state()
    sbc_ranks(truth, draws)
    assert Distribution._validate_args is before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_more_draws_than_there_are_is_refused():
    posterior = StoredPosterior(torch.zeros(5, 3, 2))
    with pytest.raises(ConfigurationError, match="6 draws of 3 galaxies"):
        posterior.sample_batched((6,), torch.zeros(3, 2))


def test_without_sbi_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sbi.diagnostics", None)
    with pytest.raises(ConfigurationError, match=r"acie\[evaluate\]"):
        sbc_ranks(torch.zeros(3, 1), torch.zeros(2, 3, 1))


@pytest.mark.slow
def test_the_local_test_tells_a_narrow_posterior_from_a_right_one():
    trials, found = 9, {}
    for width in (1.0, 0.6):
        truth, data, draws = toy(1500, width, dim=8)
        # Relative to the posterior that is claimed, as the report does it.
        mean, spread = draws[1:].mean(0), draws[1:].std(0)
        claimed = (draws - mean) / spread
        objects = [(claimed[:, index], data[index]) for index in (0, 1)]
        found[width] = local_test(
            (truth - mean) / spread, claimed[0], data, objects, trials, seed=1
        )
    # The smallest possible p, at both objects.
    assert [row["p"] for row in found[0.6]] == [0.1, 0.1]
    # Under the null hypothesis both at once have it in fewer than one of ten seeds.
    assert max(row["p"] for row in found[1.0]) > 0.1
