"""Ranks, bands and TARP on posteriors that are right, too narrow and biased by construction."""

import numpy as np
import pytest
import torch
from scipy.stats import betabinom

from acie.evaluation.population import random_rows
from acie.evaluation.ranks import UniformBand, fractional_ranks, tarp_ranks
from acie.evaluation.sbi_bridge import tarp_curve
from acie.inference import expected_coverage, systematic_resample, uniformity_p_value
from acie.quantiles import effective_draws

BATCH = 1500


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def toy(width, dim=3, samples=60, seed=0):
    """Draws, truth and prior draws of a linear-Gaussian problem; width 1 is exact."""
    g = seeded(seed)
    truth = torch.randn(BATCH, dim, generator=g, dtype=torch.float64)
    data = truth + torch.randn(truth.shape, generator=g, dtype=torch.float64)
    noise = torch.randn((samples, *truth.shape), generator=g, dtype=torch.float64)
    # Prior N(0, 1), one observation with error 1: posterior N(data / 2, 1 / 2).
    draws = data / 2.0 + width * 0.5**0.5 * noise
    return draws, truth, torch.randn(truth.shape, generator=g, dtype=torch.float64)


# A p value below 1e-4 happens once in 10,000 seeds; the seed is fixed.
def test_ranks_of_exchangeable_numbers_are_uniform():
    draws, truth, _ = toy(1.0)
    ranks = fractional_ranks(draws, truth, seeded(1))
    assert float(ranks.min()) > 0.0
    assert float(ranks.max()) < 1.0
    assert bool((uniformity_p_value(ranks) > 1e-4).all())


def test_ranks_of_a_binary_variable_are_uniform():
    share = torch.rand(BATCH, generator=seeded(2), dtype=torch.float64)
    draws = (torch.rand((40, BATCH), generator=seeded(3)) < share).double()
    truth = (torch.rand(BATCH, generator=seeded(4)) < share).double()
    ranks = fractional_ranks(draws, truth, seeded(5))
    assert float(uniformity_p_value(ranks[:, None])) > 1e-4


def test_ordered_draws_are_thinned_without_bias():
    draws, truth, _ = toy(1.0, dim=1)
    ordered = draws[..., 0].sort(0).values
    rows = random_rows(*ordered.shape, 15, seeded(6))
    ranks = fractional_ranks(ordered[rows, torch.arange(BATCH)], truth[:, 0], seeded(7))
    assert float(uniformity_p_value(ranks[:, None])) > 1e-4
    # The first of them are the smallest: what thinning must not do.
    first = fractional_ranks(ordered[:15], truth[:, 0], seeded(7))
    assert float(uniformity_p_value(first[:, None])) < 1e-10


def test_thinned_rows_do_not_repeat():
    rows = random_rows(20, 7, 20, seeded())
    assert torch.equal(rows.sort(0).values, torch.arange(20)[:, None].expand(20, 7))


@pytest.mark.parametrize(("pool", "points"), [(64, 0.7), (128, 0.3), (256, 0.2)])
def test_the_error_of_thinning_is_as_documented(pool, points):
    """The rank among M draws of a pool of n is beta-binomial; the figures of the docstring."""
    quantile = (np.arange(2000) + 0.5) / 2000
    law = [betabinom.pmf(k, 15, pool * quantile, pool * (1 - quantile)).mean() for k in range(16)]
    off = np.abs(np.cumsum(law) - np.arange(1, 17) / 16).max()
    assert 100 * off == pytest.approx(points, abs=0.05)


def test_a_band_holds_uniform_numbers_as_often_as_it_says():
    band = UniformBand.of(300, seeded(8))
    held = [
        band.holds(torch.rand(300, generator=seeded(100 + i), dtype=torch.float64))
        for i in range(1000)
    ]
    # Three standard errors of 1000 sets (0.009) and of the 2000 sets behind the band (0.007).
    assert 0.99 - 0.012 <= sum(held) / 1000 <= 1.0
    assert not band.holds(torch.rand(300, generator=seeded(9), dtype=torch.float64) ** 1.5)


def test_tarp_passes_the_right_posterior_and_fails_wrong_ones():
    band = UniformBand.of(BATCH, seeded(10))
    for width, bias, fine in ((1.0, 0.0, True), (0.7, 0.0, False), (1.4, 0.0, False),
                              (1.0, 0.5, False)):  # fmt: skip
        draws, truth, references = toy(width)
        ranks = tarp_ranks(draws + bias, truth, references, seeded(11))
        assert band.holds(ranks) is fine, (width, bias)


