"""Effective sample size, tail shape and resampling against closed forms."""

import pytest
import torch

from acie.inference import (
    effective_sample_size,
    normalise_log_weights,
    pareto_k,
    systematic_resample,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_equal_weights_count_fully():
    assert effective_sample_size(torch.full((50, 2), -3.0)).tolist() == pytest.approx([50, 50])


def test_one_weight_counts_once():
    log_weights = torch.full((50,), -torch.inf)
    log_weights[7] = 4.0
    assert float(effective_sample_size(log_weights)) == pytest.approx(1.0)


def test_half_of_the_weights_count_half():
    log_weights = torch.zeros(40)
    log_weights[:20] = -torch.inf
    assert float(effective_sample_size(log_weights)) == pytest.approx(20.0)


@pytest.mark.parametrize("bad", [torch.nan, -torch.inf, torch.inf])
def test_unusable_weights_do_not_count(bad):
    log_weights = torch.tensor([0.0, 0.0, bad])
    assert normalise_log_weights(log_weights).tolist() == pytest.approx([0.5, 0.5, 0.0])
    assert float(effective_sample_size(torch.full((5,), bad))) == 0.0


def test_effective_size_ignores_a_constant(generator):
    log_weights = torch.randn(30, 4, generator=generator)
    torch.testing.assert_close(
        effective_sample_size(log_weights), effective_sample_size(log_weights + 1e4), rtol=1e-2,
        atol=0.0,
    )  # fmt: skip


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_pareto_k_of_pareto_weights(k, generator):
    # w = u^-k is exactly Pareto with shape k; 1900 tail draws (3 sqrt N) give a scatter of
    # (1 + k) / sqrt(1900) < 0.044 a fit, and 0.015 for the mean of 8 fits: 0.05 is over 3 sigma,
    # with room for the prior's pull of 0.5 * 10 / 1900.
    uniform = torch.rand(400_000, 8, generator=generator, dtype=torch.float64)
    assert float(pareto_k(-k * uniform.log()).mean()) == pytest.approx(k, abs=0.05)


def test_pareto_k_of_a_short_tail_is_low(generator):
    uniform = torch.rand(20_000, 4, generator=generator, dtype=torch.float64)
    # Uniform weights have shape -1.
    assert bool((pareto_k(uniform.log()) < -0.5).all())


def test_pareto_k_limits():
    lonely = torch.full((100,), -torch.inf)
    lonely[3] = 0.0
    columns = torch.stack([torch.zeros(100), lonely, torch.full((100,), -torch.inf)], dim=1)
    assert pareto_k(columns).tolist() == [0.0, torch.inf, torch.inf]


def test_pareto_k_of_a_batch_is_that_of_its_parts(generator):
    log_weights = torch.randn(500, 3, generator=generator) * torch.tensor([0.5, 1.0, 3.0])
    single = torch.stack([pareto_k(column) for column in log_weights.unbind(1)])
    torch.testing.assert_close(pareto_k(log_weights), single)


def test_resampling_is_unbiased(generator):
    log_weights = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    n, repeats = 10, 4000
    index = systematic_resample(log_weights[:, None].expand(4, repeats), n, generator)
    counts = torch.nn.functional.one_hot(index, 4).sum(0).double()
    # n w is a whole number here, so a comb must give exactly that, up to rounding at the edges.
    assert bool(((counts - torch.tensor([1.0, 2, 3, 4])).abs() <= 1).all())
    index = systematic_resample(log_weights[:, None].expand(4, repeats), 7, generator)
    mean = torch.nn.functional.one_hot(index, 4).double().sum(0).mean(0)
    # A count varies by less than one about n w: a standard error below 0.5 / sqrt(4000) = 0.008.
    torch.testing.assert_close(
        mean, torch.tensor([0.7, 1.4, 2.1, 2.8], dtype=torch.float64), rtol=0, atol=0.032
    )


def test_resampling_never_takes_a_weightless_draw(generator):
    log_weights = torch.full((100, 50), -torch.inf)
    log_weights[10:13] = 0.0
    index = systematic_resample(log_weights, 64, generator)
    assert int(index.min()) == 10
    assert int(index.max()) == 12
    # Without any weight every draw counts the same.
    lost = systematic_resample(torch.full((8, 1), -torch.inf), 8, generator)
    assert lost.flatten().tolist() == list(range(8))
