"""Adaptive importance sampling against targets with known moments."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from acie.errors import ConfigurationError
from acie.inference import AdaptiveImportanceSampler, RefinementConfig

DIM, BATCH = 6, 12


class GaussianProposal:
    """A normal proposal that draws from the given generator."""

    def __init__(self, law):
        self.law = law

    def sample_and_log_prob(self, num_samples, generator):
        shape = (num_samples, *self.law.loc.shape)
        noise = torch.randn(shape, generator=generator, dtype=self.law.loc.dtype)
        x = self.law.loc + (self.law.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
        return x, self.law.log_prob(x)

    def log_prob(self, x):
        return self.law.log_prob(x)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def target(generator):
    factor = torch.randn(BATCH, DIM, DIM, generator=generator, dtype=torch.float64)
    cov = factor @ factor.mT / DIM + 0.2 * torch.eye(DIM, dtype=torch.float64)
    mean = 3 * torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64)
    return MultivariateNormal(mean, cov)


def shifted(target, shift, scale):
    """The target moved by ``shift`` sigma (Mahalanobis) and scaled in width."""
    direction = torch.ones(DIM, dtype=torch.float64) / DIM**0.5
    mean = target.loc + shift * target.scale_tril @ direction
    return GaussianProposal(MultivariateNormal(mean, scale**2 * target.covariance_matrix))


@pytest.mark.parametrize(
    ("shift", "scale"), [(0.0, 1.0), (1.5, 1.0), (0.0, 0.5), (0.0, 3.0), (1.5, 0.7), (1.5, 2.0)]
)
def test_recovers_a_gaussian_from_a_bad_proposal(target, generator, shift, scale):
    result = AdaptiveImportanceSampler().run(
        target.log_prob, shifted(target, shift, scale), 2000, generator
    )
    assert float(result.efficiency.min()) > 0.3
    assert float(result.pareto_k.max()) < 0.7
    # With an effective size of at least 0.3 * 256 = 77 a whitened mean scatters by 0.114 or less:
    # 0.45 is 4 sigma for 72 numbers. The log variance scatters by sqrt(2 / 77) = 0.16.
    white = torch.linalg.solve_triangular(
        target.scale_tril, (result.samples - target.loc).unsqueeze(-1), upper=False
    ).squeeze(-1)
    assert float(white.mean(0).abs().max()) < 0.45
    assert float(white.mean((0, 1)).abs().max()) < 0.45 / BATCH**0.5
    assert float(white.var(0).log().abs().max()) < 0.64
    whitened_cov = torch.einsum("nbi,nbj->ij", white, white) / (2000 * BATCH)
    # Twelve galaxies together: an effective size above 900, hence 0.05 a standard error or less.
    torch.testing.assert_close(whitened_cov, torch.eye(DIM, dtype=torch.float64), rtol=0, atol=0.2)
    assert float(result.log_evidence.abs().max()) < 0.5


def test_efficiency_tells_good_from_bad(target, generator):
    sampler = AdaptiveImportanceSampler(RefinementConfig(first=1024, rounds=()))
    good = sampler.run(target.log_prob, shifted(target, 0.0, 1.05), 10, generator)
    bad = sampler.run(target.log_prob, shifted(target, 3.0, 0.7), 10, generator)
    assert float(good.efficiency.min()) > 0.9
    assert float(bad.efficiency.max()) < 0.1
    torch.testing.assert_close(good.efficiency, good.amortised_efficiency)
    assert len(set(good.efficiency.tolist())) == BATCH


def test_recovers_two_modes(generator):
    means = torch.tensor([[-3.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
    law = MixtureSameFamily(
        Categorical(torch.tensor([0.3, 0.7], dtype=torch.float64)),
        MultivariateNormal(means, 0.15 * torch.eye(2, dtype=torch.float64).expand(2, 2, 2)),
    )
    broad = MultivariateNormal(
        torch.zeros(16, 2, dtype=torch.float64), 9 * torch.eye(2, dtype=torch.float64)
    )
    result = AdaptiveImportanceSampler().run(
        law.log_prob, GaussianProposal(broad), 1000, generator
    )
    share = (result.samples[..., 0] > 0).double().mean(0)
    # A share from 100 or more effective draws scatters by 0.046 at most.
    torch.testing.assert_close(share, torch.full_like(share, 0.7), rtol=0, atol=0.18)
    assert float(share.mean()) == pytest.approx(0.7, abs=0.046)
    assert float(result.efficiency.median()) > 0.5


def test_impossible_regions_and_nan_carry_no_weight(target, generator):
    def half(x):
        value = target.log_prob(x)
        value = torch.where(x[..., 0] > target.loc[:, 0], value, -torch.inf)
        return torch.where(x[..., 1] > target.loc[:, 1] + 1.0, torch.nan, value)

    result = AdaptiveImportanceSampler().run(half, shifted(target, 0.0, 1.0), 500, generator)
    assert bool((result.samples[..., 0] > target.loc[:, 0]).all())
    assert bool((result.samples[..., 1] <= target.loc[:, 1] + 1.0).all())
    assert bool(result.log_target.isfinite().all())
    assert bool((result.efficiency > 0.1).all())


def test_lost_galaxies_fall_back_without_touching_the_others(target, generator):
    lost = torch.arange(BATCH) % 3 == 0

    def partly(x):
        return torch.where(lost, -torch.inf, target.log_prob(x))

    result = AdaptiveImportanceSampler().run(partly, shifted(target, 0.0, 1.0), 256, generator)
    assert result.efficiency[lost].tolist() == [0.0] * int(lost.sum())
    assert result.amortised_efficiency[lost].tolist() == [0.0] * int(lost.sum())
    assert bool((result.efficiency[~lost] > 0.3).all())
    assert bool(result.samples.isfinite().all())
    # All 256 draws of the first round, each once.
    torch.testing.assert_close(result.samples[:, lost], result.draws[:256][:, lost])
    assert bool((result.log_evidence[lost] == -torch.inf).all())


def test_a_generator_fixes_everything(target):
    def run():
        generator = torch.Generator().manual_seed(11)
        return AdaptiveImportanceSampler().run(
            target.log_prob, shifted(target, 1.0, 1.0), 64, generator
        )

    torch.manual_seed(0)
    first = run()
    torch.manual_seed(1)
    assert torch.equal(first.samples, run().samples)


def test_the_budget_is_kept(target, generator):
    seen = []

    def counting(x):
        seen.append(len(x))
        return target.log_prob(x)

    config = RefinementConfig(first=64, rounds=(32, 16))
    AdaptiveImportanceSampler(config).run(counting, shifted(target, 0, 1), 8, generator)
    assert seen == [64, 32, 16]
    assert config.evaluations == 112


@pytest.mark.parametrize("change", [{"first": 4}, {"rounds": (2,)}, {"dof": 1}, {"components": 0}])
def test_nonsense_settings_are_refused(change):
    with pytest.raises(ConfigurationError):
        RefinementConfig(**change)


def test_hardly_any_effective_draw_does_not_give_an_interval_of_no_width(target, generator):
    sampler = AdaptiveImportanceSampler(RefinementConfig(first=256, rounds=()))
    result = sampler.run(target.log_prob, shifted(target, 9.0, 0.5), 256, generator)
    # Worth a draw or two, and said to be.
    assert float(result.efficiency.max()) < 0.05
    distinct = [len(result.index[:, galaxy].unique()) for galaxy in range(BATCH)]
    # Flattened to a size of 16, which at least as many draws share.
    assert min(distinct) >= 16