def test_tarp_needs_references_on_the_scale_of_the_variables():
    """An error in a variable with small numbers is seen only after standardising."""
    draws, truth, references = toy(1.0, dim=2)
    draws[..., 1] = truth[:, 1] + 0.3 * (draws[..., 1] - truth[:, 1])
    band = UniformBand.of(BATCH, seeded(12))
    assert not band.holds(tarp_ranks(draws, truth, references, seeded(13)))
    small = torch.tensor([1.0, 1e-3], dtype=torch.float64)
    blind = tarp_ranks(draws * small, truth * small, references * small, seeded(13))
    assert band.holds(blind)


def test_tarp_agrees_with_sbi():
    draws, truth, references = toy(0.8, samples=200)
    expected, levels = tarp_curve(truth, draws, references)
    ranks = tarp_ranks(draws, truth, references, seeded(14))
    own = (ranks <= levels[:, None]).double().mean(-1)
    # Spreading a rank over its cell moves it by at most 1/201: the share of ranks in such a cell,
    # at most three times that of uniform ones, and four standard errors of it.
    cell = 3.0 / 201.0
    assert float((own - expected).abs().max()) < cell + 4.0 * (cell / BATCH) ** 0.5


def resampled(law, size, samples, seed=20):
    """A truth and draws resampled from a weighted pool of the law it was drawn from."""
    sets = 20_000
    x = torch.randn(size, sets, generator=seeded(seed), dtype=torch.float64)
    log_weights = torch.randn(size, sets, generator=seeded(seed + 1), dtype=torch.float64)
    if law == "wider":
        x = 0.3 + 1.4 * x
        log_weights = -0.5 * x.square() + 0.5 * ((x - 0.3) / 1.4).square()
    draws = x.gather(0, systematic_resample(log_weights, samples, seeded(seed + 2)))
    return draws, torch.randn(sets, generator=seeded(seed + 3), dtype=torch.float64)


@pytest.mark.parametrize(("size", "samples"), [(30, 64), (100, 64), (400, 256)])
@pytest.mark.parametrize("law", ["unrelated", "wider"])
def test_ranks_among_resampled_draws_cover_at_every_level(law, size, samples):
    draws, truth = resampled(law, size, samples)
    worth = effective_draws(draws)
    levels = torch.arange(1, 100, dtype=torch.float64) / 100
    old, new = (
        expected_coverage(fractional_ranks(draws, truth, seeded(24), n)[:, None], levels)[:, 0]
        - levels
        for n in (None, worth)
    )
    # Kolmogorov's limit, which one seed of 10,000 exceeds.
    chance = 2.23 / len(truth) ** 0.5
    middle = levels < 0.85
    # To first order in 1 / n nothing is left where there are draws on both sides of the truth;
    # beyond the last draw one cell is all that can be told.
    assert float(new[middle].abs().max()) < chance + 4.0 * float((1.0 / worth**2).mean())
    assert float(new.abs().max()) < chance + float((1.0 / (worth + 1.0)).mean())
    if law == "unrelated" and size < samples:
        # As if the draws were independent: 0.68 * 2 (1/n - 1/64) too little, and more than chance.
        assert float(old.mean()) < float(new.mean()) - 0.01
        assert float(old.abs().max()) > chance


def test_the_second_moment_of_ranks_is_exact_whatever_the_weights():
    """F has variance 1/12 + 1/(6 n) for multiplicities that have nothing to do with the values."""
    repeats = torch.tensor([1, 1, 1, 2, 3, 5, 8, 11])
    sets = 200_000
    values = torch.rand(len(repeats), sets, generator=seeded(30), dtype=torch.float64)
    truth = torch.rand(sets, generator=seeded(31), dtype=torch.float64)
    draws = values.repeat_interleave(repeats, 0)
    worth = effective_draws(draws)
    assert float(worth.min()) == float(worth.max()) == pytest.approx(32**2 / 226)
    ranks = fractional_ranks(draws, truth, seeded(32), worth)
    # The variance of a uniform number has a standard error of (1/80 - 1/144) ** 0.5 / sqrt(sets).
    assert float(ranks.var()) == pytest.approx(1.0 / 12.0, abs=4.0 * 0.075 / sets**0.5)


def test_ranks_of_independent_draws_are_the_usual_ones():
    draws, truth, _ = toy(1.0)
    usual = fractional_ranks(draws, truth, seeded(40))
    whole = torch.full(truth.shape, float(len(draws)), dtype=torch.float64)
    torch.testing.assert_close(fractional_ranks(draws, truth, seeded(40), whole), usual)
    cells = (usual * (len(draws) + 1)).floor()
    assert torch.equal(cells, (draws < truth).sum(0).double())
