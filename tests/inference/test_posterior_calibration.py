"""Coverage and ranks for posteriors that are right, too narrow and too wide by construction."""

import pytest
import torch

from acie.inference import (
    expected_coverage,
    interval_coverage,
    rank_statistics,
    uniformity_p_value,
)

BATCH = 2000


def toy(width):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(BATCH, 2, generator=generator)
    centre = truth + torch.randn(BATCH, 2, generator=generator)
    return centre + width * torch.randn(300, BATCH, 2, generator=generator), truth


def test_a_right_posterior_is_calibrated():
    samples, truth = toy(1.0)
    ranks = rank_statistics(samples, truth)
    levels = torch.tensor([0.1, 0.5, 0.68, 0.95])
    coverage = expected_coverage(ranks, levels)
    sigma = (levels * (1 - levels) / BATCH).sqrt().double()
    assert bool(((coverage - levels[:, None]).abs() < 4 * sigma[:, None] + 0.004).all())
    assert bool((uniformity_p_value(ranks) > 1e-3).all())


@pytest.mark.parametrize(("width", "expected"), [(0.5, 0.381), (2.0, 0.953)])
def test_a_wrong_width_shows(width, expected):
    samples, truth = toy(width)
    # P(|N(0, 1)| < 0.9945 width), as 0.9945 is the 84th percentile.
    coverage = interval_coverage(samples, truth)
    assert coverage.tolist() == pytest.approx([expected] * 2, abs=0.045)
    assert bool((uniformity_p_value(rank_statistics(samples, truth)) < 1e-6).all())


def test_weights_count_as_repeats():
    samples = torch.tensor([[[0.0]], [[1.0]], [[2.0]]])
    truth = torch.tensor([[1.5]])
    log_weights = torch.tensor([[1.0], [1.0], [2.0]]).log()
    assert float(rank_statistics(samples, truth, log_weights)) == pytest.approx(0.5)
    lost = torch.full((3, 1), -torch.inf)
    assert bool(rank_statistics(samples, truth, lost).isnan())
    assert float(expected_coverage(torch.tensor([[torch.nan], [0.5]]), torch.tensor([0.68]))) == 1


def test_p_values_of_uniform_ranks_are_uniform():
    ranks = torch.rand(300, 2000, generator=torch.Generator().manual_seed(1)).double()
    values = uniformity_p_value(ranks)
    # sqrt(0.1 * 0.9 / 2000) = 0.0067.
    assert float((values < 0.1).double().mean()) == pytest.approx(0.1, abs=0.027)
